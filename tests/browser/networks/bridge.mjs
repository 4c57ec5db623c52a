#!/usr/bin/env node
// A port of this network namespace as a socket in the file system, which knows no network namespaces: the arguments are
// the socket's path and the port.

import net from 'node:net';
import process from 'node:process';

const [socket, port] = process.argv.slice(2);

const listener = net.createServer((near) => {
  const far = net.connect(Number(port), '127.0.0.1');
  const end = () => {
    near.destroy();
    far.destroy();
  };
  for (const one of [near, far]) one.on('error', end).on('close', end);
  near.pipe(far);
  far.pipe(near);
});
listener.listen(socket, () => console.log('ready'));
