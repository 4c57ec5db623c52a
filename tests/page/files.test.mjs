import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Files } from '../../router/src/gateway/page/files.js';
import { encodeJson, MAX_FILE_BYTES } from '../../router/src/gateway/page/wire.js';

/** Participants whose messages reach each other, but for those that `drop` names. */
class Room {
  members = new Map();
  drop = () => false;
  sent = 0;

  join(id) {
    const files = new Files({
      sendPaced: async (bytes) => {
        this.sent += 1;
        const copy = bytes.slice();
        for (const [other, receiver] of this.members) {
          if (other !== id && !this.drop(id, other, copy)) queueMicrotask(() => receiver.handle(id, copy));
        }
      },
      ready: () => true,
      messageBytes: () => 65_536,
      me: () => id,
      others: () => [...this.members.keys()].filter((other) => other !== id),
    });
    this.members.set(id, files);
    return files;
  }

  async until(what, condition, limit = 15_000) {
    const end = Date.now() + limit;
    while (!condition()) {
      assert.ok(Date.now() < end, `${what}: in time`);
      for (const files of this.members.values()) files.tick();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

const content = (size) => new Uint8Array(size).map((_, i) => (i * 31 + (i >> 8)) & 255);
const only = (files) => [...files.entries.values()][0];

async function bytesOf(entry) {
  return new Uint8Array(await (await fetch(entry.url)).arrayBuffer());
}

test('a file arrives whole at everybody, who say so', async () => {
  const room = new Room();
  const [a, b, c] = ['1', '2', '3'].map((id) => room.join(id));
  const data = content(200_000);
  const sent = await a.send(new Blob([data]), 'notes.txt');
  await room.until('received', () => [b, c].every((files) => only(files)?.status === 'done'));
  for (const files of [b, c]) {
    const entry = only(files);
    assert.equal(entry.ok, true);
    assert.equal(entry.from, '1');
    assert.equal(entry.name, 'notes.txt');
    assert.equal(entry.sha256, sent.sha256);
    assert.deepEqual(await bytesOf(entry), data);
  }
  await room.until('acknowledged', () => sent.ok);
  assert.match(sent.note, /all 2/);
});

test('an empty file is a file', async () => {
  const room = new Room();
  const [a, b] = ['1', '2'].map((id) => room.join(id));
  await a.send(new Blob([]), 'empty');
  await room.until('received', () => only(b)?.status === 'done');
  assert.equal(only(b).size, 0);
});

test('lost pieces, the lost announcement and the lost end are asked for again', async () => {
  const room = new Room();
  const [a, b] = ['1', '2'].map((id) => room.join(id));
  let count = 0;
  room.drop = (from) => {
    if (from !== '1') return false;
    count += 1;
    // The announcement, every third piece of the first round, and its end.
    return count === 1 || (count < 15 && count % 3 === 0) || count === 12;
  };
  const data = content(320_000);
  await a.send(new Blob([data]), 'lossy');
  await room.until('received', () => only(b)?.status === 'done', 25_000);
  assert.deepEqual(await bytesOf(only(b)), data);
});

test('a damaged file is not offered', async () => {
  const room = new Room();
  const [a, b] = ['1', '2'].map((id) => room.join(id));
  room.drop = (_from, _to, bytes) => {
    if (bytes[0] === 2) bytes[20] ^= 1;
    return false;
  };
  await a.send(new Blob([content(1000)]), 'x');
  await room.until('failed', () => only(b)?.status === 'failed');
  assert.equal(only(b).ok, false);
  assert.equal(only(b).url, null);
});

test('a sender who leaves ends the transfer', async () => {
  const room = new Room();
  const [a, b] = ['1', '2'].map((id) => room.join(id));
  room.drop = (_from, _to, bytes) => bytes[0] === 2;
  void a.send(new Blob([content(100_000)]), 'x');
  await room.until('announced', () => only(b) !== undefined);
  b.participantLeft('1');
  assert.equal(only(b).status, 'failed');
  assert.match(only(b).note, /left/);
});

test('too large files are refused in plain words, on both sides', () => {
  const room = new Room();
  const b = room.join('2');
  assert.match(b.refusal({ name: 'film.mkv', size: MAX_FILE_BYTES + 1 }), /64 MiB/);
  assert.equal(b.refusal({ name: 'film.mkv', size: MAX_FILE_BYTES }), null);
  b.handle('1', encodeJson({ t: 'file', n: 1, name: 'x', size: MAX_FILE_BYTES + 1, piece: 32768, sha256: '' }));
  assert.equal(only(b).status, 'failed');
});

test('announcements of peers that make no sense are ignored', () => {
  const room = new Room();
  const b = room.join('2');
  for (const bad of [{}, { n: -1 }, { n: 1, size: -5, piece: 1000 }, { n: 1, size: 1e9, piece: 1 }, { n: 'x', size: 1, piece: 1000 },
    { n: 1, size: 1.5, piece: 1000 }, { n: 1, size: Infinity, piece: 1000 }]) {
    b.handle('1', encodeJson({ t: 'file', name: 'x', sha256: '', ...bad }));
  }
  b.handle('1', new Uint8Array([2, 0, 0]));
  b.handle('1', new Uint8Array([1, 123]));
  assert.equal(b.entries.size, 0);
  for (let n = 0; n < 10; n += 1) {
    b.handle('1', encodeJson({ t: 'file', n, name: '../../etc/passwd\u202e', size: 10, piece: 1000, sha256: '' }));
  }
  assert.equal(b.entries.size, 4, 'one sender has at most four transfers at a time');
  assert.equal(only(b).name, 'passwd');
});

test('an unfinished transfer starts again after reconnecting', async () => {
  const room = new Room();
  const a = room.join('1');
  const b = room.join('2');
  let broken = true;
  const data = content(500_000);
  room.drop = (_from, _to, bytes) => {
    if (broken && bytes[0] === 2) throw new Error('the data channel is closed');
    return false;
  };
  await a.send(new Blob([data]), 'x');
  assert.equal(only(a).status, 'running');
  broken = false;
  b.participantLeft('1');
  a.rejoined();
  await room.until('received', () => [...b.entries.values()].some(({ status }) => status === 'done'));
  await room.until('sent', () => only(a).status === 'done');
  assert.equal(a.entries.size, 1);
});
