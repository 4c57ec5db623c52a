// Coming and going, muting, and rooms that must not meet.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { inbound, join, nothingLost, outbound, receives } from '../lib/meeting.mjs';
import { Router } from '../lib/router.mjs';
import { check, skip, sleep, until } from '../lib/runner.mjs';

const run = promisify(execFile);
const SMALL = { width: '320', height: '180', simulcast: '0' };

async function enter(context, router, people) {
  const clients = [];
  for (const [engine, name, room = 'lobby'] of people) {
    clients.push(await join(context, { engine, name, room, url: router.url, search: SMALL }));
  }
  return clients;
}

const pictures = (client) => client.evaluate(() => window.__probe.pictures().length);

/** Milliseconds until the page shows `count` people beside its own user, or an error after `limit`. */
async function tilesWithin(client, count, limit, since) {
  await until(`${client.name} shows ${count} others`, async () => {
    const snapshot = await client.snapshot();
    return snapshot.participants.length === count && (await pictures(client)) <= count + 1;
  }, { timeout: limit, interval: 20, describe: async () => ({ people: (await client.snapshot()).participants, pictures: await pictures(client) }) });
  return Date.now() - since;
}

const leaving = {
  name: 'room: leaving removes tiles within 1 s',
  timeout: 120_000,
  async run(context) {
    const router = await Router.start(context);
    const clients = await enter(context, router, [['chromium', 'Ada'], ['firefox', 'Grace'], ['chromium', 'Edith'], ['chromium', 'Mary']]);
    await Promise.all(clients.map((client) => receives(client, 3, { timeout: 60_000 })));
    const [ada, grace, edith, mary] = clients;
    for (const client of clients) {
      await until(`${client.name} shows four pictures`, async () => (await pictures(client)) === 4, {
        describe: () => pictures(client),
      });
    }

    let since = Date.now();
    await edith.evaluate(() => { window.rillway.leave(); });
    await Promise.all([ada, grace, mary].map((client) => tilesWithin(client, 2, 1000, since)));

    // Closing the window must do as well as the button.
    since = Date.now();
    await Promise.all([mary.close(), ...[ada, grace].map((client) => tilesWithin(client, 1, 1000, since))]);
    await receives(ada, 1);
    await receives(grace, 1);
  },
};

const muting = {
  name: 'room: muting stops the media and shows, and comes back',
  timeout: 120_000,
  async run(context) {
    const router = await Router.start(context);
    const clients = await enter(context, router, [['chromium', 'Ada'], ['firefox', 'Grace']]);
    await Promise.all(clients.map((client) => receives(client, 1)));
    for (const [muter, watcher] of [clients, clients.toReversed()]) {
      const frames = async () => [...(await inbound(watcher, 'video')).values()]
        .reduce((sum, stream) => sum + (stream.framesDecoded ?? 0), 0);
      await muter.evaluate(() => window.rillway.toggleCamera());
      await until(`${muter.name}'s picture stops`, async () => {
        const before = await frames();
        await sleep(1500);
        return (await frames()) - before <= 1;
      }, { timeout: 15_000 });
      await muter.evaluate(() => window.rillway.toggleCamera());
      await receives(watcher, 1, { timeout: 15_000 });

      await muter.evaluate(() => window.rillway.toggleMicrophone());
      const energy = async () => [...(await inbound(watcher, 'audio')).values()]
        .reduce((sum, stream) => sum + (stream.totalAudioEnergy ?? 0), 0);
      await until(`${muter.name} is silent`, async () => {
        const before = await energy();
        await sleep(2500);
        return (await energy()) - before < 1e-7;
      }, { timeout: 20_000 });
      await muter.evaluate(() => window.rillway.toggleMicrophone());
      await until(`${muter.name} is heard again`, async () => {
        const before = await energy();
        await sleep(2500);
        return (await energy()) > before;
      }, { timeout: 20_000 });
    }
  },
};

const microphoneOnly = {
  name: 'room: a microphone without a camera arrives whole',
  timeout: 90_000,
  async run(context) {
    const router = await Router.start(context);
    const [ada, grace] = await Promise.all([['chromium', 'Ada'], ['firefox', 'Grace']].map(([engine, name]) => (
      join(context, { engine, name, room: 'desk', url: router.url, search: { camera: '0' } }))));
    const heard = async (client) => [...(await inbound(client, 'audio')).values()]
      .reduce((sum, stream) => sum + (stream.packetsReceived ?? 0), 0);
    for (const client of [ada, grace]) await until(`${client.name} hears`, async () => (await heard(client)) > 50);
    // Chromium probes its bandwidth every 5 s, with packets of the microphone's stream that hold no sound.
    await sleep(12_000);
    await nothingLost([ada, grace]);
  },
};

const isolation = {
  name: 'room: two rooms on one worker share nothing',
  timeout: 150_000,
  async run(context) {
    const router = await Router.start(context, { media: 'workers = 1\n' });
    const clients = await enter(context, router, [
      ['chromium', 'Ada', 'red'], ['firefox', 'Grace', 'red'], ['chromium', 'Edith', 'blue'], ['chromium', 'Mary', 'blue'],
    ]);
    await Promise.all(clients.map((client) => receives(client, 1, { timeout: 60_000 })));
    const pairs = { Ada: 'Grace', Grace: 'Ada', Edith: 'Mary', Mary: 'Edith' };
    const names = Object.keys(pairs);
    for (const [i, client] of clients.entries()) {
      await client.evaluate((t) => window.rillway.sendChat(t), `secret of ${names[i]}`);
      await client.evaluate((p) => window.rillway.drawStroke(p), [{ x: 0.1, y: 0.1 }, { x: 0.2, y: 0.2 }]);
    }
    for (const [i, client] of clients.entries()) {
      const friend = pairs[names[i]];
      await until(`${names[i]} has the other's message`, async () => (
        (await client.snapshot()).chat.some(({ text }) => text === `secret of ${friend}`)
      ), { describe: () => client.snapshot() });
    }
    await sleep(3000);
    for (const [i, client] of clients.entries()) {
      const snapshot = await client.snapshot();
      const friend = pairs[names[i]];
      check(snapshot.participants.length === 1 && snapshot.participants[0].name === friend, 'only the own room is seen', snapshot);
      const foreign = snapshot.chat.filter(({ text }) => names.some((name) => (
        name !== friend && name !== names[i] && text === `secret of ${name}`)));
      check(foreign.length === 0, `${names[i]} read the other room`, foreign);
      check(snapshot.board.strokes === 2, `${names[i]}'s board has the two strokes of the room`, snapshot.board);
      for (const kind of ['video', 'audio']) {
        const streams = [...(await inbound(client, kind)).values()].filter((s) => s.packetsReceived > 0);
        check(streams.length === 1, `${names[i]} receives one ${kind}`, streams);
      }
    }
  },
};

/** An id is a hexadecimal number that begins with the worker's; null: it is in no room. */
const onWorker = async (client) => {
  const { me } = await client.snapshot();
  return me && Number(BigInt(`0x${me.id}`) >> 45n);
};

const spanning = {
  name: 'room: on two workers it is one room',
  timeout: 150_000,
  async run(context) {
    // Nobody shares a worker with the one before.
    const router = await Router.start(context, { media: 'workers = 2\nparticipants_per_part = 1\n' });
    const names = ['Ada', 'Grace', 'Edith'];
    const clients = [];
    for (const [i, name] of names.entries()) {
      clients.push(...await enter(context, router, [[i === 1 ? 'firefox' : 'chromium', name, 'hall']]));
    }
    await Promise.all(clients.map((client) => receives(client, 2, { timeout: 60_000 })));
    const workers = await Promise.all(clients.map(onWorker));
    check(new Set(workers).size === 2, 'they are on two workers', workers);
    await clients[0].evaluate((text) => window.rillway.sendChat(text), 'to all of you');
    for (const client of clients.slice(1)) {
      await until(`${client.name} has the message`, async () => (
        (await client.snapshot()).chat.some(({ text }) => text === 'to all of you')
      ), { describe: () => client.snapshot() });
    }
    await sleep(5000);
    await nothingLost(clients);
    // The page does as it is told, and is on the other worker.
    const other = 1 - workers[0];
    const { stdout } = await run(router.binary, ['participant', 'move', 'hall', 'Ada', '--worker', String(other)]);
    check(stdout.includes('Ada'), 'the command shows where she is', stdout);
    await until('Ada is on the other worker', async () => (await onWorker(clients[0])) === other);
    await Promise.all(clients.map((client) => receives(client, 2, { timeout: 60_000 })));
  },
};

const screen = {
  name: 'room: a shared screen arrives and goes',
  timeout: 90_000,
  async run(context) {
    const router = await Router.start(context);
    const [ada, grace] = await enter(context, router, [['chromium', 'Ada'], ['firefox', 'Grace']]);
    await Promise.all([ada, grace].map((client) => receives(client, 1)));
    const possible = await ada.evaluate(async () => {
      try {
        const stream = await navigator.mediaDevices.getDisplayMedia({ video: true });
        for (const track of stream.getTracks()) track.stop();
        return '';
      } catch (error) {
        return String(error);
      }
    });
    if (possible) skip(`this headless Chromium shares no screen: ${possible}`);
    const videosSent = async () => (await outbound(ada)).streams.filter(({ kind }) => kind === 'video').length;
    const sentBefore = await videosSent();
    await ada.evaluate(() => window.rillway.toggleScreen());
    await until('Grace sees a screen', async () => (await grace.snapshot()).subscribe.tracks
      .some((track) => track.source === 'screen' && track.framesDecoded > 5), {
      timeout: 20_000,
      describe: async () => (await grace.snapshot()).subscribe,
    });
    check((await videosSent()) === sentBefore + 1, 'one more video is sent');
    await ada.evaluate(() => window.rillway.toggleScreen());
    await until('the screen is gone', async () => !(await grace.snapshot()).subscribe.tracks
      .some((track) => track.source === 'screen'), { timeout: 5_000, describe: () => grace.snapshot() });
    await receives(grace, 1);
  },
};

export default [leaving, muting, microphoneOnly, isolation, spanning, screen];
