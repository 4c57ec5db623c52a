// Does this machine have what the other cases need? A call from a page to itself, past the router: when
// this fails, the browsers or the network are at fault and not Rillway.

import http from 'node:http';
import { check, sleep, until } from '../lib/runner.mjs';

function servePage(stage) {
  const server = http.createServer((_, response) => {
    response.setHeader('content-type', 'text/html');
    response.end('<!doctype html><title>environment</title><video autoplay playsinline></video>');
  });
  stage.defer(() => new Promise((done) => {
    server.closeAllConnections();
    server.close(done);
  }));
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}/`));
  });
}

async function callItself() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
  a.onicecandidate = (event) => event.candidate && b.addIceCandidate(event.candidate);
  b.onicecandidate = (event) => event.candidate && a.addIceCandidate(event.candidate);
  b.ontrack = (event) => { document.querySelector('video').srcObject = event.streams[0]; };
  for (const track of stream.getTracks()) a.addTrack(track, stream);
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  const { audio, video } = { audio: stream.getAudioTracks().length, video: stream.getVideoTracks().length };
  return { audio, video, secure: isSecureContext };
}

function loopCase(engine) {
  return {
    name: `environment: ${engine} sends and receives with its fake devices`,
    timeout: 60_000,
    async run({ browsers, stage }) {
      const url = await servePage(stage);
      const client = await browsers.client(engine, `loop-${engine}`);
      stage.defer(() => client.close());
      stage.witness((folder) => client.testify(folder));
      await client.open(url);
      const devices = await client.evaluate(callItself);
      check(devices.audio === 1 && devices.video === 1 && devices.secure, 'fake devices in a secure page', devices);
      const inbound = await until('audio and video received', async () => {
        const raw = await client.raw();
        const streams = raw.connections.flatMap((pc) => pc.inbound);
        const video = streams.find((s) => s.kind === 'video' && s.framesDecoded > 10);
        const audio = streams.find((s) => s.kind === 'audio' && s.totalAudioEnergy > 0);
        return video && audio && { video, audio };
      }, { timeout: 30_000 });
      await sleep(1000);
      const later = (await client.raw()).connections.flatMap((pc) => pc.inbound).find((s) => s.kind === 'video');
      check(later.framesDecoded > inbound.video.framesDecoded, 'frames go on', later);
    },
  };
}

export default [loopCase('chromium'), loopCase('firefox')];
