import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Direct } from '../../router/src/gateway/page/direct.js';

/** A connection to the other one, of which the test says what arrives. */
class FakeConnection extends EventTarget {
  static all = [];
  connectionState = 'new';
  remoteDescription = null;
  localDescription = { sdp: 'v=0' };
  arrived = 0;
  transceivers = [];
  candidates = [];
  looks = 0;

  constructor() {
    super();
    FakeConnection.all.push(this);
  }

  createDataChannel(label) {
    return { label, readyState: 'connecting', send() {} };
  }

  addTransceiver(kind) {
    const sender = { track: null, replaceTrack: async (track) => { sender.track = track; } };
    const transceiver = { sender, mid: String(this.transceivers.length), receiver: { track: { id: `${kind}${this.transceivers.length}` } } };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  async setLocalDescription() {}

  async setRemoteDescription(description) {
    this.remoteDescription = description;
  }

  async addIceCandidate(candidate) {
    this.candidates.push(candidate);
  }

  async getStats() {
    this.looks += 1;
    const stats = this.transceivers.map(({ mid }, index) => ({
      id: mid, type: 'inbound-rtp', mid, kind: index === 0 ? 'audio' : 'video', packetsReceived: this.arrived, framesDecoded: this.arrived,
    }));
    return new Map(stats.map((one) => [one.id, one]));
  }

  become(state) {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  close() {
    this.connectionState = 'closed';
  }
}

const TRACKS = [
  { id: 'a', participant: '2', kind: 'audio', source: 'microphone', muted: false },
  { id: 'b', participant: '2', kind: 'video', source: 'camera', muted: false },
  { id: 'c', participant: '2', kind: 'video', source: 'screen', muted: true },
  { id: 'd', participant: '3', kind: 'video', source: 'camera', muted: false },
];

function setUp() {
  const sent = [];
  const pauses = [];
  const router = { arrived: 7 };
  const direct = new Direct({
    signal: { notify: (type, members) => sent.push({ type, ...members }) },
    iceServers: () => [],
    maxBps: () => null,
    sending: (source) => (source === 'camera' ? { id: 'mine' } : null),
    tracks: () => TRACKS,
    arrivedByRouter: async (tracks) => tracks.map(() => router.arrived),
    pause: (paused) => pauses.push(paused),
    channels: { listen() {}, divert() {} },
    me: () => '1',
  });
  const told = (path) => sent.filter((one) => one.type === 'direct-path' && one.path === path).length;
  return { direct, sent, pauses, router, told };
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, probe) {
  for (let i = 0; i < 200; i += 1) {
    if (probe()) return;
    await sleep(10);
  }
  assert.fail(`not: ${what}`);
}

/** A call that has moved to the direct connection, here and there. */
async function moved() {
  const all = setUp();
  const { direct, told } = all;
  direct.receive({ type: 'direct', call: 4, participant: '2', offer: true });
  const connection = FakeConnection.all.at(-1);
  await until('an offer', () => all.sent.some(({ type, kind }) => type === 'direct-description' && kind === 'offer'));
  connection.become('connected');
  connection.arrived = 1;
  await until('direct', () => told('direct') === 1);
  direct.receive({ type: 'direct-path', call: 4, path: 'direct' });
  return { ...all, connection };
}

beforeEach(() => {
  globalThis.RTCPeerConnection = FakeConnection;
  console.info = () => {};
});

test('what is shown moves once everything arrives directly, and is told later', async () => {
  const { direct, sent, pauses, told } = setUp();
  direct.receive({ type: 'direct', call: 4, participant: '2', offer: true });
  const connection = FakeConnection.all.at(-1);
  await until('sections', () => connection.transceivers.length === 4);
  connection.become('connected');
  await sleep(250);
  assert.equal(direct.path, 'router', 'nothing has arrived');
  connection.arrived = 1;
  await until('direct', () => direct.path === 'direct');
  assert.equal(told('direct'), 0, 'elements start to play first');
  assert.equal(direct.sectionOf(TRACKS[1]).receiver.track.id, 'video1');
  assert.equal(direct.sectionOf(TRACKS[3]), null, 'somebody else comes through the router');
  assert.equal(connection.transceivers[1].sender.track.id, 'mine');
  await until('told', () => told('direct') === 1);
  assert.deepEqual(pauses, [], 'the other one does not take it yet');
  direct.receive({ type: 'direct-path', call: 4, path: 'direct' });
  assert.deepEqual(pauses, [true]);
  assert.deepEqual(sent.at(-1), { type: 'direct-path', call: 4, path: 'direct' });
  direct.drop();
  assert.deepEqual(pauses, [true, false]);
});

test('the other one is told only when what comes the new way is shown', async () => {
  const { direct, told } = setUp();
  let shown = false;
  direct.shown = () => shown;
  direct.receive({ type: 'direct', call: 4, participant: '2', offer: true });
  const connection = FakeConnection.all.at(-1);
  await until('sections', () => connection.transceivers.length === 4);
  connection.become('connected');
  connection.arrived = 1;
  await until('direct', () => direct.path === 'direct');
  await sleep(600);
  assert.equal(told('direct'), 0, 'pictures of before are still shown');
  shown = true;
  await until('told', () => told('direct') === 1);
  direct.drop();
});

test('the connection is looked at seldom while the call stays there', async () => {
  const { direct, connection, told } = await moved();
  const timer = setInterval(() => { connection.arrived += 1; }, 20);
  await sleep(300);
  const before = connection.looks;
  await sleep(2_100);
  clearInterval(timer);
  assert.ok(connection.looks - before <= 3, `${connection.looks - before} looks in two seconds`);
  assert.equal(told('failed'), 0);
  await sleep(4_000);
  assert.equal(told('failed'), 1, 'nothing came any more');
  direct.drop();
});

test('the direct connection is left only when both take the router', async () => {
  const { direct, pauses, router, told, connection } = await moved();
  direct.receive({ type: 'direct-end', call: 4, reason: 'company' });
  assert.deepEqual(pauses, [true, false], 'sends to the router again at once');
  await sleep(300);
  assert.equal(direct.path, 'direct', 'nothing comes through the router yet');
  router.arrived += 1;
  await until('router', () => direct.path === 'router');
  await until('told', () => told('router') === 1);
  assert.equal(connection.connectionState, 'connected', 'the other one may need it still');
  direct.receive({ type: 'direct-path', call: 4, path: 'router' });
  assert.equal(connection.connectionState, 'closed');
});

test('a connection that breaks is given up, and the router gets media again', async () => {
  const { direct, pauses, told, connection } = await moved();
  connection.become('disconnected');
  assert.equal(told('failed'), 1);
  assert.deepEqual(pauses, [true, false]);
  direct.drop();
});

test('whoever is left alone closes it', async () => {
  const { direct, connection } = await moved();
  direct.gone('3');
  assert.equal(direct.path, 'direct');
  direct.gone('2');
  assert.equal(connection.connectionState, 'closed');
  assert.equal(direct.path, 'router');
});

test('candidates that come early wait, and those of another call are none of it', async () => {
  const { direct } = setUp();
  direct.receive({ type: 'direct', call: 5, participant: '2', offer: true });
  const connection = FakeConnection.all.at(-1);
  direct.receive({ type: 'direct-candidate', call: 5, candidate: 'candidate:1', mid: '0' });
  direct.receive({ type: 'direct-candidate', call: 4, candidate: 'candidate:2', mid: '0' });
  await sleep(20);
  assert.deepEqual(connection.candidates, []);
  direct.receive({ type: 'direct-description', call: 5, kind: 'answer', sdp: 'v=0' });
  await until('a candidate', () => connection.candidates.length === 1);
  assert.deepEqual(connection.candidates, [{ candidate: 'candidate:1', sdpMid: '0' }]);
  direct.drop();
});
