// One stream with layers inside, as Chromium makes them: a viewer's picture follows its wishes, and never freezes.

import { inbound, join, outbound, receives } from '../lib/meeting.mjs';
import { Router } from '../lib/router.mjs';
import { check, sleep, until } from '../lib/runner.mjs';

/** Small, since this machine encodes all three; smaller ones Chromium does not split in three. */
const PICTURE = { width: '1024', height: '576', fps: '20', simulcast: '0' };
const HEIGHTS = [144, 288, 576];

/** Runs in a page before its scripts: its camera is sent in this mode, with dependency descriptors. */
const publishes = (mode) => `(() => {
  const add = RTCPeerConnection.prototype.addTransceiver;
  RTCPeerConnection.prototype.addTransceiver = function (track, init) {
    if (track?.kind !== 'video') return add.call(this, track, init);
    const encoding = { scalabilityMode: ${JSON.stringify(mode)}, maxBitrate: 1_500_000 };
    const transceiver = add.call(this, track, { ...init, sendEncodings: [encoding] });
    const all = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
    for (const one of all) if (one.uri.includes('dependency-descriptor')) one.direction = 'sendrecv';
    transceiver.setHeaderExtensionsToNegotiate?.(all);
    return transceiver;
  };
})();`;

/** Runs in a page before its scripts: keeps its signaling connections. */
const WATCHED = `(() => {
  const Native = window.WebSocket;
  window.__sockets = [];
  window.WebSocket = class extends Native {
    constructor(...args) {
      super(...args);
      window.__sockets.push(this);
    }
  };
})();`;

/** Wishes a size and frames a second of every picture that the page receives, in the place of what it wishes itself. */
const wish = (client, height, fps) => client.evaluate(async ([h, rate]) => {
  const socket = window.__sockets.findLast((one) => one.readyState === 1);
  const { subscribe } = await window.rillway.snapshot();
  for (const { track } of subscribe.tracks.filter(({ kind }) => kind === 'video')) {
    socket.send(JSON.stringify({ type: 'wish', track, width: Math.round((h * 16) / 9), height: h, fps: rate }));
  }
}, [height, fps]);

const picture = async (client) => [...(await inbound(client, 'video')).values()][0];

function scalableCase(codec, mode, settle) {
  return {
    name: `scalable: a picture follows wishes, ${codec} ${mode}`,
    timeout: 300_000,
    async run(context) {
      const router = await Router.start(context);
      const search = { ...PICTURE, codec };
      const come = (name, before) =>
        join(context, { engine: 'chromium', name, room: 'layers', url: router.url, search, before });
      const ada = await come('Ada', publishes(mode));
      const grace = await come('Grace', WATCHED);
      await Promise.all([ada, grace].map((client) => receives(client, 1)));
      await until('all of it is sent', async () => {
        await wish(grace, 576, 0);
        return (await picture(grace)).frameHeight === 576;
      }, { timeout: 60_000, describe: async () => ({ in: await picture(grace), out: await outbound(ada) }) });
      const before = await picture(grace);
      const seen = [];
      for (const height of [...HEIGHTS, ...HEIGHTS.toReversed(), 576, 144, 576]) {
        await wish(grace, height, 0);
        await until(`the picture is ${height} high`, async () => (await picture(grace)).frameHeight === height, {
          timeout: settle, describe: () => grace.raw(),
        });
        await sleep(1_500);
        const { frameHeight, framesPerSecond, freezeCount } = await picture(grace);
        seen.push({ frameHeight, framesPerSecond, freezeCount });
        check(frameHeight === height, `the picture stays ${height} high`, seen);
      }
      await wish(grace, 576, 4);
      await until('few frames come', async () => (await picture(grace)).framesPerSecond <= 8, {
        timeout: 10_000, describe: () => grace.raw(),
      });
      await wish(grace, 576, 0);
      await until('all frames come again', async () => (await picture(grace)).framesPerSecond >= 13, {
        timeout: 20_000, describe: () => grace.raw(),
      });
      const after = await picture(grace);
      console.log(`        ${JSON.stringify({ seen, before, after })}`);
      check(after.freezeCount === before.freezeCount, 'nothing froze', { before, after });
      check(after.packetsLost === 0, 'nothing is taken for lost', after);
    },
  };
}

export default [
  scalableCase('VP9', 'L3T3_KEY', 15_000),
  scalableCase('AV1', 'L3T3', 30_000),
];
