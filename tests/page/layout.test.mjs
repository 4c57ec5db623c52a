import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contain, duoLayout, gridLayout, promoteSpeakers, stageLayout, worth } from '../../router/src/gateway/page/layout.js';

const WINDOWS = [[1280, 680], [1920, 980], [360, 520], [320, 460], [640, 300], [800, 1100]];

function checkInside(rects, width, height, what) {
  for (const { x, y, width: w, height: h } of rects) {
    assert.ok(x >= 0 && y >= 0 && x + w <= width + 1 && y + h <= height + 1, `${what}: inside the area`);
    assert.ok(w > 0 && h > 0, `${what}: has a size`);
  }
  for (const [i, a] of rects.entries()) {
    for (const b of rects.slice(i + 1)) {
      const apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
      assert.ok(apart, `${what}: tiles do not overlap`);
    }
  }
}

test('grid: tiles stay inside and apart, in windows of all shapes', () => {
  for (const [width, height] of WINDOWS) {
    for (let count = 1; count <= 60; count += 1) {
      const { rects, perPage } = gridLayout(count, width, height);
      assert.equal(rects.length, Math.min(count, perPage));
      assert.ok(perPage >= 1);
      checkInside(rects, width, height, `${count} in ${width}×${height}`);
      for (const rect of rects) {
        const shape = rect.width / rect.height;
        assert.ok(shape < 1.8 && shape > 0.98, `shape ${shape} of ${count} in ${width}×${height}`);
      }
    }
  }
});

test('grid: fills at least one direction for one tile', () => {
  for (const [width, height] of WINDOWS) {
    const [{ width: w, height: h }] = gridLayout(1, width, height).rects;
    assert.ok(w >= width - 1 || h >= height - 1, `${w}×${h} in ${width}×${height}`);
  }
});

test('grid: two tiles are side by side in a wide window and stacked in a tall one', () => {
  const wide = gridLayout(2, 1280, 680).rects;
  assert.equal(wide[0].y, wide[1].y);
  const tall = gridLayout(2, 360, 520).rects;
  assert.equal(tall[0].x, tall[1].x);
});

test('grid: more people never get larger tiles', () => {
  for (const [width, height] of WINDOWS) {
    let before = Infinity;
    for (let count = 1; count <= 30; count += 1) {
      const { rects, perPage } = gridLayout(count, width, height);
      if (perPage < count) break;
      const area = worth(rects[0], width < 520);
      assert.ok(area <= before * 1.01, `${count} in ${width}×${height}`);
      before = area;
    }
  }
});

test('grid: an area without size has no tiles', () => {
  assert.deepEqual(gridLayout(3, 0, 100), { rects: [], perPage: 0 });
  assert.deepEqual(gridLayout(0, 100, 100), { rects: [], perPage: 0 });
});

test('stage: the stage is the largest, the strip beside or below', () => {
  for (const [width, height] of WINDOWS) {
    for (const count of [0, 1, 3, 12]) {
      const { stage, rects } = stageLayout(count, width, height);
      checkInside([stage, ...rects], width, height, `${count} in ${width}×${height}`);
      for (const rect of rects) assert.ok(rect.width * rect.height < stage.width * stage.height);
    }
  }
});

test('two people: the other fills the area, we are small in its corner', () => {
  for (const [width, height] of WINDOWS) {
    const { other, own } = duoLayout(width, height);
    checkInside([other], width, height, `the other in ${width}×${height}`);
    assert.ok(other.width >= width - 1 || other.height >= height - 1, `${width}×${height}: as large as it can be`);
    const shape = other.width / other.height;
    assert.ok(shape < 2.1 && shape > 0.7, `shape ${shape} in ${width}×${height}`);
    assert.ok(own.x > other.x && own.x + own.width < other.x + other.width, `${width}×${height}: within the other`);
    assert.ok(own.y > other.y && own.y + own.height < other.y + other.height, `${width}×${height}: within the other`);
    assert.ok(own.width * own.height < 0.17 * other.width * other.height, `${width}×${height}: covers little`);
  }
});

test('contain keeps the shape and centres', () => {
  assert.deepEqual(contain(160, 180, 16 / 9), { x: 0, y: 45, width: 160, height: 90 });
  assert.deepEqual(contain(320, 90, 16 / 9), { x: 80, y: 0, width: 160, height: 90 });
});

test('speakers that would be hidden take the place of the longest silent', () => {
  const tiles = ['a', 'b', 'c', 'd', 'e'].map((key) => ({ key }));
  const spoke = { a: 5, d: 9 };
  const order = promoteSpeakers(tiles, 3, ({ key }) => spoke[key] ?? 0).map(({ key }) => key);
  assert.deepEqual(order, ['a', 'b', 'd', 'c', 'e']);
  const calm = promoteSpeakers(tiles, 3, () => 0).map(({ key }) => key);
  assert.deepEqual(calm, ['a', 'b', 'c', 'd', 'e']);
});
