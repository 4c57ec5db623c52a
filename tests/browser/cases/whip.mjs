// WHIP and WHEP: pages of another origin publish to rooms and play from them, with plain fetch and with the
// libraries that people use.

import { inbound, join, receives } from '../lib/meeting.mjs';
import { serveClients } from '../lib/pages.mjs';
import { Router, total } from '../lib/router.mjs';
import { check, sleep, until } from '../lib/runner.mjs';

/** A window on the page with the clients. */
async function open(context, page, engine, name) {
  const client = await context.browsers.client(engine, name);
  context.stage.defer(() => client.close());
  context.stage.witness((folder) => client.testify(folder));
  await client.open(page);
  await until(`${name} is ready`, () => client.evaluate(() => Boolean(window.clients)));
  return client;
}

const use = (client, which, url, token) => client.evaluate(
  ([name, address, secret]) => window.clients[name](address, secret), [which, url, token],
);

const session = (client, method, headers, body) => client.evaluate(
  ([verb, more, text]) => window.clients.ask(verb, more, text), [method, headers, body],
);

/** Waits until a client sends audio and video. */
async function sends(client) {
  const sent = async () => {
    const raw = await client.raw();
    const streams = raw.connections.flatMap((pc) => pc.outbound);
    return Object.fromEntries(streams.map((stream) => [stream.kind, stream.bytesSent ?? 0]));
  };
  await until(`${client.name} sends`, async () => {
    const before = await sent();
    await sleep(500);
    const after = await sent();
    return ['audio', 'video'].every((kind) => (after[kind] ?? 0) > (before[kind] ?? 0));
  }, { timeout: 20_000, describe: () => client.raw() });
}

async function showsPicture(client) {
  await until(`${client.name} shows a picture`, async () => {
    const pictures = await client.evaluate(() => window.__probe.pictures());
    return pictures.length === 1 && pictures[0].time > 0;
  });
}

async function sessions(router) {
  return total(await router.metrics(), 'rillway_gateway_connections');
}

const plain = {
  name: 'whip: Chromium publishes, Chromium and Firefox play, with fetch alone',
  timeout: 240_000,
  async run(context) {
    const router = await Router.start(context);
    const page = await serveClients(context.stage);
    const publisher = await open(context, page, 'chromium', 'publisher');
    const early = await open(context, page, 'chromium', 'player');
    const nothing = await use(early, 'fetchPlayer', `${router.url}whep/show`);
    check(nothing.created.status === 409, 'nothing is published yet', nothing);
    check(nothing.created.headers['retry-after'] === '2', 'a page may read when to come again', nothing);

    const { created } = await use(publisher, 'fetchPublisher', `${router.url}whip/show?name=Encoder`);
    check(created.status === 201, 'created', created);
    for (const name of ['location', 'etag']) check(created.headers[name], `a page may read ${name}`, created);
    await sends(publisher);
    const other = await open(context, page, 'firefox', 'firefox-player');
    const players = [early, other];
    for (const player of players) {
      const played = await use(player, 'fetchPlayer', `${router.url}whep/show`);
      check(played.created.status === 201, `${player.name}: created`, played);
      await receives(player, 1);
      await showsPicture(player);
    }

    // An ICE restart of each: media goes on, and the entity tag of before is outdated.
    const etag = created.headers.etag;
    for (const client of [publisher, early]) {
      const restarted = await client.evaluate(() => window.clients.restart());
      check(restarted.status === 200 && restarted.headers.etag, `${client.name}: ICE restarts`, restarted);
      await receives(early, 1);
    }
    const fragment = { 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': etag };
    const stale = await session(publisher, 'PATCH', fragment, 'a=end-of-candidates\r\n');
    check(stale.status === 412, 'an outdated entity tag', stale);

    // In the meeting page it is somebody like anybody.
    const guest = await join(context, {
      engine: 'chromium', name: 'Guest', room: 'show', url: router.url, search: { audio: '0', video: '0' },
    });
    await receives(guest, 1);
    const names = (await guest.snapshot()).participants.map((person) => person.name);
    check(names.includes('Encoder'), 'the room sees its name', names);
    await guest.close();

    // Another publisher is played in the same session.
    const deleted = await session(publisher, 'DELETE');
    check(deleted.status === 200, 'deleted', deleted);
    check((await session(publisher, 'GET')).status === 404, 'gone');
    const frames = async () => [...await inbound(early, 'video')].map(([, stream]) => stream.framesDecoded ?? 0)[0];
    const before = await frames();
    const second = await open(context, page, 'chromium', 'second-publisher');
    await use(second, 'fetchPublisher', `${router.url}whip/show`);
    await receives(early, 1);
    check(await frames() > before, 'the same stream goes on', before);
    for (const client of [early, other, second]) {
      check((await session(client, 'DELETE')).status === 200, `${client.name} deletes its session`);
    }
    await until('every place is given back', async () => (await sessions(router)) === 0, {
      describe: () => sessions(router),
    });
    const statuses = await router.metrics();
    check(total(statuses, 'rillway_gateway_http_requests_total', 'status="5xx"') === 0, 'no fault', [...statuses]);
  },
};

const whipWhep = {
  name: 'whip: whip-whep publishes and plays',
  timeout: 120_000,
  async run(context) {
    // Its restart joins the candidates of a fragment with commas: it can take one, so there is none of TCP.
    const one = context.address;
    const router = await Router.start(context, { media: one ? `bind = ["${one}"]\ntcp = false\n` : '' });
    const page = await serveClients(context.stage);
    const publisher = await open(context, page, 'chromium', 'publisher');
    const player = await open(context, page, 'chromium', 'player');
    // The open policy asks nobody for a token; it is sent with every request all the same.
    const at = await use(publisher, 'whipWhepPublisher', `${router.url}whip/library`, 'token');
    check(at.startsWith(`${router.url}whip/resources/`), 'a session', at);
    await sends(publisher);
    await use(player, 'whipWhepPlayer', `${router.url}whep/library`);
    await receives(player, 1);
    await showsPicture(player);
    if (one) await publisher.evaluate(() => window.restart());
    await sends(publisher);
    await receives(player, 1);
    await publisher.evaluate(() => window.stop());
    await player.evaluate(() => window.stop());
    await until('both sessions are deleted', async () => (await sessions(router)) === 0, {
      describe: () => sessions(router),
    });
    check(publisher.errors.length === 0, 'no error on the page', publisher.errors);
  },
};

const eyevinn = {
  name: 'whip: @eyevinn/whip-web-client publishes, @eyevinn/webrtc-player plays',
  timeout: 120_000,
  async run(context) {
    const router = await Router.start(context);
    const page = await serveClients(context.stage);
    const publisher = await open(context, page, 'chromium', 'publisher');
    const player = await open(context, page, 'chromium', 'player');
    const at = await use(publisher, 'eyevinnPublisher', `${router.url}whip/library`, 'token');
    check(at.startsWith(`${router.url}whip/resources/`), 'a session', at);
    await sends(publisher);
    await use(player, 'eyevinnPlayer', `${router.url}whep/library`);
    await receives(player, 1);
    await showsPicture(player);
    await publisher.evaluate(() => window.stop());
    await player.evaluate(() => window.stop());
    await until('both sessions are deleted', async () => (await sessions(router)) === 0, {
      describe: () => sessions(router),
    });
    check(publisher.errors.length === 0, 'no error on the page', publisher.errors);
  },
};

export default [plain, whipWhep, eyevinn];
