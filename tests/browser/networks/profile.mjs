// One profile: builds its network, starts the router, lets two people meet, changes the network, measures.

import { existsSync, mkdtempSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

import { Browsers } from '../lib/browsers.mjs';
import { enter } from '../lib/meeting.mjs';
import { total } from '../lib/router.mjs';
import { check, skip, sleep, until } from '../lib/runner.mjs';
import { begun, directWay, METER, resumed, ways } from './measure.mjs';
import { resolve, serve } from './server.mjs';
import { access, housemate, LEFT, MEET, mirror, server, side } from './topology.mjs';
import { missing } from './world.mjs';

const BRIDGE = fileURLToPath(new URL('./bridge.mjs', import.meta.url));

/** What is wanted of an idle machine. */
export const CONNECT_MS = 3_000;
export const RESUME_MS = 2_000;
/** How long it is waited for, so that what is late has a figure. */
const CONNECT_WAIT_MS = 25_000;
const RESUME_WAIT_MS = 25_000;
/** Time for a connection to become what it stays: browsers look around for better paths in the beginning. */
const SETTLE_MS = 3_000;
/** The router's counters are a second old at most. */
const COUNTED_MS = 1_500;
/** How long it is looked at what the router carries of a direct call. */
const PAST_MS = 3_000;
/** Media of that time is more, and what keeps unused relays alive is less. */
const RELAYED_BYTES = 20_000;

const SMALL = { width: '320', height: '180', simulcast: '0' };
const URL_ = `https://${MEET}/`;

/** Puts the browser into a space: a script that starts it there. */
function into(world, space) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'rillway-networks-'));
  return (file) => {
    const script = path.join(folder, `${space}-${path.basename(file)}`);
    writeFileSync(script, `#!/bin/sh\nexec ${world.within(space).join(' ')} "${file}" "$@"\n`, { mode: 0o755 });
    return script;
  };
}

/** Where Firefox takes commands, in its space and, through a bridge, in the suite's. */
const FIREFOX_PORT = 9_333;

/** Browsers of a space. The certificate's authority is nobody's: they take any. */
export function browsersIn(world, space) {
  return new Browsers({
    wrap: into(world, space),
    flags: ['--ignore-certificate-errors'],
    firefox: { debuggingPort: FIREFOX_PORT, acceptInsecureCerts: true },
  });
}

/** Makes a port of a space's loopback address one of this process's space too. */
async function bridge(world, stage, space, port) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'rillway-networks-'));
  const socket = path.join(folder, 'bridge');
  await world.start(space, process.execPath, BRIDGE, socket, String(port));
  const listener = net.createServer((near) => {
    const far = net.connect(socket);
    const end = () => {
      near.destroy();
      far.destroy();
    };
    for (const one of [near, far]) one.on('error', end).on('close', end);
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise((done) => listener.listen(port, '127.0.0.1', done));
  stage.defer(() => listener.close());
}

/** Makes a page use nothing but relays whose URL matches. */
const relayOnly = (pattern) => `(() => {
  const matches = new RegExp(${JSON.stringify(pattern)});
  window.RTCPeerConnection = new Proxy(window.RTCPeerConnection, {
    construct(target, [configuration = {}, ...more]) {
      const iceServers = (configuration.iceServers ?? [])
        .map((server) => ({ ...server, urls: [server.urls].flat().filter((url) => matches.test(url)) }))
        .filter(({ urls }) => urls.length > 0);
      return Reflect.construct(target, [{ ...configuration, iceServers, iceTransportPolicy: 'relay' }, ...more]);
    },
  });
})()`;

async function build({ world, made, hosts }, profile) {
  const serverSide = await server(world, profile.server ?? 'plain');
  made.push(...serverSide.made);
  if (profile.learns) made.push(...await mirror(world));
  const { housemate: home = false, ...client } = profile.client ?? {};
  if (home) made.push(...await housemate(world, 'client'));
  else made.push(...await side(world, { side: 'client', name: 'client', ...client }));
  if (profile.peer) {
    world.unlink([['core', 'peer0']]);
    made.push(...await side(world, { side: 'peer', name: 'other', ...profile.peer }));
  }
  if (profile.access) access(world, profile.access);
  await profile.prepare?.({ world, made });
  for (const space of profile.peer ? ['client', 'other'] : ['client']) await resolve(world, space, hosts);
  return serverSide;
}

const samples = (client) => client.evaluate(() => window.__meter.samples);

/** Takes the page's files from a folder instead of the router, to try a change of them. */
function serveFrom(client, folder) {
  return client.page.route(`${URL_}**`, (route) => {
    const file = path.join(folder, path.basename(new URL(route.request().url()).pathname));
    return existsSync(file) && statSync(file).isFile() ? route.fulfill({ path: file }) : route.fallback();
  });
}

async function person({ stage, page }, browsers, engine, name, script) {
  const client = await browsers.client(engine, name.toLowerCase());
  stage.defer(() => client.close());
  stage.witness((folder) => client.testify(folder));
  await client.before(METER);
  if (script) await client.before(script);
  if (page && engine === 'chromium') await serveFrom(client, page);
  return client;
}

/** Fills in the page's form and clicks; resolves to the moment of the click. */
async function clickJoin(client, name) {
  const query = new URLSearchParams({ room: 'network', name, ...SMALL });
  await client.open(`${URL_}?${query}`);
  await until(`${name} sees itself before joining`, () => client.evaluate(() => (
    window.__probe.pictures().length > 0 && !document.getElementById('join-button').disabled)));
  await client.page.click('#join-button');
  return client.evaluate(() => window.__meter.clicked());
}

/** Milliseconds from the click until media goes both ways: `play` to the client, `publish` from it. */
async function connect(client, peer, clicked) {
  const found = {};
  await until('media goes both ways', async () => {
    found.play = begun(await samples(client), clicked);
    found.publish = begun(await samples(peer), clicked);
    return found.play && found.publish;
  }, {
    timeout: CONNECT_WAIT_MS,
    interval: 100,
    describe: async () => ({ ...found, paths: await ways(client), page: (await client.snapshot()).text }),
  });
  return { play: found.play - clicked, publish: found.publish - clicked };
}

/** Applies the change once, and waits until media moves both ways. */
async function suffer(context, { apply }, client, peer) {
  const since = Date.now();
  await apply(context);
  const changed = Date.now();
  // A change that takes long to make, on a busy machine, is not over before it is made.
  const found = {};
  await sleep(1_500);
  await until('media goes both ways again', async () => {
    found.play = resumed(await samples(client), since);
    found.publish = resumed(await samples(peer), since);
    return found.play !== null && found.publish !== null && Date.now() - changed > 3_000;
  }, { timeout: RESUME_WAIT_MS, interval: 250, describe: async () => ({ ...found, paths: await ways(client) }) });
  return { play: found.play, publish: found.publish, applied: changed - since };
}

async function changes(context, change, client, peer) {
  const results = [];
  for (let time = 0; time < (change.times ?? 1); time += 1) {
    if (time > 0) await sleep(Math.max(0, (change.every ?? 0) - 3_000));
    results.push(await suffer(context, change, client, peer));
  }
  return results;
}

function expectWays(found, expect, when) {
  check(found.length === 2, `${when}: two connections`, found);
  for (const { path: way, family } of found) {
    const good = [expect.path, expect.orElse].includes(way) && family === expect.family;
    check(good, `${when}: all connections take ${expect.path} over IP${expect.family}`, found);
  }
}

/** Nothing gets through: there is no media, and the page says so in the end. */
async function told(client, peer, clicked) {
  let text = null;
  await until('the page says that nothing gets through', async () => {
    text = await client.evaluate(() => /Sound and pictures do not get through[^.]*\.[^.]*\./.exec(document.body.innerText)?.[0]);
    return text;
  }, { timeout: 60_000, interval: 250 });
  const at = Date.now() - clicked;
  check(begun(await samples(client), clicked) === null, 'no media comes');
  check(begun(await samples(peer), clicked) === null, 'no media goes');
  return { told: at, text };
}

/** The call leaves the router: how it goes then, when that was, and that the router's workers carry nothing of it. */
async function past(router, client, peer, clicked, wanted) {
  for (const one of [client, peer]) {
    await until(`${one.name} sends and plays past the router`, async () => {
      const { path: taken, paused } = await one.snapshot();
      return taken === 'direct' && paused;
    }, { timeout: CONNECT_WAIT_MS, interval: 100, describe: () => one.raw() });
  }
  const after = Date.now() - clicked;
  const ends = [await directWay(client), await directWay(peer)];
  check(ends.every((end) => end === wanted), `the call is ${wanted}`, ends);
  await sleep(COUNTED_MS);
  const [before, since] = [await router.metrics(), Date.now()];
  await sleep(PAST_MS);
  const now = await router.metrics();
  const rose = (name) => total(now, name) - total(before, name);
  const carried = { worker: rose('rillway_rtp_received_bytes_total'), relay: rose('rillway_turn_bytes_total') };
  check(carried.worker === 0, 'no media goes through a worker', carried);
  check((carried.relay > RELAYED_BYTES) === (wanted === 'relayed'), 'the relay carries what is relayed', carried);
  for (const one of [client, peer]) check(begun(await samples(one), since), `picture and sound come to ${one.name}`);
  return { way: wanted, after, ...carried };
}

/** Whatever of this profile the kernel, or this machine, lacks. */
function required(profile) {
  for (const facility of ['nftables', ...(profile.needs ?? [])]) {
    const reason = missing(facility);
    if (reason) skip(reason);
  }
}

/**
 * Runs a profile once. `context` has the world with its core and the peer's space, the peer's browsers, the files of
 * the certificate and a stage. Returns what was measured; what does not hold is an error.
 */
export async function runProfile(context, profile, engine = 'chromium') {
  required(profile);
  const { world, stage, files, hosts } = context;
  const made = [];
  stage.defer(async () => {
    await world.end(made);
    world.tidy(LEFT);
    if (profile.peer) await context.restorePeer();
  });
  const serverSide = await build({ world, made, hosts }, profile);
  const router = await serve(context, serverSide, files, {
    turn: profile.turn ?? true, learns: profile.learns ?? false, direct: 'direct' in profile,
  });
  if (engine === 'firefox') await bridge(world, stage, 'client', FIREFOX_PORT);
  const browsers = browsersIn(world, 'client');
  stage.defer(() => browsers.close());
  let peerBrowsers = context.peerBrowsers;
  if (profile.peer) {
    peerBrowsers = browsersIn(world, 'other');
    stage.defer(() => peerBrowsers.close());
  }
  const peer = await person(context, peerBrowsers, 'chromium', 'Grace');
  const client = await person(context, browsers, engine, 'Ada', profile.only && relayOnly(profile.only));
  await enter(peer, { name: 'Grace', room: 'network', url: URL_, search: SMALL });

  const result = { profile: profile.name, engine };
  const clicked = await clickJoin(client, 'Ada');
  if (profile.expect === null) {
    Object.assign(result, await told(client, peer, clicked));
  } else {
    result.connect = await connect(client, peer, clicked);
    if (profile.direct) result.direct = await past(router, client, peer, clicked, profile.direct);
    await sleep(profile.change ? SETTLE_MS : 500);
    result.paths = await ways(client);
    expectWays(result.paths, profile.expect, 'connected');
    if (profile.change) {
      result.resume = await changes({ world, sleep }, profile.change, client, peer);
      result.pathsAfter = await ways(client);
      expectWays(result.pathsAfter, profile.change.expect, 'after the change');
    }
  }
  for (const one of [client, peer]) check(one.errors.length === 0, `no errors on ${one.name}'s page`, one.errors);
  check(router.child !== null, 'the router runs');
  return result;
}

const slowest = ({ play, publish }) => Math.max(play, publish);
const slowestAgain = ({ play, publish }) => Math.max(play.video, play.audio, publish.video, publish.audio);

/** What the table says: milliseconds until media went both ways, and the longest way back after a change. */
export function figures(result) {
  return {
    connect: result.connect ? slowest(result.connect) : null,
    resume: result.resume ? Math.max(...result.resume.map(slowestAgain)) : null,
  };
}

/** Which bound a result misses; null if none. */
export function late(result) {
  const { connect: first, resume } = figures(result);
  if (first !== null && first > CONNECT_MS) return `media both ways after ${first} ms, not within ${CONNECT_MS}`;
  if (resume !== null && resume > RESUME_MS) return `media again after ${resume} ms, not within ${RESUME_MS}`;
  return null;
}
