import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DataChannels } from '../../router/src/gateway/page/datachannel.js';
import { DirectData } from '../../router/src/gateway/page/directdata.js';

/** One end of a channel; what is sent waits in `way` until the test lets it arrive. */
class FakeChannel extends EventTarget {
  readyState = 'open';
  bufferedAmount = 0;
  way = [];
  close() {
    this.readyState = 'closed';
  }

  send(bytes) {
    this.way.push(Uint8Array.from(bytes));
  }
}

class FakeConnection {
  channels = {};
  createDataChannel(label) {
    this.channels[label] = new FakeChannel();
    return this.channels[label];
  }
}

/** One of two, with both of its ways. */
function end(id, otherId) {
  const router = new FakeConnection();
  const direct = new FakeConnection();
  const channels = new DataChannels();
  channels.attach(router);
  channels.setLimits({ dataBytesPerSecond: 10_000_000, dataMessageBytes: 10_000 });
  const data = new DirectData(7, otherId);
  data.attach(direct);
  channels.listen(data);
  const heard = [];
  channels.on('message', ({ label, from, payload }) => heard.push(`${label} ${from} ${String.fromCharCode(...payload)}`));
  return { id, router, direct, channels, data, heard };
}

function pair() {
  return [end('1', '2'), end('2', '1')];
}

const text = (words) => Uint8Array.from(words, (letter) => letter.charCodeAt(0));

/** What waits on the way through the router arrives, with the sender's id before it as the router puts it. */
function byRouter(from, to, count = Infinity) {
  for (const bytes of from.router.channels.reliable.way.splice(0, count)) {
    const message = new Uint8Array(8 + bytes.length);
    message[7] = Number(from.id);
    message.set(bytes, 8);
    to.router.channels.reliable.onmessage({ data: message.buffer });
  }
}

function directly(from, to, count = Infinity) {
  for (const bytes of from.direct.channels.reliable.way.splice(0, count)) {
    to.direct.channels.reliable.onmessage({ data: bytes.buffer });
  }
}

test('messages move along, in order, though the direct way is quicker', () => {
  const [one, other] = pair();
  one.channels.send('reliable', text('a'));
  one.channels.divert(true);
  one.channels.send('reliable', text('b'));
  directly(one, other);
  assert.deepEqual(other.heard, [], 'what was sent before is not there yet');
  byRouter(one, other);
  one.channels.send('reliable', text('c'));
  assert.equal(one.router.channels.reliable.way.length, 0, 'nothing goes through the router');
  directly(one, other);
  assert.deepEqual(other.heard, ['reliable 1 a', 'reliable 1 b', 'reliable 1 c']);
  directly(other, one);
  assert.equal(one.data.unknownBytes, 0, 'all has arrived');
});

test('what had not arrived when the way broke comes through the router, and nothing twice', () => {
  const [one, other] = pair();
  one.channels.divert(true);
  byRouter(one, other);
  for (const letter of 'abcd') one.channels.send('reliable', text(letter));
  directly(one, other, 2); // c and d are lost, and so are the receipts of a and b
  one.channels.divert(false);
  one.channels.send('reliable', text('e'));
  byRouter(one, other);
  assert.deepEqual(other.heard, ['a', 'b', 'c', 'd', 'e'].map((letter) => `reliable 1 ${letter}`));
});

test('what arrives late by the direct way has been heard', () => {
  const [one, other] = pair();
  one.channels.divert(true);
  byRouter(one, other);
  one.channels.send('reliable', text('a'));
  one.channels.divert(false);
  byRouter(one, other);
  directly(one, other);
  assert.deepEqual(other.heard, ['reliable 1 a']);
});

test('those who were not in the call do not hear it again', () => {
  const [one] = pair();
  const third = end('3', '9');
  one.channels.divert(true);
  one.channels.send('reliable', text('a'));
  one.channels.divert(false);
  one.channels.send('reliable', text('b'));
  byRouter(one, third);
  assert.deepEqual(third.heard, ['reliable 1 b']);
});

test('where the router is not reached nothing is diverted, and a channel that is not open yet is not used', () => {
  const [one] = pair();
  one.direct.channels.unreliable.readyState = 'connecting';
  one.channels.divert(true);
  one.channels.send('reliable', text('a'));
  assert.equal(one.direct.channels.reliable.way.length, 0);
  assert.equal(one.router.channels.reliable.way.length, 1);
});

test('it moves once both ways are open', () => {
  const [one] = pair();
  one.router.channels.reliable.readyState = 'connecting';
  one.channels.divert(true);
  one.router.channels.reliable.readyState = 'open';
  one.router.channels.reliable.onopen();
  one.channels.send('reliable', text('a'));
  assert.equal(one.direct.channels.reliable.way.length, 1);
});

test('bulk data waits for receipts', async () => {
  const [one, other] = pair();
  one.channels.setLimits({ dataBytesPerSecond: 40_000, dataMessageBytes: 8_000 });
  one.channels.divert(true);
  let sent = 0;
  const all = Promise.all([1, 2].map(async () => {
    await one.channels.sendPaced(new Uint8Array(5_000));
    sent += 1;
  }));
  await new Promise((resolve) => setTimeout(resolve, 250)); // the rate alone would let it through
  assert.equal(sent, 1);
  byRouter(one, other);
  directly(one, other);
  directly(other, one);
  await all;
  assert.equal(sent, 2);
});
