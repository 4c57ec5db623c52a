// Three people in one room, in both orders of joining.

import path from 'node:path';
import { inbound, join, nothingLost, outbound, receives, settledUploadRate, watch } from '../lib/meeting.mjs';
import { Router, total } from '../lib/router.mjs';
import { check } from '../lib/runner.mjs';

const WATCH_SECONDS = 20;
// Six encodings and six decoders share two cores with the router here: leave it some.
const MODEST = { width: '640', height: '360', fps: '20' };

/** Each publisher uploads once, however many receive: one connection, the same streams, the same rate. */
function checkUpload(name, alone, shared) {
  const both = { withOneSubscriber: alone, withTwo: shared };
  check(alone.connections === 1 && shared.connections === 1, `${name} publishes over one connection`, both);
  check(alone.streams === shared.streams, `${name} sends the same streams to two as to one`, both);
  check(alone.rate > 20_000, `${name} sends something worth comparing`, both);
  check(shared.rate < 1.5 * alone.rate, `${name} uploads more because somebody joined`, both);
}

/** What everybody receives against what everybody sends, in bytes, over the life of the streams. */
async function receivedPerSent(clients, during) {
  const sum = async () => {
    let sent = 0;
    let received = 0;
    for (const client of clients) {
      sent += (await outbound(client)).bytes;
      for (const kind of ['video', 'audio']) {
        for (const stream of (await inbound(client, kind)).values()) received += stream.bytesReceived ?? 0;
      }
    }
    return { sent, received };
  };
  const before = await sum();
  await during();
  const after = await sum();
  return (after.received - before.received) / (after.sent - before.sent);
}

async function checkDriver(router, driver) {
  if (driver === 'auto') return;
  const samples = await router.metrics();
  const chosen = [...samples].filter(([key, value]) => /driver="/.test(key) && value > 0);
  check(chosen.length > 0, 'a metric names the driver', [...samples.keys()]);
  check(chosen.every(([key]) => key.includes(`driver="${driver}"`)), `the ${driver} driver is in use`, chosen);
  check(new RegExp(`\\b${driver}\\b`).test(router.log), `the log names the ${driver} driver`, router.log);
}

/** `set`: the only set it belongs to, if not to all that name this file. */
function meetingCase(order, search, title, set) {
  return {
    name: `meeting: ${order.join(', ')}${title}`,
    set,
    timeout: 240_000,
    async run(context) {
      const router = await Router.start(context);
      const names = ['Ada', 'Grace', 'Edith'];
      const clients = [];
      const enter = async (i) => {
        clients.push(await join(context, {
          engine: order[i], name: names[i], room: 'standup', url: router.url, search,
        }));
      };
      await enter(0);
      await enter(1);
      await Promise.all(clients.map((client) => receives(client, 1)));
      const alone = await Promise.all(clients.map((client) => settledUploadRate(client)));
      await enter(2);
      await Promise.all(clients.map((client) => receives(client, 2)));
      const shared = await Promise.all(clients.slice(0, 2).map((client) => settledUploadRate(client)));
      shared.forEach((rate, i) => checkUpload(names[i], alone[i], rate));

      let table;
      const ratio = await receivedPerSent(clients, async () => {
        table = await watch(clients, { seconds: WATCH_SECONDS, videos: 2 });
      });
      console.log(`        ${JSON.stringify({ alone, shared, ratio, table })}`);
      // Without simulcast all that is sent goes to two people: the router multiplies, the clients do not.
      if (search.simulcast === '0') check(ratio > 1.7 && ratio < 2.3, 'everybody gets what two others send', ratio);
      await nothingLost(clients);
      for (const client of clients) {
        const snapshot = await client.snapshot();
        check(snapshot.participants.length === 2, `${client.name} sees two others`, snapshot);
        check(client.errors.length === 0, `${client.name}: errors on the page`, client.errors);
        await client.screenshot(path.join(context.folder, `${client.name}.png`));
      }
      await checkDriver(router, context.driver);
      check(total(await router.metrics(), 'rillway_build_info') >= 0, 'metrics');
    },
  };
}

export default [
  meetingCase(['chromium', 'firefox', 'chromium'], MODEST, ''),
  // What they send, and in which order they come, is the same to every driver.
  meetingCase(['firefox', 'chromium', 'chromium'], { ...MODEST, simulcast: '0' }, ', without simulcast', 'full'),
];
