// The server's machine: a certificate authority to throw away, a TLS proxy before the gateway, and the router with its
// relay.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';

import { Router } from '../lib/router.mjs';
import { MEDIA_PORT, MEET, PUBLIC, STUN, TURN } from './topology.mjs';

const RESOLVER = fileURLToPath(new URL('./names.mjs', import.meta.url));

/** Makes an authority and a certificate of both names by openssl. Returns the files. */
export function certify() {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'rillway-networks-'));
  const file = (name) => path.join(folder, name);
  const openssl = (...args) => {
    const done = spawnSync('openssl', args, { encoding: 'utf8', cwd: folder });
    if (done.error || done.status !== 0) throw new Error(`openssl ${args.join(' ')}: ${done.error ?? done.stderr}`);
  };
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  openssl('req', '-x509', ...curve, '-subj', '/CN=Rillway test authority', '-keyout', 'ca.key', '-out', 'ca.pem');
  openssl('req', ...curve.slice(0, -2), '-subj', `/CN=${MEET}`, '-keyout', 'server.key', '-out', 'server.csr');
  writeFileSync(file('names'), `subjectAltName=DNS:${MEET},DNS:${TURN}\nextendedKeyUsage=serverAuth\n`);
  openssl('x509', '-req', '-in', 'server.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
    '-extfile', 'names', '-out', 'server.pem');
  return { authority: file('ca.pem'), certificate: file('server.pem'), key: file('server.key') };
}

/**
 * Both names with both families, for everybody in this mount namespace; returns the hosts file. Browsers ask a resolver
 * besides: `resolve` starts one in their space.
 */
export function nameHosts() {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'rillway-networks-'));
  const hosts = path.join(folder, 'hosts');
  const resolver = path.join(folder, 'resolv.conf');
  writeFileSync(resolver, 'nameserver 127.0.0.1\n');
  writeFileSync(hosts, `127.0.0.1 localhost
${PUBLIC.meet} ${MEET}
${PUBLIC.meet6} ${MEET}
${PUBLIC.turn} ${TURN}
${PUBLIC.turn6} ${TURN}
`);
  for (const [file, place] of [[hosts, '/etc/hosts'], [resolver, '/etc/resolv.conf']]) {
    const done = spawnSync('mount', ['--bind', file, place], { encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`mount --bind ${file} ${place}: ${done.stderr.trim()}`);
  }
  return hosts;
}

/** Starts the resolver on a space's loopback address. */
export function resolve(world, space, hosts) {
  return world.start(space, process.execPath, RESOLVER, hosts);
}

/** Takes TLS off what comes to port 443 of each address, and hands it to the gateway. */
async function proxy(stage, { addresses, certificate, key, port }) {
  const options = { cert: readFileSync(certificate), key: readFileSync(key) };
  const open = new Set();
  for (const address of addresses) {
    const listener = tls.createServer(options, (client) => {
      const gateway = net.connect(port, '127.0.0.1');
      const end = () => {
        open.delete(end);
        client.destroy();
        gateway.destroy();
      };
      open.add(end);
      for (const socket of [client, gateway]) {
        socket.setNoDelay(true);
        socket.on('error', end);
        socket.on('close', end);
      }
      client.pipe(gateway);
      gateway.pipe(client);
    });
    listener.on('tlsClientError', () => {});
    await new Promise((resolve, reject) => {
      listener.once('error', reject);
      listener.listen({ host: address, port: 443 }, resolve);
    });
    stage.defer(() => {
      listener.close();
      for (const end of open) end();
    });
  }
}

const list = (items) => JSON.stringify(items);

/** The address with a port, as in TOML. */
const at = (address, port) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);

/**
 * Starts router and proxy at the addresses of a server's side; both end with the stage. The relay listens where its
 * docs say: UDP on 3478 and 443, TCP on 80, TLS on 443. `learns`: it asks a STUN server for its public addresses;
 * `direct`: it lets calls of two go past it.
 */
export async function serve(context, side, files, { turn = true, learns = false, direct = false } = {}) {
  const of = (...ports) => list(side.turn.flatMap((address) => ports.map((port) => at(address, port))));
  const media = `first_port = ${MEDIA_PORT}
bind = ${list(side.media)}
${learns ? `public_address_servers = ["${STUN.address}:${STUN.port}"]` : `public_addresses = ${list(side.told)}`}
`;
  const rooms = direct ? '[plugins.signaling-rooms.config]\ndirect = "two"\n' : '';
  const relay = turn ? `[turn]
udp = ${of(3478, 443)}
tcp = ${of(80)}
tls = ${of(443)}
host = "${TURN}"
certificate = "${files.certificate}"
key = "${files.key}"
public_peers = ${direct}
` : '';
  const router = await Router.start({ ...context, isolated: true }, { media, extra: rooms + relay });
  const { port } = new URL(router.url);
  await proxy(context.stage, { addresses: side.meet, ...files, port });
  return router;
}
