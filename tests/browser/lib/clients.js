// Runs in a page of the suite's own, bundled by lib/pages.mjs: clients of WHIP and WHEP, each behind
// `window.clients.NAME(url, token)`, which resolves once a session has begun.

import { WebRTCPlayer } from '@eyevinn/webrtc-player';
import { WHIPClient as EyevinnPublisher } from '@eyevinn/whip-web-client';
import { WHEPClient } from 'whip-whep/whep.js';
import { WHIPClient } from 'whip-whep/whip.js';

const video = () => document.querySelector('video');

function capture() {
  return navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360, frameRate: 20 } });
}

/** What a page may see of a response, and its body. */
async function seen(response) {
  return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
}

function headers(type, token, more = {}) {
  return { 'content-type': type, ...(token && { authorization: `Bearer ${token}` }), ...more };
}

/** Offers, and takes the answer: all that a client needs. */
async function begin(pc, url, token) {
  await pc.setLocalDescription();
  const response = await fetch(url, {
    method: 'POST',
    headers: headers('application/sdp', token),
    body: pc.localDescription.sdp,
  });
  const created = await seen(response);
  if (created.status !== 201) return { created };
  const session = new URL(created.headers.location, url).href;
  await pc.setRemoteDescription({ type: 'answer', sdp: created.body });
  window.session = { pc, session, token, etag: created.headers.etag };
  return { created, session };
}

/** Restarts ICE with a fragment in place of a description (RFC 9725 §4.3.3). */
async function restart() {
  const { pc, session, token } = window.session;
  await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
  const line = (name, sdp) => new RegExp(`^a=${name}:(.*)\r?$`, 'm').exec(sdp)[1];
  const offer = pc.localDescription.sdp;
  const fragment = `a=ice-ufrag:${line('ice-ufrag', offer)}\r\na=ice-pwd:${line('ice-pwd', offer)}\r\n`;
  const restarted = await seen(await fetch(session, {
    method: 'PATCH',
    headers: headers('application/trickle-ice-sdpfrag', token, { 'if-match': '*' }),
    body: fragment,
  }));
  if (restarted.status !== 200) return restarted;
  const before = pc.currentRemoteDescription.sdp;
  const sdp = before
    .replaceAll(/^a=ice-ufrag:.*$/gm, `a=ice-ufrag:${line('ice-ufrag', restarted.body)}`)
    .replaceAll(/^a=ice-pwd:.*$/gm, `a=ice-pwd:${line('ice-pwd', restarted.body)}`);
  await pc.setRemoteDescription({ type: 'answer', sdp });
  window.session.etag = restarted.headers.etag;
  return restarted;
}

window.clients = {
  async fetchPublisher(url, token) {
    const media = await capture();
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    for (const track of media.getTracks()) pc.addTransceiver(track, { direction: 'sendonly', streams: [media] });
    return begin(pc, url, token);
  },

  async fetchPlayer(url, token) {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    for (const kind of ['audio', 'video']) pc.addTransceiver(kind, { direction: 'recvonly' });
    pc.ontrack = ({ streams: [stream] }) => { video().srcObject = stream; };
    return begin(pc, url, token);
  },

  restart,

  /** Asks the session for something. */
  async ask(method, more, body) {
    const { session, token } = window.session;
    const type = more?.['content-type'] ?? 'text/plain';
    return seen(await fetch(session, { method, headers: headers(type, token, more), body }));
  },

  async whipWhepPublisher(url, token) {
    const media = await capture();
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    for (const track of media.getTracks()) pc.addTransceiver(track, { direction: 'sendonly', streams: [media] });
    const client = new WHIPClient();
    await client.publish(pc, url, token);
    window.stop = () => client.stop();
    window.restart = () => client.restart();
    return String(client.resourceURL);
  },

  async whipWhepPlayer(url, token) {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.ontrack = ({ streams: [stream] }) => { video().srcObject = stream; };
    const client = new WHEPClient();
    await client.view(pc, url, token);
    window.stop = () => client.stop();
    return String(client.resourceURL);
  },

  async eyevinnPublisher(url, token) {
    const client = new EyevinnPublisher({ endpoint: url, opts: { authkey: token, iceServers: [] } });
    if (token) await client.setIceServersFromEndpoint();
    await client.ingest(await capture());
    window.stop = () => client.destroy();
    return client.getResourceUrl();
  },

  async eyevinnPlayer(url, token) {
    const player = new WebRTCPlayer({ video: video(), type: 'whep', iceServers: [] });
    await player.load(new URL(url), token && `Bearer ${token}`);
    window.stop = () => player.unload();
    return url;
  },
};
