// Looks at recorded files with ffmpeg: whether they are whole, and when the clapper of lib/clapper.js is heard and
// seen in them.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { check } from './runner.mjs';

/** Seconds in which a flash fades. */
const FADE_S = 0.5;
const CLAPPER = readFileSync(new URL('./clapper.js', import.meta.url), 'utf8');

/** A script for a page (before its own), which makes its camera and microphone a clapper. */
export function clapper({ width, height }) {
  return `(${CLAPPER.slice(CLAPPER.indexOf('(({'))})(${JSON.stringify({ fade: FADE_S, width, height })})`;
}

/** Whether ffmpeg is here; CI installs it. */
export const haveFfmpeg = () => ['ffmpeg', 'ffprobe'].every((name) => !spawnSync(name, ['-version']).error);

/** Runs a tool of ffmpeg on a file, which must have nothing to complain of, and returns what it printed. */
function tool(name, file, before, after = []) {
  const run = spawnSync(name, ['-v', 'error', ...before, file, ...after], { encoding: 'utf8', maxBuffer: 64 << 20 });
  check(run.status === 0 && run.stderr.trim() === '', `${name} has nothing to say of ${path.basename(file)}`,
    run.error?.message ?? run.stderr);
  return run.stdout;
}

/** Decodes all of a film with ffmpeg; the times of each stream rise. Returns its streams. */
export function decode(file) {
  // The encoder's default time base is one frame of the guessed rate: two frames that are closer than that, as a
  // busy machine sends them, would be one time to it, and it would complain of a legal film.
  tool('ffmpeg', file, ['-i'], ['-enc_time_base:v', '-1', '-f', 'null', '-']);
  const entries = 'packet=stream_index,dts:stream=index,codec_name,codec_type,width,height';
  const { packets, streams } = JSON.parse(tool('ffprobe', file, ['-of', 'json', '-show_entries', entries]));
  const last = new Map();
  for (const packet of packets) {
    const before = last.get(packet.stream_index) ?? -Infinity;
    check(packet.dts > before, `times of stream ${packet.stream_index} rise`, { before, packet });
    last.set(packet.stream_index, packet.dts);
  }
  check(streams.every(({ index }) => last.has(index)), 'every stream has packets', streams);
  return streams;
}

/** A value that a filter leaves with each frame: `[{at, value}]`, `at` in seconds of the film. */
function measured(file, filters, key) {
  const command = ['-v', 'error', '-i', file, ...filters, '-f', 'null', '-'];
  const { status, stdout, stderr } = spawnSync('ffmpeg', command, { encoding: 'utf8', maxBuffer: 64 << 20 });
  // What it says is no matter here: `decode` is the judge, and a filter that cuts frames to pieces makes pieces
  // overlap where the recorder brings sound and picture together.
  check(status === 0, `ffmpeg measures ${path.basename(file)}`, stderr);
  const frames = [];
  let at = 0;
  for (const line of stdout.split('\n')) {
    const time = /^frame:.* pts_time:([-\d.]+)/.exec(line);
    if (time) at = Number(time[1]);
    else if (line.startsWith(`${key}=`)) frames.push({ at, value: Number(line.slice(key.length + 1)) });
  }
  return frames;
}

/** When beeps begin, in seconds of the film. */
export function beeps(file) {
  const key = 'lavfi.astats.Overall.Peak_level';
  const filter = `asetnsamples=n=120:p=0,astats=metadata=1:reset=1,ametadata=print:key=${key}:file=-`;
  const pieces = measured(file, ['-vn', '-af', filter], key);
  // Decibels; a beep is at -6, and silence between two of them is far below.
  const found = [];
  let quiet = false;
  for (const { at, value } of pieces) {
    const loud = value > -20;
    if (loud && quiet && at - (found.at(-1) ?? -1) > 0.3) found.push(at);
    quiet = !loud;
  }
  return found;
}

/** When flashes begin, in seconds of the film: told by each frame of their fading. */
export function flashes(file) {
  const key = 'lavfi.signalstats.YAVG';
  const filter = `signalstats,metadata=print:key=${key}:file=-`;
  const frames = measured(file, ['-an', '-fps_mode', 'passthrough', '-enc_time_base:v', '-1', '-vf', filter], key);
  const darkest = Math.min(...frames.map(({ value }) => value));
  const [black, white] = darkest < 8 ? [0, 255] : [16, 235];
  const found = [];
  let estimates = [];
  let before = Infinity;
  const close = () => {
    if (estimates.length > 2) found.push(median(estimates));
    estimates = [];
  };
  for (const { at, value } of frames) {
    const level = (value - black) / (white - black);
    if (level > before + 0.2) close();
    if (level > 0.1 && level < 0.97 && before !== Infinity) estimates.push(at - FADE_S * (1 - level));
    before = level;
  }
  close();
  return found;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** How much later each flash is heard than seen, in milliseconds; to the nearest beep. */
export function lateness(file) {
  const heard = beeps(file);
  const flashed = flashes(file);
  const nearest = (at) => heard.reduce((best, beep) => (Math.abs(beep - at) < Math.abs(best - at) ? beep : best), Infinity);
  return {
    heard: heard.length,
    flashed: flashed.length,
    late: flashed.map((at) => 1_000 * (nearest(at) - at)).filter((ms) => Number.isFinite(ms)),
  };
}
