#!/usr/bin/env node
// The resolver on a machine's own loopback address, as most have one: answers for the names of the networks with what
// the hosts file says (its path is the argument), and says of everything else that it is not there.

import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import process from 'node:process';

const TYPES = { 1: false, 28: true };

const hosts = readFileSync(process.argv[2], 'utf8').split('\n').map((line) => line.trim().split(/\s+/)).filter(([, name]) => name);

/** Name, type and end of the one question. */
function question(message) {
  const labels = [];
  let at = 12;
  while (message[at] > 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + message[at]));
    at += 1 + message[at];
  }
  return { name: labels.join('.').toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 };
}

/** Sixteen bytes of an address without zone or embedded IPv4. */
function bytes6(address) {
  const [left, right = ''] = address.split('::').map((half) => half.split(':').filter(Boolean));
  const words = [...left, ...Array(8 - left.length - right.length).fill('0'), ...right];
  return Buffer.from(words.map((word) => word.padStart(4, '0')).join(''), 'hex');
}

function answer(message) {
  const { name, type, end } = question(message);
  const known = hosts.filter(([, host]) => host === name);
  const records = known.filter(([address]) => TYPES[type] === isIPv6(address)).map(([address]) => {
    const data = isIPv6(address) ? bytes6(address) : Buffer.from(address.split('.').map(Number));
    const head = Buffer.alloc(12);
    head.writeUInt16BE(0xc00c, 0);
    head.writeUInt16BE(type, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt32BE(60, 6);
    head.writeUInt16BE(data.length, 10);
    return Buffer.concat([head, data]);
  });
  const reply = Buffer.concat([message.subarray(0, end), ...records]);
  reply.writeUInt16BE(known.length > 0 ? 0x8580 : 0x8583, 2);
  reply.writeUInt16BE(records.length, 6);
  reply.writeUInt32BE(0, 8);
  return reply;
}

const socket = dgram.createSocket('udp4');
socket.on('message', (message, { port, address }) => {
  try {
    socket.send(answer(message), port, address);
  } catch {
    // Not a question.
  }
});
socket.bind(53, '127.0.0.1', () => console.log('ready'));
