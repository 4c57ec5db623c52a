// A network of the suite's own: an unnamed network and process namespace, so that nothing of this
// machine's network is gathered by ICE and nothing outlives the run, however it ends.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';

/** The address media uses inside the namespace (a veth pair whose both ends stay inside). */
export const MEDIA_ADDRESS = '10.77.0.1';

// First choice, then what also works inside a chroot, where /proc cannot be mounted anew.
const CHOICES = [
  ['--net', '--pid', '--mount', '--fork', '--kill-child', '--mount-proc'],
  ['--net', '--fork', '--kill-child'],
];

function unshareWorks(flags) {
  const probe = spawnSync('unshare', [...flags, 'true'], { stdio: 'pipe' });
  return probe.status === 0;
}

/**
 * The flags with which `unshare` works here: as root, as an ordinary user through a user namespace, or
 * null with the reason.
 */
export function isolation() {
  if (process.platform !== 'linux') return { flags: null, reason: 'not Linux' };
  const user = process.getuid() === 0 ? [] : ['--user', '--map-root-user'];
  const flags = CHOICES.map((choice) => [...user, ...choice]).find(unshareWorks);
  if (!flags) return { flags: null, reason: `\`unshare ${[...user, '--net'].join(' ')}\` is refused here` };
  const ip = spawnSync('ip', ['-V'], { stdio: 'pipe' });
  if (ip.error) return { flags: null, reason: 'no `ip` command (Debian package iproute2)' };
  return { flags, reason: '' };
}

/**
 * Runs this script again inside new namespaces; resolves to its exit code. Its temporary files (profiles
 * of the browsers, configurations) are in a folder of their own, which goes with it.
 */
export function enterNamespace(flags, script, args) {
  const temporary = mkdtempSync(path.join(os.tmpdir(), 'rillway-browser-'));
  process.once('exit', () => rmSync(temporary, { recursive: true, force: true }));
  return new Promise((resolve, reject) => {
    // The shell is process 1 of the namespace: it reaps what the browsers orphan, and ends with the suite.
    const child = spawn(
      'unshare',
      [...flags, 'sh', '-c', '"$@"; exit $?', 'sh', process.execPath, script, ...args],
      { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, TMPDIR: temporary } },
    );
    const stop = () => child.kill('SIGKILL'); // --kill-child: the whole namespace goes with it
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, stop);
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(signal ? 128 : code ?? 1));
  });
}

function ip(...args) {
  const done = spawnSync('ip', args, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`ip ${args.join(' ')}: ${done.stderr.trim()}`);
}

/**
 * Brings up the interfaces. A default route is needed: Firefox gathers no candidates without one, and
 * neither browser uses a loopback interface alone. IPv6 is off: its addresses are link-local here and
 * only slow the gathering.
 */
export function configureNamespace() {
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'media0', 'type', 'veth', 'peer', 'name', 'media1');
  for (const name of readdirSync('/proc/sys/net/ipv6/conf')) {
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1');
  }
  ip('addr', 'add', `${MEDIA_ADDRESS}/24`, 'dev', 'media0');
  linkUp();
}

/** Takes the media interface down, as when a cable is pulled: its address is unreachable meanwhile. */
export function linkDown() {
  ip('link', 'set', 'media0', 'down');
}

/** Brings the media interface (back) up with its default route. */
export function linkUp() {
  ip('link', 'set', 'media1', 'up');
  ip('link', 'set', 'media0', 'up');
  ip('route', 'replace', 'default', 'dev', 'media0');
}

/** Lets no UDP to ports above the well-known ones through any more, to this machine's own addresses neither. */
export function blockUdp() {
  // The rule for local addresses comes first of all: it moves behind that of UDP. Firefox connects a UDP
  // socket to port 80, sending nothing, to find the address it has, and gathers no candidates if it fails.
  ip('rule', 'add', 'pref', '20', 'lookup', 'local');
  ip('rule', 'add', 'pref', '10', 'ipproto', 'udp', 'dport', '1024-65534', 'prohibit');
  ip('rule', 'del', 'pref', '0');
}

/** Lets UDP through again. */
export function unblockUdp() {
  ip('rule', 'add', 'pref', '0', 'lookup', 'local');
  ip('rule', 'del', 'pref', '10');
  ip('rule', 'del', 'pref', '20');
}
