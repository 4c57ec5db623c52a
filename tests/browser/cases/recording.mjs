// Calls are recorded, and what was recorded is whole, in step, and plays in a browser.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { clapper, decode, haveFfmpeg, lateness, median } from '../lib/films.mjs';
import { enter, join, receives } from '../lib/meeting.mjs';
import { play, serve } from '../lib/player.mjs';
import { Router, total } from '../lib/router.mjs';
import { check, skip, sleep, until } from '../lib/runner.mjs';

const RECORDED_SECONDS = 8;
/** The clapper's picture: small, so that a busy machine encodes AV1 too. */
const PICTURE = { width: 320, height: 180 };
/** What is waited for; the film begins before the first and may lose some at its ends. */
const CLAPS = 8;
const CLAPS_MIN = 5;
/** Sound and picture, at most so far apart: milliseconds, median of all claps of a browser. */
const APART_MS = 40;
/** The same of the claps of one film: ten claps, and what that browser's own stack had queued by chance. */
const APART_IN_A_FILM_MS = 80;

/** A router that records into a folder; `more` of its table, or tables. */
function recordingRouter(context, folder, more = '') {
  const keys = `directory = "${folder}"\nfree_bytes_min = 1_048_576\n`;
  return Router.start(context, { extra: `[recording]\n${keys}${more}` });
}

function temporary(stage) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'rillway-recorded-'));
  stage.defer(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A window of Chromium that plays the films below a folder. */
async function cinema(context, folder) {
  const url = await serve(context.stage, folder);
  const viewer = await context.browsers.client('chromium', 'viewer');
  context.stage.defer(() => viewer.close());
  await viewer.open(url);
  return (file) => viewer.evaluate(play, new URL(path.relative(folder, file), url).href);
}

/** What `play` saw is a film of pictures and sound that seeks. */
function checkPlayed(seen) {
  check(seen.seekable >= seen.duration - 0.5 && Math.abs(seen.at - seen.middle) < 0.5, 'it seeks', seen);
  check(seen.after > seen.at + 0.5, 'it plays on from there', seen);
  // A browser that has little of the processor sends a smaller picture.
  check(seen.width >= 80 && Math.abs(seen.width * 9 - seen.height * 16) <= 32, 'it has the picture\'s shape', seen);
  check(seen.frames > 5, 'it has pictures', seen);
  check(seen.audioBytes > 0, 'it has sound', seen);
}

/** Whether the page shows that the meeting is recorded, and what it says of that. */
const sign = (client) => client.evaluate(() => {
  const element = document.getElementById('recording');
  return element === null || element.hidden ? null : element.textContent.trim();
});

async function byButton(context) {
  const folder = path.join(temporary(context.stage), 'recordings');
  const router = await recordingRouter(context, folder);
  const search = { width: '640', height: '360', fps: '20', codec: 'VP8' };
  const come = (name) => join(context, { engine: 'chromium', name, room: 'standup', url: router.url, search });
  const ada = await come('Ada');
  const grace = await come('Grace');
  await Promise.all([ada, grace].map((client) => receives(client, 1)));
  check(await sign(ada) === null, 'nothing is shown before');

  await ada.evaluate(() => document.getElementById('control-record').click());
  for (const client of [ada, grace]) {
    const text = await until(`${client.name} sees that the call is recorded`, () => sign(client));
    check(/^Recording .*asked for by/.test(text), 'who is recorded and who asked for it is said', text);
  }
  await sleep(RECORDED_SECONDS * 1_000);
  await ada.evaluate(() => document.getElementById('control-record').click());
  for (const client of [ada, grace]) {
    await until(`${client.name} sees that it is over`, async () => (await sign(client)) === null);
  }
  const finished = async () => total(await router.metrics(), 'rillway_recorder_files_total', 'result="finished"');
  await until('both files are complete', async () => (await finished()) === 2, { describe: finished });

  const room = path.join(folder, 'standup');
  const films = readdirSync(room).filter((name) => name.endsWith('.mp4'));
  check(films.length === 2, 'a file for each of the two', readdirSync(room));
  const show = await cinema(context, room);
  for (const film of films) {
    if (haveFfmpeg()) decode(path.join(room, film));
    else console.log(`  note  ${film} is not decoded by ffmpeg (Debian package ffmpeg)`);
    const seen = await show(path.join(room, film));
    console.log(`        ${film} ${JSON.stringify(seen)}`);
    check(Math.abs(seen.duration - RECORDED_SECONDS) < 4, 'it is as long as it was recorded', seen);
    checkPlayed(seen);
  }
  const samples = await router.metrics();
  check(total(samples, 'rillway_recorder_dropped_packets_total') === 0, 'nothing was left out');
}

/** Whether a browser encodes a codec. */
const sends = (client, codec) => client.evaluate((name) => RTCRtpSender.getCapabilities('video').codecs
  .some(({ mimeType }) => mimeType.toLowerCase() === `video/${name.toLowerCase()}`), codec);

/** The sidecar of a room, once the room has closed and all its files are complete. */
function sidecar(folder, room) {
  const read = () => readdirSync(path.join(folder, room)).filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(path.join(folder, room, name), 'utf8')))[0];
  return until(`the recording of ${room} is complete`, () => {
    const all = read();
    return all?.ended ? all : null;
  }, { describe: read });
}

/** The clappers of those who can send `codec` meet in a room; the films of each, by the room's sidecar. */
async function clapTogether({ clients, router, folder }, codec) {
  const room = codec.toLowerCase();
  const search = { ...PICTURE, fps: '30', simulcast: '0', codec };
  const present = [];
  for (const client of clients) {
    if (!await sends(client, codec)) {
      console.log(`  note  this ${client.engine} cannot send ${codec}: nothing of it is recorded`);
      continue;
    }
    await enter(client, { name: client.name, room, url: router.url, search });
    present.push(client);
  }
  if (present.length === 0) return [];
  if (present.length > 1) await Promise.all(present.map((client) => receives(client, present.length - 1)));
  const people = [];
  for (const client of present) {
    const claps = () => client.evaluate(() => window.clapper.claps());
    const before = await claps();
    people.push({ client, id: Number(`0x${(await client.snapshot()).me.id}`), claps, before });
  }
  for (const { client, claps, before } of people) {
    await until(`${client.name} has clapped`, async () => (await claps()) >= before + CLAPS, { timeout: 60_000 });
  }
  for (const person of people) person.delays = await person.client.evaluate(() => window.clapper.delays());
  for (const client of present) await client.open(new URL('healthz', router.url).href);
  const { tracks, files } = await sidecar(folder, room);
  return people.flatMap(({ client, id, delays }) => {
    const own = tracks.filter((track) => track.participant === id).map((track) => track.id);
    const films = files.filter((file) => file.of.some((track) => own.includes(track)));
    check(films.length > 0, `there is a film of ${client.name}`, files);
    return films.map((film) => ({ client, codec, film, delays, file: path.join(folder, film.name) }));
  });
}

/** Looks at one film and prints how it is. How late its beeps are; `null` where it ended before its video came. */
async function inspect({ client, codec, film, delays, file }, show) {
  check(film.state === 'finished' && film.tracks.every((track) => track.gaps.length === 0), 'it is whole', film);
  const video = film.tracks.find((track) => track.codec !== 'opus');
  const streams = decode(file);
  // The video's first keyframe may take a busy browser longer than a film waits for it.
  if (!video) return null;
  check(video.codec === codec, `it is coded in ${codec}`, film);
  const coded = streams.map((stream) => stream.codec_name).sort();
  check(coded.join() === [codec.toLowerCase(), 'opus'].sort().join(), 'ffprobe sees both streams', streams);
  const seen = await show(file);
  checkPlayed(seen);
  const { heard, flashed, late } = lateness(file);
  // What was late in the page's own track is none of the recorder's.
  const own = delays.length > 0 ? median(delays) : 0;
  const offset = median(late) - own;
  const list = late.map((ms) => ms.toFixed(0)).join(' ');
  console.log(`        ${codec} of ${client.engine} in ${film.container}: ${seen.duration.toFixed(1)} s, `
    + `${seen.width}×${seen.height}, ${video.frames} frames; sound after picture: ${offset.toFixed(0)} ms `
    + `beside the page's own ${own.toFixed(0)} (${list})`);
  check(late.length >= CLAPS_MIN, 'claps are heard and seen', { heard, flashed, late });
  check(Math.abs(offset) <= APART_IN_A_FILM_MS, `sound and picture are within ${APART_IN_A_FILM_MS} ms`,
    { heard, flashed, late });
  return late.map((ms) => ms - own);
}

async function claps(context) {
  if (!haveFfmpeg()) skip('no ffmpeg (Debian package ffmpeg)');
  const { stage } = context;
  const recordings = temporary(stage);
  const before = clapper(PICTURE);
  const clients = [];
  for (const engine of ['chromium', 'firefox']) {
    const client = await context.browsers.client(engine, engine);
    stage.defer(() => client.close());
    stage.witness((folder) => client.testify(folder));
    await client.before(before);
    clients.push(client);
  }
  const films = [];
  for (const [container, codecs] of [['mp4', ['VP9', 'AV1', 'H264']], ['webm', ['VP8', 'VP9', 'AV1']]]) {
    const plugin = `[plugins.record-all.config.files]\ncontainer = "${container}"\n`;
    const folder = path.join(recordings, container);
    const router = await recordingRouter(context, folder, `policy = "record-all"\n${plugin}`);
    for (const client of clients) await client.open(new URL('healthz', router.url).href);
    for (const codec of codecs) films.push(...await clapTogether({ clients, router, folder }, codec));
    check(total(await router.metrics(), 'rillway_recorder_dropped_packets_total') === 0, 'nothing was left out');
    await router.end('SIGTERM');
  }
  const show = await cinema(context, recordings);
  const late = { chromium: [], firefox: [] };
  const looked = new Set();
  const label = ({ client, codec, film }) => `${client.engine} ${codec} ${film.container}`;
  for (const film of films) {
    const seen = await inspect(film, show);
    if (!seen) continue;
    looked.add(label(film));
    late[film.client.engine].push(...seen);
  }
  const wanted = new Set(films.map(label));
  check(looked.size === wanted.size, 'each has a film with picture and sound', [...wanted]);
  for (const [engine, all] of Object.entries(late)) {
    const offset = median(all);
    console.log(`        sound after picture, ${all.length} claps of ${engine}: ${offset.toFixed(1)} ms`);
    check(Math.abs(offset) <= APART_MS, `sound and picture of ${engine} are within ${APART_MS} ms`, all);
  }
  for (const codec of ['VP8', 'VP9', 'AV1']) {
    check(films.some((film) => film.codec === codec), `a browser sends ${codec}`);
  }
}

export default [
  { name: 'recording: a call of two is recorded by the button and plays', timeout: 180_000, run: byButton },
  { name: 'recording: clappers of two browsers, every codec: whole, in step, and playing', timeout: 400_000, run: claps },
];
