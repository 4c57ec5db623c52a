// Networks that drop and routers that die: the page goes on, or comes back by itself.

import { join, receives } from '../lib/meeting.mjs';
import { linkDown, linkUp } from '../lib/network.mjs';
import { Relay } from '../lib/relay.mjs';
import { Router } from '../lib/router.mjs';
import { check, skip, sleep, until } from '../lib/runner.mjs';

const SMALL = { width: '320', height: '180', simulcast: '0' };

async function enter(context, router, people) {
  const clients = [];
  for (const [engine, name, url = router.url] of people) {
    clients.push(await join(context, { engine, name, room: 'bridge', url, search: SMALL }));
  }
  await Promise.all(clients.map((client) => receives(client, people.length - 1)));
  return clients;
}

/** Everybody sees each of the others once: a returned person is not there twice. */
async function complete(clients, timeout) {
  for (const client of clients) {
    await until(`${client.name} sees each of the others once`, async () => {
      const snapshot = await client.snapshot();
      const names = snapshot.participants.map(({ name }) => name);
      return snapshot.state === 'joined' && names.length === clients.length - 1 && new Set(names).size === names.length;
    }, { timeout, describe: () => client.snapshot() });
  }
}

function signalingLost(engine) {
  return {
    name: `reconnect: ${engine} loses its signaling connection`,
    timeout: 120_000,
    async run(context) {
      const router = await Router.start(context);
      const relay = await Relay.start(router.url, context.stage);
      const clients = await enter(context, router, [[engine, 'Ada', relay.url], ['chromium', 'Grace']]);
      const ids = async () => {
        const [ada, grace] = await Promise.all(clients.map((client) => client.snapshot()));
        return [ada.me.id, grace.participants[0]?.id];
      };
      const before = await ids();
      relay.cut();
      await until('Ada notices', async () => (await clients[0].snapshot()).state !== 'joined', { timeout: 5000 });
      await sleep(2000);
      relay.mend();
      await complete(clients, 40_000);
      await Promise.all(clients.map((client) => receives(client, 1, { timeout: 30_000 })));
      const after = await ids();
      check(after.join() === before.join(), 'Ada is who she was: her session went on', { before, after });
    },
  };
}

const signalingSilent = {
  name: 'reconnect: a signaling connection that goes silent is given up',
  timeout: 150_000,
  async run(context) {
    const router = await Router.start(context);
    const relay = await Relay.start(router.url, context.stage);
    const clients = await enter(context, router, [['chromium', 'Ada', relay.url], ['firefox', 'Grace']]);
    relay.freeze();
    // The router closes what was silent for 15 s, and tells the others.
    await until('Grace sees Ada go', async () => (await clients[1].snapshot()).participants.length === 0, { timeout: 30_000 });
    relay.mend();
    relay.cut();
    relay.mend();
    await complete(clients, 60_000);
    await Promise.all(clients.map((client) => receives(client, 1, { timeout: 30_000 })));
  },
};

const routerKilled = {
  name: 'reconnect: the router is killed and started again',
  timeout: 120_000,
  async run(context) {
    const router = await Router.start(context);
    const clients = await enter(context, router, [['chromium', 'Ada'], ['firefox', 'Grace'], ['chromium', 'Edith']]);
    const end = await router.end('SIGKILL');
    check(end.signal === 'SIGKILL', 'killed', end);
    for (const client of clients) {
      await until(`${client.name} notices`, async () => (await client.snapshot()).state !== 'joined', { timeout: 10_000 });
    }
    await router.launch();
    await complete(clients, 60_000);
    await Promise.all(clients.map((client) => receives(client, 2, { timeout: 40_000 })));
    await clients[0].evaluate((t) => window.rillway.sendChat(t), 'back again');
    for (const client of clients.slice(1)) {
      await until(`${client.name} reads the chat`, async () => (
        (await client.snapshot()).chat.some(({ text }) => text === 'back again')), { describe: () => client.snapshot() });
    }
  },
};

/** The ICE user fragments a client uses now, to see whether a restart took place. */
const fragments = (client) => client.evaluate(() => window.__probe.connections
  .filter((pc) => pc.connectionState !== 'closed')
  .map((pc) => /a=ice-ufrag:(\S+)/.exec(pc.localDescription?.sdp ?? '')?.[1] ?? null));

const linkLost = {
  name: 'reconnect: the network interface goes down and comes back',
  timeout: 180_000,
  async run(context) {
    if (!context.isolated) skip('takes an interface down, and there is no network namespace here');
    const router = await Router.start(context);
    const clients = await enter(context, router, [['chromium', 'Ada'], ['firefox', 'Grace']]);
    context.stage.defer(linkUp);
    linkDown();
    await sleep(8000);
    linkUp();
    await complete(clients, 60_000);
    await Promise.all(clients.map((client) => receives(client, 1, { timeout: 60_000 })));
  },
};

function iceRestart(engine) {
  return {
    name: `reconnect: ${engine} restarts ICE on both connections without a gap`,
    timeout: 120_000,
    async run(context) {
      const router = await Router.start(context);
      const clients = await enter(context, router, [[engine, 'Ada'], ['chromium', 'Grace']]);
      const [ada] = clients;
      const before = await fragments(ada);
      const connections = await ada.evaluate(() => window.__probe.connections.length);
      await ada.evaluate(() => window.rillway.restartIce());
      await until('both user fragments changed', async () => {
        const after = await fragments(ada);
        return after.length === before.length && after.every((ufrag, i) => ufrag && ufrag !== before[i]);
      }, { timeout: 15_000, describe: async () => ({ before, after: await fragments(ada) }) });
      await Promise.all(clients.map((client) => receives(client, 1, { timeout: 15_000 })));
      await sleep(3000);
      const raw = await ada.raw();
      check(raw.connections.every((pc) => pc.connectionState === 'connected'), 'both connections are connected', raw);
      const afterwards = await ada.evaluate(() => window.__probe.connections.length);
      check(afterwards === connections, 'the restart kept both connections', { connections, afterwards });
      check((await ada.snapshot()).state === 'joined', 'Ada never left');
    },
  };
}

export default [
  signalingLost('chromium'), signalingLost('firefox'), signalingSilent, routerKilled, linkLost,
  iceRestart('chromium'), iceRestart('firefox'),
];
