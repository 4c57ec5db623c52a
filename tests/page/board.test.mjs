import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BoardModel, MAX_STROKE_POINTS } from '../../router/src/gateway/page/boardmodel.js';

/** A few boards and a network between them that loses messages as told; time is a number we move. */
class Room {
  boards = new Map();
  now = 0;
  seed = 1;
  sent = 0;

  constructor(loss = 0) {
    this.loss = loss;
  }

  random = () => {
    this.seed = (Math.imul(this.seed, 1_103_515_245) + 12_345) >>> 0;
    return this.seed / 2 ** 32;
  };

  join(id) {
    const board = new BoardModel(this.random);
    const joinedAtMs = this.now;
    this.boards.set(id, { board, joinedAtMs });
    board.join(id, () => [...this.boards].map(([other, { joinedAtMs: at }]) => ({ id: other, joinedAtMs: at })));
    for (const { board: other } of this.boards.values()) other.greet(this.now);
    return board;
  }

  leave(id) {
    this.boards.delete(id);
  }

  run(ms) {
    for (const end = this.now + ms; this.now < end; this.now += 50) {
      for (const [id, { board }] of this.boards) {
        for (const bytes of board.poll(this.now)) {
          this.sent += 1;
          assert.ok(bytes.length <= 1100, 'a message fits into a packet');
          for (const [other, { board: receiver }] of this.boards) {
            if (other !== id && this.random() >= this.loss) receiver.handle(id, bytes, this.now);
          }
        }
      }
    }
  }
}

function draw(board, now, count = 30, offset = 0) {
  const stroke = board.begin(1, 9);
  for (let i = 0; i < count; i += 1) board.extend(stroke, [((i + offset) % 100) / 100, 0.5], now);
  return stroke;
}

const drawing = (board) => [...board.strokes.values()]
  .map(({ author, number, colour, width, total, points }) => ({ author, number, colour, width, total, points: [...points] }))
  .sort((a, b) => (a.author + a.number < b.author + b.number ? -1 : 1));

test('strokes arrive as they were drawn', () => {
  const room = new Room();
  const [a, b] = [room.join('1'), room.join('2')];
  draw(a, 0);
  room.run(200);
  assert.deepEqual(drawing(b), drawing(a));
  assert.equal(b.pointCount, 30);
  assert.deepEqual(b.counts(), { 1: 1 });
});

for (const loss of [0.1, 0.5, 0.8]) {
  test(`everybody has the same drawing in the end, with ${loss * 100} % loss`, () => {
    const room = new Room(loss);
    const boards = ['a', 'b', 'c'].map((id) => room.join(id));
    for (let i = 0; i < 12; i += 1) {
      draw(boards[i % 3], room.now, 20 + i * 31, i);
      room.run(100);
    }
    room.run(loss > 0.6 ? 600_000 : 40_000);
    assert.equal(boards[0].strokes.size, 12);
    for (const board of boards) assert.deepEqual(drawing(board), drawing(boards[0]));
  });
}

test('somebody who comes later gets what is there, also of authors who have left', () => {
  const room = new Room(0.3);
  const [a, b] = [room.join('1'), room.join('2')];
  draw(a, 0, 700);
  draw(b, 0);
  room.run(5_000);
  room.leave('1');
  room.run(1_000);
  const c = room.join('3');
  room.run(20_000);
  assert.deepEqual(drawing(c), drawing(b));
  assert.deepEqual(c.counts(), { 1: 1, 2: 1 });
});

test('clear reaches everybody despite loss, and what is drawn afterwards stays', () => {
  const room = new Room(0.6);
  const [a, b, c] = ['1', '2', '3'].map((id) => room.join(id));
  draw(a, 0);
  draw(b, 0);
  room.run(10_000);
  c.clear(room.now);
  draw(c, room.now, 10);
  room.run(30_000);
  for (const board of [a, b, c]) {
    assert.deepEqual(board.counts(), { 3: 1 });
    assert.equal(board.pointCount, 10);
    assert.equal(board.epoch, 1);
  }
});

test('undo takes back the own latest stroke everywhere', () => {
  const room = new Room(0.5);
  const [a, b] = [room.join('1'), room.join('2')];
  draw(a, 0);
  draw(a, 0);
  draw(b, 0);
  room.run(5_000);
  assert.equal(a.undo(room.now), true);
  room.run(20_000);
  assert.deepEqual(b.counts(), { 1: 1, 2: 1 });
  assert.equal(b.pointCount, 60);
  assert.equal(a.undo(room.now), true);
  assert.equal(a.undo(room.now), false);
});

test('nobody speaks for an author who is present', () => {
  const room = new Room();
  const [a, b] = [room.join('1'), room.join('2')];
  const forger = new BoardModel();
  forger.join('1', () => []);
  draw(forger, 0);
  for (const bytes of forger.poll(0)) b.handle('2', bytes, 0);
  for (const bytes of forger.poll(0)) b.handle('9', bytes, 0);
  assert.equal(b.strokes.size, 0);
  assert.equal(a.strokes.size, 0);
});

test('a quiet board sends little', () => {
  const room = new Room();
  const [a] = [room.join('1'), room.join('2')];
  draw(a, 0);
  room.run(30_000);
  room.sent = 0;
  room.run(60_000);
  assert.ok(room.sent <= 15, `${room.sent} messages in a minute`);
});

test('what is drawn between two polls goes out together', () => {
  const room = new Room();
  const [a, b] = [room.join('1'), room.join('2')];
  room.run(1_000);
  room.sent = 0;
  draw(a, room.now, 700);
  draw(a, room.now, 5);
  assert.ok(a.poll(room.now).filter(([kind]) => kind === 3).length <= 5);
  room.run(10_000);
  assert.deepEqual(drawing(b), drawing(a));
});

test('a stroke is bounded, and full boards say so', () => {
  const board = new BoardModel();
  board.join('1', () => []);
  const stroke = board.begin(0, 4);
  assert.equal(board.extend(stroke, Array.from({ length: MAX_STROKE_POINTS * 2 + 10 }, () => 0.5), 0), false);
  assert.equal(stroke.total, MAX_STROKE_POINTS);
  let begun = 0;
  while (board.begin(0, 4)) begun += 1;
  assert.ok(begun < 5_000);
});

test('nonsense of peers changes nothing and throws nothing', () => {
  const room = new Room();
  const board = room.join('1');
  draw(board, 0);
  const before = drawing(board);
  for (let length = 0; length < 80; length += 1) {
    for (let kind = 0; kind < 8; kind += 1) {
      const bytes = new Uint8Array(length).map(() => Math.floor(room.random() * 256));
      bytes[0] = kind;
      // Epoch 0 and author 7, so that the rest of the message is looked at.
      bytes.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7].slice(0, Math.max(0, length - 1)), Math.min(1, length));
      board.handle('7', bytes, 0);
    }
  }
  assert.deepEqual(drawing(board).filter(({ author }) => author === '1'), before);
  const started = performance.now();
  for (let i = 0; i < 100; i += 1) board.poll(i * 1000);
  assert.ok(performance.now() - started < 2000, 'huge stroke numbers cost nothing');
});
