import assert from 'node:assert/strict';
import { test } from 'node:test';

import { reportJudge } from '../../router/src/gateway/page/ice.js';

/** What the judge says of looks, each a pair: packets sent since the last one, bytes that came back. */
function verdicts(...looks) {
  const judge = reportJudge();
  const now = { sent: 0, received: 0 };
  judge({ ...now });
  return looks.map(([sent, received]) => {
    now.sent += sent;
    now.received += received;
    return judge({ ...now });
  });
}

const MOVING = [20, 300];
const SILENT = [20, 0];
const IDLE = [0, 0];

test('no reports of what is sent: doubtful, then gone, once', () => {
  const said = verdicts(MOVING, MOVING, MOVING, MOVING, SILENT, SILENT, SILENT, SILENT, SILENT);
  assert.deepEqual(said.slice(4), ['doubtful', 'doubtful', 'gone', 'idle', 'idle']);
});

test('one look without reports is no path that is gone', () => {
  const said = verdicts(MOVING, MOVING, MOVING, MOVING, SILENT, SILENT, MOVING, SILENT, SILENT, MOVING);
  assert.ok(!said.includes('gone'), String(said));
});

test('nothing is expected of a connection that sends nothing: everything is muted', () => {
  const said = verdicts(MOVING, MOVING, MOVING, MOVING, IDLE, IDLE, IDLE, IDLE);
  assert.deepEqual(said.slice(4), ['idle', 'idle', 'idle', 'idle']);
});

test('nor of one whose reports have not begun', () => {
  assert.ok(!verdicts(SILENT, SILENT, SILENT, SILENT, SILENT).includes('gone'));
});

test('a path that goes takes its counters along, and that is no silence', () => {
  const said = verdicts(MOVING, MOVING, MOVING, MOVING, [20, -500], SILENT, SILENT);
  assert.deepEqual(said.slice(4), ['moving', 'doubtful', 'doubtful']);
});

test('it takes reports again before another silence counts', () => {
  const said = verdicts(MOVING, MOVING, MOVING, MOVING, SILENT, SILENT, SILENT, MOVING, SILENT, SILENT, SILENT);
  assert.equal(said.filter((one) => one === 'gone').length, 1);
});
