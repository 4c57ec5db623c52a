// Networks that do not let everything through: which way media takes.

import { join, receives, watch } from '../lib/meeting.mjs';
import { blockUdp, unblockUdp } from '../lib/network.mjs';
import { Router, total } from '../lib/router.mjs';
import { check, skip, until } from '../lib/runner.mjs';

const SMALL = { width: '320', height: '180', simulcast: '0' };

/** The protocols of the pairs in use, one for each connection. */
async function protocols(client) {
  const raw = await client.raw();
  return raw.connections.filter((pc) => pc.connectionState !== 'closed').map((pc) => pc.pair?.local.protocol ?? null);
}

async function enter(context, router, people) {
  const clients = [];
  for (const [engine, name] of people) {
    clients.push(await join(context, { engine, name, room: 'tunnel', url: router.url, search: SMALL }));
  }
  await Promise.all(clients.map((client) => receives(client, people.length - 1)));
  return clients;
}

async function take(client, protocol) {
  await until(`${client.name} is on ${protocol} both ways`, async () => {
    const used = await protocols(client);
    return used.length === 2 && used.every((one) => one === protocol);
  }, { timeout: 15_000, describe: () => client.raw() });
}

function blocked(engine) {
  return {
    name: `paths: ${engine} connects over TCP where UDP is blocked`,
    timeout: 150_000,
    async run(context) {
      if (!context.isolated) skip('blocks UDP, and there is no network namespace here');
      const router = await Router.start(context);
      context.stage.defer(unblockUdp);
      blockUdp();
      const clients = await enter(context, router, [[engine, 'Ada'], [engine, 'Grace']]);
      for (const client of clients) await take(client, 'tcp');
      await watch(clients, { seconds: 10, videos: 1 });
      const metrics = await router.metrics();
      const connects = total(metrics, 'rillway_transport_connects_total', 'path="tcp"');
      check(connects === 4, 'four transports over TCP', { connects });
    },
  };
}

function open(engine) {
  return {
    name: `paths: ${engine} takes UDP where it may`,
    timeout: 120_000,
    async run(context) {
      const router = await Router.start(context);
      const clients = await enter(context, router, [[engine, 'Ada'], [engine, 'Grace']]);
      for (const client of clients) await take(client, 'udp');
    },
  };
}

export default [blocked('chromium'), blocked('firefox'), open('chromium'), open('firefox')];
