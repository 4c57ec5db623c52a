// A web server for films, and a page that plays one of them.

import { createReadStream, statSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const TYPES = { '.mp4': 'video/mp4', '.webm': 'video/webm' };

/** Serves the films below a folder, ranges included, and a page to play them on, until the stage is cleared. */
export function serve(stage, folder) {
  const server = http.createServer((request, response) => {
    const name = path.normalize(decodeURIComponent(new URL(request.url, 'http://x/').pathname));
    const type = TYPES[path.extname(name)];
    if (!type) {
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
      'content-type': type,
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

/** In that page: loads a film, seeks to its middle, plays half a second of it at least, and says how that went. */
export async function play(source) {
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
  const frames = () => video.getVideoPlaybackQuality().totalVideoFrames;
  const end = performance.now() + 10_000;
  while (performance.now() < end && !video.ended && !(video.currentTime > at + 1 && frames() > 10)) {
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  video.pause();
  return {
    duration, middle, at, after: video.currentTime,
    seekable: video.seekable.length > 0 ? video.seekable.end(0) : 0,
    width: video.videoWidth, height: video.videoHeight,
    frames: frames(),
    audioBytes: video.webkitAudioDecodedByteCount,
  };
}
