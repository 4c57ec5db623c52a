import assert from 'node:assert/strict';
import { test } from 'node:test';
import { complaint, inviteLink, parseSettings, suggestRoom } from '../../router/src/gateway/page/settings.js';
import { cleanName, duration, formatBitrate, formatBytes, initials, splitLinks } from '../../router/src/gateway/page/text.js';

test('the address says everything', () => {
  const settings = parseSettings('?room=a+b&name=Ada&autojoin=1&camera=0&microphone=0&simulcast=0&codec=vp9&width=640&height=360');
  assert.deepEqual(settings, {
    room: 'a b', name: 'Ada', token: null, autojoin: true, camera: false, microphone: false, simulcast: false, direct: true, codec: 'VP9',
    width: 640, height: 360, fps: 30,
  });
});

test('without parameters the defaults hold, and nonsense counts as none', () => {
  const defaults = parseSettings('', { name: 'Ada' });
  assert.deepEqual(defaults, {
    room: '', name: 'Ada', token: null, autojoin: false, camera: true, microphone: true, simulcast: true, direct: true, codec: null,
    width: 1280, height: 720, fps: 30,
  });
  const odd = parseSettings('?width=abc&height=-3&fps=1e9&codec=H266&camera=no&simulcast=');
  assert.equal(odd.width, 1280);
  assert.equal(odd.height, 720);
  assert.equal(odd.fps, 60);
  assert.equal(odd.codec, null);
  assert.equal(odd.camera, false);
});

test('an invitation carries the room and nothing personal', () => {
  const link = inviteLink('https://meet.example/x/?room=old&name=Ada&token=secret#y', 'stand & up');
  assert.equal(link, 'https://meet.example/x/?room=stand+%26+up');
});

test('bounds of names are those of the protocol, in bytes', () => {
  assert.equal(complaint('room', 'x'.repeat(128)), null);
  assert.notEqual(complaint('room', 'ü'.repeat(65)), null);
  assert.notEqual(complaint('name', '   '), null);
  assert.equal(complaint('name', 'Ada'), null);
});

test('suggested rooms can be joined', () => {
  for (const value of [0, 0.5, 0.999999]) assert.equal(complaint('room', suggestRoom(() => value)), null);
});

test('only web addresses become links', () => {
  assert.deepEqual(splitLinks('see https://a.example/x?y=1, or javascript:alert(1)'), [
    { text: 'see ', href: null },
    { text: 'https://a.example/x?y=1', href: 'https://a.example/x?y=1' },
    { text: ', or javascript:alert(1)', href: null },
  ]);
  assert.deepEqual(splitLinks('plain'), [{ text: 'plain', href: null }]);
  assert.deepEqual(splitLinks('https://'), [{ text: 'https://', href: null }]);
});

test('names of files are only names', () => {
  assert.equal(cleanName('..\\..\\evil.exe'), 'evil.exe');
  assert.equal(cleanName('a/b/c.txt'), 'c.txt');
  assert.equal(cleanName('photo\u202egpj.exe'), 'photogpj.exe');
  assert.equal(cleanName(''), 'file');
  assert.equal(cleanName(42), 'file');
  assert.ok(cleanName('x'.repeat(500)).length <= 120);
});

test('figures and initials', () => {
  assert.equal(formatBytes(300_000), '293 KiB');
  assert.equal(formatBytes(64 * 1024 * 1024), '64 MiB');
  assert.equal(formatBitrate(1_500_000), '1.50 Mbit/s');
  assert.equal(initials('Ada King Lovelace'), 'AL');
  assert.equal(initials('李'), '李');
  assert.equal(initials('  '), '?');
  assert.equal(initials('🛶 Grace'), '🛶G');
});

test('durations read as on a clock', () => {
  assert.equal(duration(-5), '0:00');
  assert.equal(duration(59_999), '0:59');
  assert.equal(duration(60_000), '1:00');
  assert.equal(duration(3_847_000), '1:04:07');
});
