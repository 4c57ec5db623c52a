// Networks of network namespaces: spaces (one machine each), links between them, addresses, routes and nftables
// rules. A space is a process that sleeps in a network namespace without a name: when the world is closed, or the
// suite dies however it may (its process namespace goes with it), nothing of it is left.

import { spawn, spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';

import { sleep, until } from '../lib/runner.mjs';

/** The space this process is in: the server's. */
export const SERVER = 'server';

function run(command, args, input) {
  const done = spawnSync(command, args, { encoding: 'utf8', input });
  if (done.error) throw done.error;
  return done;
}

/** Why a facility of the kernel, or a program, is missing here; null if it is there. */
export function missing(facility) {
  const probes = {
    nftables: ['nft', ['list', 'ruleset'], 'the command `nft` (Debian package nftables), or nftables in the kernel'],
    conntrack: ['conntrack', ['-C'], 'the command `conntrack` (Debian package conntrack)'],
    netem: ['tc', ['qdisc', 'replace', 'dev', 'lo', 'root', 'netem', 'delay', '1us'], 'the queueing discipline netem in the kernel'],
    tbf: ['tc', ['qdisc', 'replace', 'dev', 'lo', 'root', 'tbf', 'rate', '10gbit', 'burst', '10mb', 'latency', '1s'],
      'the queueing discipline tbf in the kernel'],
  };
  const [command, args, what] = probes[facility];
  const done = spawnSync(command, args, { encoding: 'utf8' });
  if (command === 'tc') spawnSync('tc', ['qdisc', 'del', 'dev', 'lo', 'root'], { stdio: 'ignore' });
  return done.status === 0 ? null : `not here: ${what}`;
}

export class World {
  #spaces = new Map();
  #tables = [];
  #programs = [];

  /** Makes a space. Forwards packets between its interfaces, as every machine here that has more than one. */
  async space(name) {
    const own = readlinkSync('/proc/self/ns/net');
    const child = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' });
    this.#spaces.set(name, child);
    await until(`a network namespace for ${name}`, () => readlinkSync(`/proc/${child.pid}/ns/net`) !== own, {
      timeout: 5_000, interval: 10,
    });
    this.run(name, [
      'ip link set lo up',
      'echo 1 >/proc/sys/net/ipv4/ip_forward',
      'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding',
      'for all in all default; do echo 0 >/proc/sys/net/ipv4/conf/$all/rp_filter; done',
      'for all in all default; do echo 0 >/proc/sys/net/ipv6/conf/$all/accept_ra; done',
    ]);
  }

  has(name) {
    return name === SERVER || this.#spaces.has(name);
  }

  /** The beginning of a command line that runs in a space. */
  within(name) {
    if (name === SERVER) return [];
    const child = this.#spaces.get(name);
    if (!child) throw new Error(`no space ${name}`);
    return ['nsenter', '--target', String(child.pid), '--net', '--'];
  }

  /** Runs lines of shell in a space; the first that fails is an error. */
  run(name, lines) {
    const script = [lines].flat().join('\n');
    const [command, ...args] = [...this.within(name), 'sh', '-e', '-c', script];
    const done = run(command, args);
    if (done.status !== 0) throw new Error(`in ${name}: ${done.stderr.trim() || done.stdout.trim()}\n${script}`);
    return done.stdout;
  }

  /** Starts a program in a space that runs until the space ends; resolves when it has printed something. */
  async start(name, ...command) {
    const [file, ...args] = [...this.within(name), ...command];
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#programs.push([name, child]);
    await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`in ${name}: ${command.join(' ')} ended with ${code}`)));
      child.stdout.once('data', resolve);
    });
  }

  /** A cable: interface `here` of one space to interface `there` of another, both up. */
  link([one, here], [other, there], { mtu = 1500 } = {}) {
    const at = (name) => (name === SERVER ? [] : ['netns', String(this.#spaces.get(name).pid)]);
    const args = ['link', 'add', 'name', here, 'mtu', String(mtu), ...at(one),
      'type', 'veth', 'peer', 'name', there, 'mtu', String(mtu), ...at(other)];
    const done = run('ip', args);
    if (done.status !== 0) throw new Error(`ip ${args.join(' ')}: ${done.stderr.trim()}`);
    this.run(one, `ip link set ${here} up`);
    this.run(other, `ip link set ${there} up`);
  }

  /** Gives an interface its addresses (with length of prefix); IPv6 without waiting for duplicates. */
  address(name, device, addresses) {
    this.run(name, addresses.map((address) => (
      `ip addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`)));
  }

  /** Adds a table of nftables; `chains` is what stands in it. */
  rules(name, table, chains) {
    const [command, ...args] = [...this.within(name), 'nft', '--file', '-'];
    const done = run(command, args, `table inet ${table} {\n${chains}\n}\n`);
    if (done.status !== 0) throw new Error(`nft in ${name}: ${done.stderr.trim()}\n${chains}`);
    this.#tables.push([name, table]);
  }

  /** Takes a table away again. */
  forget(name, table) {
    this.run(name, `nft delete table inet ${table}`);
    this.#tables = this.#tables.filter(([space, other]) => space !== name || other !== table);
  }

  /** Ends spaces, and with them their ends of cables, and so both ends. */
  async end(names) {
    for (const name of names) {
      for (const [space, child] of this.#programs) if (space === name) child.kill('SIGKILL');
      this.#programs = this.#programs.filter(([space]) => space !== name);
      this.#tables = this.#tables.filter(([space]) => space !== name);
      this.#spaces.get(name)?.kill('SIGKILL');
      this.#spaces.delete(name);
    }
    // The kernel takes its time; the next cable may have the same names.
    await sleep(50);
  }

  /** Takes away links of spaces that stay, by one end. */
  unlink(links) {
    for (const [name, device] of links) {
      if (this.has(name)) this.run(name, `! ip link show ${device} >/dev/null 2>&1 || ip link del ${device}`);
    }
  }

  /** Takes away the tables and links that a profile left in spaces that stay. */
  tidy(links) {
    for (const [name, table] of this.#tables) {
      if (this.has(name)) this.run(name, `nft delete table inet ${table} || true`);
    }
    this.#tables = [];
    this.unlink(links);
  }

  async close() {
    await this.end([...this.#spaces.keys()]);
  }
}
