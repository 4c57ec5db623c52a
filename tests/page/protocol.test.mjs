import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bucket } from '../../router/src/gateway/page/datachannel.js';
import { backoffMs, Connection, ProtocolError } from '../../router/src/gateway/page/protocol.js';
import { PieceSet } from '../../router/src/gateway/page/ranges.js';
import { decodeJson, decodePiece, encodeJson, encodePiece, splitSender } from '../../router/src/gateway/page/wire.js';

/** A WebSocket whose other end is the test. */
class FakeSocket {
  static OPEN = 1;
  static all = [];
  readyState = 0;
  sent = [];

  constructor(url, protocol) {
    Object.assign(this, { url, protocol });
    FakeSocket.all.push(this);
  }

  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  say(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  end(code, reason = '') {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  close() {
    this.readyState = 3;
  }
}

function connect(t) {
  globalThis.WebSocket = FakeSocket;
  FakeSocket.all = [];
  const connection = new Connection('ws://x/signal/rooms');
  t.after(() => connection.stop());
  const downs = [];
  connection.on('down', (event) => downs.push(event));
  connection.start();
  return { connection, downs, socket: () => FakeSocket.all.at(-1) };
}

test('answers find their requests, in any order; the rest are messages', async (t) => {
  const { connection, socket } = connect(t);
  assert.equal(socket().protocol, 'rillway.rooms.v1');
  socket().open();
  const messages = [];
  connection.on('message', (message) => messages.push(message.type));
  const first = connection.request('join', { room: 'a' });
  const second = connection.request('ping');
  const [join, ping] = socket().sent;
  assert.equal(join.room, 'a');
  assert.notEqual(join.id, ping.id);
  socket().say({ type: 'offer', offerId: join.id });
  socket().say({ type: 'pong', id: ping.id });
  socket().say({ type: 'error', id: join.id, code: 'forbidden', message: 'no', fatal: true });
  assert.equal((await second).type, 'pong');
  await assert.rejects(first, (error) => error instanceof ProtocolError && error.code === 'forbidden' && error.fatal);
  socket().onmessage({ data: 'not JSON' });
  assert.deepEqual(messages, ['offer']);
});

test('a lost connection fails what was asked, and is opened again', async (t) => {
  const { connection, downs, socket } = connect(t);
  socket().open();
  const request = connection.request('publish');
  socket().end(1006);
  await assert.rejects(request, (error) => error.code === 'disconnected');
  assert.equal(downs.length, 1);
  assert.ok(downs[0].retryMs >= 200 && downs[0].retryMs <= 400);
  connection.retryNow();
  assert.equal(FakeSocket.all.length, 2);
  socket().end(1006);
  assert.ok(downs[1].retryMs >= 400, 'each failure waits longer');
  connection.retryNow();
  socket().open();
  connection.settled();
  socket().end(1001);
  assert.ok(downs[2].retryMs <= 400, 'after a success the first delay is short again');
});

test('decisions about this client are final', (t) => {
  for (const code of [4001, 4003]) {
    const { connection, downs, socket } = connect(t);
    socket().open();
    socket().end(code, 'because');
    assert.deepEqual(downs, [{ code, reason: 'because', retryMs: null }]);
    connection.retryNow();
    assert.equal(FakeSocket.all.length, 1);
  }
});

test('a request while the connection is down fails at once', async (t) => {
  const { connection } = connect(t);
  await assert.rejects(connection.request('join'), (error) => error.code === 'disconnected');
});

test('a server that does not answer the probe is given up', async (t) => {
  const { connection, downs, socket } = connect(t);
  socket().open();
  await connection.probe(20);
  assert.equal(downs.length, 1);
});

test('backoff grows, is bounded and spread', () => {
  assert.equal(backoffMs(0, 0), 200);
  assert.equal(backoffMs(0, 1), 400);
  assert.ok(backoffMs(3, 0) > backoffMs(0, 1));
  for (let attempt = 0; attempt < 2000; attempt += 1) assert.ok(backoffMs(attempt) <= 15_000);
});

test('the bucket keeps the rate: bulk waits, urgent messages overdraw', () => {
  const bucket = new Bucket(1000, 0);
  assert.equal(bucket.waitMs(250, 0), 0);
  bucket.take(250, 0);
  assert.equal(bucket.waitMs(100, 0), 100);
  assert.equal(bucket.waitMs(100, 100), 0);
  bucket.take(500, 100);
  assert.equal(bucket.waitMs(100, 100), 500);
  assert.equal(bucket.waitMs(10_000, 100_000), 0, 'more than the burst waits for a full bucket only');
  let sent = 0;
  for (let now = 0; now < 10_000; now += 10) {
    while (bucket.waitMs(100, 100_000 + now) === 0) {
      bucket.take(100, 100_000 + now);
      sent += 100;
    }
  }
  assert.ok(sent <= 10_250 && sent >= 9_900, `${sent} bytes in 10 s at 1000 B/s`);
});

test('messages of the data channels are read back, and garbage is not', () => {
  assert.deepEqual(decodeJson(encodeJson({ t: 'chat', text: 'ü 漢 🛶' })), { t: 'chat', text: 'ü 漢 🛶' });
  for (const bad of [[], [1], [1, 255, 254], [1, 49], [2, 123, 125], [1, 123, 125]]) {
    assert.equal(decodeJson(new Uint8Array(bad)), null);
  }
  const piece = decodePiece(encodePiece(7, 4_000_000_000, new Uint8Array([1, 2, 3])));
  assert.deepEqual(piece, { transfer: 7, index: 4_000_000_000, piece: new Uint8Array([1, 2, 3]) });
  assert.equal(decodePiece(new Uint8Array([2, 0, 0])), null);
});

test('the sender of a message is spelt as in signaling', () => {
  const split = splitSender(new Uint8Array([0, 0, 0, 1, 0, 0, 0, 0x2a, 9, 8]).buffer);
  assert.deepEqual(split, { from: '10000002a', payload: new Uint8Array([9, 8]) });
  assert.equal(splitSender(new ArrayBuffer(7)), null);
});

test('gaps of a file', () => {
  const set = new PieceSet(10);
  for (const index of [0, 1, 4, 9]) assert.equal(set.add(index), true);
  assert.equal(set.add(4), false);
  assert.equal(set.add(10), false);
  assert.equal(set.add(-1), false);
  assert.equal(set.add(1.5), false);
  assert.deepEqual(set.gaps(64), [[2, 4], [5, 9]]);
  assert.deepEqual(set.gaps(1), [[2, 4]]);
  assert.equal(set.next(), 2);
  set.remove(0);
  assert.equal(set.next(), 0);
  assert.equal(set.count, 3);
});
