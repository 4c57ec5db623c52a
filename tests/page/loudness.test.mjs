import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Loudness } from '../../router/src/gateway/page/loudness.js';

const report = (...stats) => new Map(stats.map((one) => [one.id, one]));
const sound = (id, type, totalAudioEnergy, totalSamplesDuration) => ({ id, type, kind: 'audio', totalAudioEnergy, totalSamplesDuration });

test('it is as loud as the loudest since the last look', () => {
  const loudness = new Loudness();
  assert.deepEqual(loudness.take(report(sound('a', 'inbound-rtp', 5, 100), sound('m', 'media-source', 1, 100))), { heard: 0, said: 0 });
  const next = report(sound('a', 'inbound-rtp', 5.04, 101), sound('b', 'inbound-rtp', 9, 1), sound('m', 'media-source', 1.25, 101));
  const { heard, said } = loudness.take(next);
  assert.ok(Math.abs(heard - 0.2) < 1e-6);
  assert.ok(Math.abs(said - 0.5) < 1e-6);
});

test('what stands still or is unknown is silent', () => {
  const loudness = new Loudness();
  const still = report(sound('a', 'inbound-rtp', 5, 100), { id: 'm', type: 'media-source', kind: 'audio' }, { id: 'v', type: 'inbound-rtp', kind: 'video' });
  loudness.take(still);
  assert.deepEqual(loudness.take(still), { heard: 0, said: 0 });
});
