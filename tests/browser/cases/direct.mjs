// Calls of two that go past the router, and come back to it without a gap.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { join, receives } from '../lib/meeting.mjs';
import { Router, total } from '../lib/router.mjs';
import { check, sleep, until } from '../lib/runner.mjs';

// Small, so that a busy machine neither lacks the time nor the network.
const SMALL = { width: '160', height: '90', fps: '20', simulcast: '0' };
const DIRECT = '[plugins.signaling-rooms.config]\ndirect = "two"\n';
const FRAMES = readFileSync(new URL('../lib/frames.js', import.meta.url), 'utf8');
/** Between two frames, when a call moves: milliseconds. */
const GAP_MS = 300;
/** Visits of a third. */
const ROUNDS = 3;
/** Of these, without a gap. */
const EVEN = 2;
/** How long the router has to carry nothing. */
const SILENT_SECONDS = 6;

async function start(context, people, { extra = '', before = '' } = {}) {
  const router = await Router.start(context, { extra: DIRECT + extra });
  const clients = [];
  for (const [engine, name] of people) {
    clients.push(await come(context, router, engine, name, before));
  }
  return { router, clients };
}

function come(context, router, engine, name, before = '') {
  return join(context, { engine, name, room: 'pair', url: router.url, search: SMALL, before: FRAMES + before });
}

/** Waits until each of the clients takes one way, and sends by it alone. */
async function take(clients, way) {
  for (const client of clients) {
    await until(`${client.name} is on the way: ${way}`, async () => {
      const { path: taken, paused } = await client.snapshot();
      return taken === way && paused === (way === 'direct');
    }, { timeout: 20_000, describe: () => client.raw() });
  }
}

const idOf = async (client) => (await client.snapshot()).me.id;

/** What the page says about the way. */
const sign = (client) => client.evaluate(() => {
  const element = document.getElementById('path');
  return element.hidden ? null : element.textContent;
});

/** Begins to watch what each of two sees of the other. */
async function observe([one, other]) {
  const ids = [await idOf(one), await idOf(other)];
  await one.evaluate((id) => window.frames_.watch(id), ids[1]);
  await other.evaluate((id) => window.frames_.watch(id), ids[0]);
  return async (what) => {
    const seen = [
      await one.evaluate((id) => window.frames_.seen(id), ids[1]), await other.evaluate((id) => window.frames_.seen(id), ids[0]),
    ];
    console.log(`        ${what}: ${seen.map((s) => `${s.frames} frames, longest gap ${s.gapMs} ms, none told for ${s.stallMs} ms`).join('; ')}`);
    return seen;
  };
}

/** Whether nothing stood still for longer than it may; there is sound at any time in any case. */
function smooth(what, seen) {
  for (const one of seen) check(one.frames > 10 && one.fewest >= 1, `${what}: there are pictures, and sound at any time`, seen);
  return seen.every(({ gapMs }) => gapMs <= GAP_MS);
}

/** What the router carries meanwhile, once it has counted what came before. */
async function carried(router, seconds) {
  await sleep(2_200); // workers flush their counters once a second
  const before = await router.metrics();
  await sleep(seconds * 1_000);
  const after = await router.metrics();
  const rose = (name) => total(after, name) - total(before, name);
  return {
    received: rose('rillway_rtp_received_bytes_total'), forwarded: rose('rillway_rtp_forwarded_bytes_total'),
    data: rose('rillway_data_messages_forwarded_total'),
    packets: rose('rillway_rtp_received_packets_total') + rose('rillway_rtp_forwarded_packets_total'),
  };
}

/** Somebody who has the page open and its camera on, and only has to click: to start that is work of this machine's own. */
async function guest(context, router, name) {
  const client = await context.browsers.client('chromium', name.toLowerCase());
  context.stage.defer(() => client.close());
  context.stage.witness((folder) => client.testify(folder));
  await client.open(`${router.url}?${new URLSearchParams({ room: 'pair', name, ...SMALL })}`);
  await until(`${name} sees itself before joining`, () => client.evaluate(() => (
    window.__probe.pictures().length > 0 && !document.getElementById('join-button').disabled)));
  return client;
}

/** A third comes and goes. Whether neither was a gap. */
async function visit(context, router, pair, round) {
  const edith = await guest(context, router, `Edith${round}`);
  const joining = await observe(pair);
  await edith.evaluate(() => document.getElementById('join-button').click());
  await Promise.all([...pair, edith].map((client) => receives(client, 2)));
  await take(pair, 'router');
  const came = smooth(`visit ${round}, a third joins`, await joining('a third joins'));
  for (const client of pair) check(await sign(client) === 'Through the server', 'the page says so', await sign(client));
  const leaving = await observe(pair);
  await edith.evaluate(() => window.rillway.leave());
  await take(pair, 'direct');
  await Promise.all(pair.map((client) => receives(client, 1)));
  const went = smooth(`visit ${round}, it leaves`, await leaving('it leaves'));
  check(edith.errors.length === 0, `${edith.name}: errors`, edith.errors);
  await edith.close();
  return came && went;
}

/** Two are direct, a third comes and goes. */
async function third(context) {
  const { router, clients: pair } = await start(context, [['chromium', 'Ada'], ['chromium', 'Grace']]);
  await take(pair, 'direct');
  const direct = await observe(pair);
  const sum = await carried(router, SILENT_SECONDS);
  const seen = await direct(`direct for ${SILENT_SECONDS} s, ${sum.received} bytes through the router`);
  smooth('direct', seen);
  check(seen.every(({ most }) => most === 1), 'one sound', seen);
  check(sum.packets === 0 && sum.received === 0 && sum.forwarded === 0, 'no media goes through the router', sum);
  for (const client of pair) check(await sign(client) === 'Direct', 'the page says so', await sign(client));

  // On a machine that is busy the router has been seen to hold a picture back in one visit, for want of an estimate.
  let even = 0;
  for (let round = 1; round <= ROUNDS; round += 1) even += Number(await visit(context, router, pair, round));
  check(even >= EVEN, `no two frames are more than ${GAP_MS} ms apart in ${EVEN} of ${ROUNDS} visits`, even);
  for (const client of pair) check(client.errors.length === 0, `${client.name}: errors`, client.errors);
}

/** Each says something all the time. The function stops them, and checks that the other one heard all of it, in order. */
async function talk(pair) {
  for (const client of pair) {
    await client.evaluate((name) => {
      window.said = [];
      window.talking = setInterval(() => {
        const text = `${name} ${window.said.length}`;
        if (window.rillway.sendChat(text) === null) window.said.push(text);
      }, 200);
    }, client.name);
  }
  return async () => {
    for (const client of pair) await client.evaluate(() => clearInterval(window.talking));
    for (const [one, other] of [pair, [...pair].reverse()]) {
      const said = await one.evaluate(() => window.said);
      const heard = async () => (await other.snapshot()).chat.map(({ text }) => text).filter((text) => text.startsWith(`${one.name} `));
      await until(`${other.name} has heard all ${said.length} lines of ${one.name}, in order and once`, async () => (
        JSON.stringify(await heard()) === JSON.stringify(said)
      ), { timeout: 10_000, describe: async () => ({ said, heard: await heard() }) });
      console.log(`        ${other.name} has heard ${said.length} lines of ${one.name}`);
    }
  };
}

/** Both browsers: what is switched off and on, what is lost, and what is to be recorded. */
async function changes(context) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'rillway-direct-'));
  context.stage.defer(() => rmSync(folder, { recursive: true, force: true }));
  const extra = `[recording]\ndirectory = "${folder}/recordings"\nfree_bytes_min = 1_048_576\n`;
  const { router, clients: [ada, grace] } = await start(context, [['chromium', 'Ada'], ['firefox', 'Grace']], { extra });
  const pair = [ada, grace];
  await take(pair, 'direct');
  await Promise.all(pair.map((client) => receives(client, 1)));

  const hush = await talk(pair);
  const shows = (client, count) => until(`${client.name} sees ${count} pictures`, () => client.evaluate((wanted) => (
    window.__probe.pictures().length === wanted), count));
  await ada.evaluate(() => window.rillway.toggleCamera());
  await shows(grace, 1);
  await ada.evaluate(() => window.rillway.toggleCamera());
  await shows(grace, 2);
  await ada.evaluate(() => window.rillway.toggleScreen());
  await shows(grace, 3);
  await take(pair, 'direct');
  const sum = await carried(router, 2);
  check(sum.packets === 0 && sum.data === 0, 'neither media nor what is said goes through the router', sum);
  await ada.evaluate(() => window.rillway.toggleScreen());
  await shows(grace, 2);

  await ada.evaluate(() => document.getElementById('control-record').click());
  await take(pair, 'router');
  await Promise.all(pair.map((client) => receives(client, 1)));
  await until('it is recorded', async () => total(await router.metrics(), 'rillway_rtp_recorded_packets_total') > 0);
  await ada.evaluate(() => document.getElementById('control-record').click());
  await take(pair, 'direct');

  // The connection of one is gone: both are back on the router, and stay there.
  await grace.evaluate(() => window.__probe.connections.findLast((pc) => pc.connectionState === 'connected').close());
  await take(pair, 'router');
  await Promise.all(pair.map((client) => receives(client, 1)));
  await hush();
  for (const client of pair) check(client.errors.length === 0, `${client.name}: errors`, client.errors);
}

/** Nothing gets from one to the other. */
async function impossible(context) {
  const before = 'RTCPeerConnection.prototype.addIceCandidate = async () => {};';
  const people = [['chromium', 'Ada'], ['chromium', 'Grace']];
  const { clients: pair } = await start(context, people, { before });
  await Promise.all(pair.map((client) => receives(client, 1)));
  const connecting = await observe(pair);
  await until('it has been tried', async () => (await sign(pair[0])) === 'Through the server');
  await until('it is given up', async () => {
    const raw = await pair[0].raw();
    return raw.connections.length === 2;
  }, { timeout: 30_000, describe: () => pair[0].raw() });
  await take(pair, 'router');
  smooth('no direct connection', await connecting('no direct connection'));
}

export default [
  { name: 'direct: two go past the router, and a third is no gap', timeout: 200_000, run: third },
  { name: 'direct: camera, screen, recording and a lost connection, between both browsers', timeout: 240_000, run: changes },
  { name: 'direct: what cannot connect stays on the router', timeout: 90_000, run: impossible },
];
