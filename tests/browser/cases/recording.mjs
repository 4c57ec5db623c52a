// A call is recorded from the page, and what was recorded plays in a browser.

import { spawnSync } from 'node:child_process';
import { createReadStream, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';

import { join, receives } from '../lib/meeting.mjs';
import { Router, total } from '../lib/router.mjs';
import { check, sleep, until } from '../lib/runner.mjs';

const RECORDED_SECONDS = 8;

/** Serves a folder's files and a page with one of them until the stage is cleared, ranges included. */
async function serve(stage, folder) {
  const server = http.createServer((request, response) => {
    const name = path.basename(decodeURIComponent(new URL(request.url, 'http://x/').pathname));
    if (!name.endsWith('.mp4')) {
      response.writeHead(200, { 'content-type': 'text/html' });
      response.end('<!doctype html><meta charset="utf-8"><title>player</title><video muted></video>');
      return;
    }
    const file = path.join(folder, name);
    const size = statSync(file).size;
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const start = range ? Number(range[1]) : 0;
    const end = range?.[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
    response.writeHead(range ? 206 : 200, {
      'content-type': 'video/mp4',
      'accept-ranges': 'bytes',
      'content-length': end - start + 1,
      ...(range ? { 'content-range': `bytes ${start}-${end}/${size}` } : {}),
    });
    createReadStream(file, { start, end }).pipe(response);
  });
  stage.defer(() => new Promise((done) => {
    server.closeAllConnections();
    server.close(done);
  }));
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}/`));
  });
}

/** In the page: loads a film, seeks to its middle, plays a second of it, and says how that went. */
async function play(source) {
  const video = document.querySelector('video');
  const event = (name) => new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name} within 10 s`)), 10_000);
    video.addEventListener(name, () => { clearTimeout(timer); resolve(); }, { once: true });
    video.addEventListener('error', () => reject(new Error(video.error?.message ?? 'error')), { once: true });
  });
  const loaded = event('loadeddata');
  video.src = source;
  await loaded;
  const { duration } = video;
  const middle = duration / 2;
  const seeked = event('seeked');
  video.currentTime = middle;
  await seeked;
  const at = video.currentTime;
  await video.play();
  await new Promise((resolve) => { setTimeout(resolve, 1_500); });
  video.pause();
  return {
    duration, middle, at, after: video.currentTime,
    seekable: video.seekable.length > 0 ? video.seekable.end(0) : 0,
    width: video.videoWidth, height: video.videoHeight,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    audioBytes: video.webkitAudioDecodedByteCount,
  };
}

/** Whether the page shows that the meeting is recorded, and what it says of that. */
const sign = (client) => client.evaluate(() => {
  const element = document.getElementById('recording');
  return element === null || element.hidden ? null : element.textContent.trim();
});

/** Runs a tool of ffmpeg and says what it printed; `null` where there is none. */
function tool(name, file, before, after = []) {
  const run = spawnSync(name, ['-v', 'error', ...before, file, ...after], { encoding: 'utf8', maxBuffer: 64 << 20 });
  if (run.error?.code === 'ENOENT') {
    console.log(`  note  ${path.basename(file)} is not looked at with ${name} (Debian package ffmpeg)`);
    return null;
  }
  check(run.status === 0 && run.stderr.trim() === '', `${name} has nothing to say of ${path.basename(file)}`, run.stderr);
  return run.stdout;
}

/** Decodes all of a film with ffmpeg, where there is one; the times of each stream rise. */
function decode(file) {
  // The encoder's default time base is one frame of the guessed rate: two frames that are closer than that, as a
  // busy machine sends them, would be one time to it, and it would complain of a legal film.
  tool('ffmpeg', file, ['-i'], ['-enc_time_base:v', '-1', '-f', 'null', '-']);
  const packets = tool('ffprobe', file, ['-of', 'json', '-show_entries', 'packet=stream_index,dts']);
  if (packets === null) return;
  const last = new Map();
  for (const packet of JSON.parse(packets).packets) {
    const before = last.get(packet.stream_index) ?? -Infinity;
    check(packet.dts > before, `times of stream ${packet.stream_index} rise`, { before, packet });
    last.set(packet.stream_index, packet.dts);
  }
  check(last.size > 0, `${path.basename(file)} has packets`);
}

function recordingCase(codec) {
  return {
    name: `recording: a call of two is recorded by the button and plays (${codec})`,
    timeout: 180_000,
    async run(context) {
      const folder = mkdtempSync(path.join(os.tmpdir(), 'rillway-recorded-'));
      context.stage.defer(() => rmSync(folder, { recursive: true, force: true }));
      const extra = `[recording]\ndirectory = "${path.join(folder, 'recordings')}"\nfree_bytes_min = 1_048_576\n`;
      const router = await Router.start(context, { extra });
      const search = { width: '640', height: '360', fps: '20', codec };
      const enter = (name) => join(context, { engine: 'chromium', name, room: 'standup', url: router.url, search });
      const ada = await enter('Ada');
      const grace = await enter('Grace');
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

      const room = path.join(folder, 'recordings', 'standup');
      const films = readdirSync(room).filter((name) => name.endsWith('.mp4'));
      check(films.length === 2, 'a file for each of the two', readdirSync(room));
      const url = await serve(context.stage, room);
      const viewer = await context.browsers.client('chromium', 'viewer');
      context.stage.defer(() => viewer.close());
      await viewer.open(url);
      for (const film of films) {
        decode(path.join(room, film));
        const seen = await viewer.evaluate(play, `${url}${encodeURIComponent(film)}`);
        console.log(`        ${film} ${JSON.stringify(seen)}`);
        check(Math.abs(seen.duration - RECORDED_SECONDS) < 4, 'it is as long as it was recorded', seen);
        check(seen.seekable >= seen.duration - 0.5 && Math.abs(seen.at - seen.middle) < 0.5, 'it seeks', seen);
        check(seen.after > seen.at + 0.5, 'it plays on from there', seen);
        // A browser that has little of the processor sends a smaller picture.
        check(seen.width >= 160 && seen.width * 9 === seen.height * 16 && seen.frames > 10, 'it has pictures', seen);
        check(seen.audioBytes > 0, 'it has sound', seen);
      }
      const samples = await router.metrics();
      check(total(samples, 'rillway_recorder_dropped_packets_total') === 0, 'nothing was left out');
    },
  };
}

export default [recordingCase('VP8'), recordingCase('VP9')];
