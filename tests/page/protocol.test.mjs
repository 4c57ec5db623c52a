import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bucket } from '../../router/src/gateway/page/datachannel.js';
import { backoffMs, Connection, ProtocolError } from '../../router/src/gateway/page/protocol.js';
import { PieceSet } from '../../router/src/gateway/page/ranges.js';
import { decodeJson, decodePiece, encodeJson, encodePiece, splitSender } from '../../router/src/gateway/page/wire.js';

/** A WebSocket whose other end is the test. */
class FakeSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  static all = [];
  readyState = 0;
  sent = [];

  constructor(url, protocol) {
    Object.assign(this, { url, protocol });
    FakeSocket.all.push(this);
  }

  /** It opens, and the server says what it knows of the session. */
  open(resumed = false, received = 0) {
    this.readyState = 1;
    this.onopen?.();
    this.say({ type: 'session', resumed, received });
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

  close(code) {
    this.readyState = 3;
    this.closed = code;
  }
}

function connect(t) {
  globalThis.WebSocket = FakeSocket;
  FakeSocket.all = [];
  const connection = new Connection('ws://x/signal/rooms');
  t.after(() => connection.stop());
  const downs = [];
  const ups = [];
  connection.on('down', (event) => downs.push(event));
  connection.on('up', () => ups.push('up'));
  connection.on('resumed', () => ups.push('resumed'));
  connection.start();
  return { connection, downs, ups, socket: () => FakeSocket.all.at(-1) };
}

test('answers find their requests, in any order; the rest are messages', async (t) => {
  const { connection, socket } = connect(t);
  const [protocol, session] = socket().protocol;
  assert.equal(protocol, 'rillway.rooms.v1');
  assert.match(session, /^rillway\.session\.[0-9a-f]{32}\.0$/);
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

test('a closed connection fails what was asked, and another session begins', async (t) => {
  const { connection, downs, ups, socket } = connect(t);
  socket().open();
  const [, session] = socket().protocol;
  const request = connection.request('publish');
  socket().end(1001);
  await assert.rejects(request, (error) => error.code === 'disconnected');
  assert.equal(downs.length, 1);
  assert.ok(downs[0].retryMs >= 200 && downs[0].retryMs <= 400);
  connection.retryNow();
  assert.equal(FakeSocket.all.length, 2);
  assert.notEqual(socket().protocol[1], session, 'by another key');
  socket().end(1006);
  assert.ok(downs[1].retryMs >= 400, 'each failure waits longer');
  connection.retryNow();
  socket().open();
  connection.settled();
  socket().end(1001);
  assert.ok(downs[2].retryMs <= 400, 'after a success the first delay is short again');
  assert.deepEqual(ups, ['up', 'up']);
});

test('a broken connection goes on, and nothing is lost', async (t) => {
  const { connection, downs, ups, socket } = connect(t);
  socket().open();
  const key = socket().protocol[1].slice(0, -1);
  const joined = connection.request('join');
  const [join] = socket().sent;
  socket().say({ type: 'joined', id: join.id });
  await joined;
  socket().say({ type: 'offer' });
  const published = connection.request('publish');
  connection.notify('wish', { track: '1' });
  socket().end(1006);
  assert.equal(downs.length, 1);
  assert.ok(downs[0].retryMs <= 100, 'at once');
  connection.notify('wish', { track: '2' });
  assert.ok(!connection.isOpen);

  connection.retryNow();
  assert.equal(socket().protocol[1], `${key}2`, 'two messages have come');
  // Ours have come too, but for the last two.
  socket().open(true, 2);
  assert.deepEqual(socket().sent.map(({ type, track }) => [type, track]), [['wish', '1'], ['wish', '2']]);
  const messages = [];
  connection.on('message', (message) => messages.push(message.type));
  socket().say({ type: 'speakers' });
  socket().say({ type: 'published', id: join.id + 1 });
  assert.equal((await published).type, 'published');
  assert.deepEqual(messages, ['speakers']);
  assert.deepEqual(ups, ['up', 'resumed']);

  // And once more, with nothing on its way.
  socket().end(1006);
  connection.retryNow();
  assert.equal(socket().protocol[1], `${key}4`);
  socket().open(true, 4);
  assert.deepEqual(socket().sent, []);
});

test('a session that the server does not know any more begins anew', async (t) => {
  const { connection, ups, socket } = connect(t);
  socket().open();
  const request = connection.request('publish');
  socket().end(1006);
  connection.retryNow();
  socket().open(false, 0);
  await assert.rejects(request, (error) => error.code === 'disconnected');
  assert.deepEqual(ups, ['up', 'up']);
  connection.request('join').catch(() => {});
  socket().end(1006);
  connection.retryNow();
  assert.ok(socket().protocol[1].endsWith('.0'), 'it is counted anew');
  socket().open(true, 0);
  assert.deepEqual(socket().sent.map(({ type }) => type), ['join']);
});

test('where messages were lost, a session begins anew by another key', (t) => {
  const { connection, downs, socket } = connect(t);
  socket().open();
  const [, session] = socket().protocol;
  for (let count = 0; count < 300; count += 1) connection.notify('wish');
  socket().end(1006);
  connection.retryNow();
  socket().open(true, 10);
  assert.equal(downs.at(-1).code, 4000);
  connection.retryNow();
  assert.notEqual(socket().protocol[1].slice(0, -2), session.slice(0, -2));
});

test('a session that is over is closed as such', (t) => {
  const { connection, socket } = connect(t);
  socket().open();
  const first = socket();
  connection.fail('no media');
  assert.equal(first.closed, 1000);
  connection.retryNow();
  socket().open();
  const second = socket();
  connection.reconnect();
  assert.equal(second.closed, 1000);
  socket().open();
  connection.stop();
  assert.equal(socket().closed, 1000);
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

test('a doubted connection stays if it answers, and is replaced in silence if not', async (t) => {
  const { connection, downs, ups, socket } = connect(t);
  socket().open();
  const first = socket();
  const doubted = connection.doubt();
  first.say({ type: 'pong', id: first.sent.at(-1).id });
  await doubted;
  assert.equal(FakeSocket.all.length, 1, 'no other is opened');

  await connection.doubt();
  assert.equal(FakeSocket.all.length, 2);
  assert.equal(first.closed, 4002, 'the first is given up, and the session is not');
  // Its question is asked again by the other.
  socket().open(true, 1);
  assert.deepEqual(socket().sent.map(({ type }) => type), ['ping']);
  assert.deepEqual([downs, ups], [[], ['up', 'resumed']]);
});

test('one that does not open in time is tried again', async (t) => {
  const { connection, downs, socket } = connect(t);
  socket().open();
  await connection.doubt();
  const second = socket();
  await new Promise((resolve) => setTimeout(resolve, 900));
  assert.equal(downs.length, 1);
  assert.ok(FakeSocket.all.length >= 3);
  assert.equal(second.closed, undefined, 'what is still opening is closed when it has opened');
  second.open(true, 1);
  assert.equal(second.closed, 4002);
  assert.ok(!connection.isOpen, 'and is not listened to');
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
