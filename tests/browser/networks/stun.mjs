#!/usr/bin/env node
// A STUN server (RFC 8489) that answers binding requests and nothing else: the arguments are its IPv4 address and port.

import dgram from 'node:dgram';
import process from 'node:process';

const BINDING_REQUEST = 0x0001;
const BINDING_SUCCESS = 0x0101;
const XOR_MAPPED_ADDRESS = 0x0020;
const MAGIC = 0x2112a442;

const [address, port] = process.argv.slice(2);

/** The answer to whoever asks; null to what is no question. */
function answer(request, from) {
  if (request.length < 20 || request.readUInt16BE(0) !== BINDING_REQUEST || request.readUInt32BE(4) !== MAGIC) return null;
  const reply = Buffer.alloc(32);
  reply.writeUInt16BE(BINDING_SUCCESS, 0);
  reply.writeUInt16BE(12, 2);
  request.copy(reply, 4, 4, 20);
  reply.writeUInt16BE(XOR_MAPPED_ADDRESS, 20);
  reply.writeUInt16BE(8, 22);
  reply.writeUInt8(1, 25);
  reply.writeUInt16BE(from.port ^ (MAGIC >>> 16), 26);
  const bytes = Buffer.from(from.address.split('.').map(Number));
  reply.writeUInt32BE((bytes.readUInt32BE(0) ^ MAGIC) >>> 0, 28);
  return reply;
}

const socket = dgram.createSocket('udp4');
socket.on('message', (request, from) => {
  const reply = answer(request, from);
  if (reply) socket.send(reply, from.port, from.address);
});
socket.bind(Number(port), address, () => console.log('ready'));
