// The page where something is not there: devices, permission, the server; and as light or dark as one wants it.

import path from 'node:path';
import { join, receives } from '../lib/meeting.mjs';
import { Router } from '../lib/router.mjs';
import { check, until } from '../lib/runner.mjs';

const SMALL = { width: '320', height: '180', simulcast: '0' };

// The empty page before ours has no devices either.
const without = (error) => `
  const refusal = () => Promise.reject(new DOMException('said by the test', '${error}'));
  if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = refusal;
`;

/** What is wrong with the devices, and the words a person must find then. */
const PROBLEMS = [
  ['no permission', without('NotAllowedError'), /may not use the camera and microphone.*Allow it/],
  ['no devices', without('NotFoundError'), /No camera and microphone was found.*without/],
  ['devices in use', without('NotReadableError'), /another program/],
  ['no answer yet', 'if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = () => new Promise(() => {});', /The browser asks/],
  ['an insecure page', "Object.defineProperty(navigator, 'mediaDevices', { value: undefined });", /https or on this computer/],
];

async function visit(context, engine, name, url, script = null) {
  const client = await context.browsers.client(engine, name);
  context.stage.defer(() => client.close());
  context.stage.witness((folder) => client.testify(folder));
  if (script) await client.before(script);
  await client.open(url);
  return client;
}

const shown = (client) => client.evaluate(() => document.body.innerText.replaceAll(/\s+/g, ' '));
const press = (client, id) => client.evaluate((wanted) => document.getElementById(wanted).click(), id);
const isJoined = async (client) => (await client.snapshot()).state === 'joined';

function devicesCase(engine, problems) {
  return {
    name: `lobby: ${engine} says what is wrong with the devices, and one joins without`,
    timeout: 120_000,
    async run(context) {
      const router = await Router.start(context);
      const other = await join(context, { engine: 'chromium', name: 'Grace', room: 'desk', url: router.url, search: SMALL });
      for (const [title, script, words] of problems) {
        const client = await visit(context, engine, `${engine} ${title}`, `${router.url}?room=desk&name=Ada`, script);
        await until(`${title}: the page says ${words}`, async () => words.test(await shown(client)), {
          timeout: 10_000, describe: () => shown(client),
        });
        await client.screenshot(path.join(context.folder, `${engine}-${title.replaceAll(' ', '-')}.png`));
        await press(client, 'join-button');
        await until(`${title}: joined all the same`, () => isJoined(client), { describe: () => client.snapshot() });
        // Whoever sends nothing still sees and hears the others.
        await receives(client, 1);
        check(client.errors.length === 0, `${title}: errors on the page`, client.errors);
        await client.close();
      }
      check(await isJoined(other), 'the other stayed');
    },
  };
}

const serverGone = {
  name: 'lobby: the server is gone when one joins, and comes back',
  timeout: 90_000,
  async run(context) {
    const router = await Router.start(context);
    const client = await visit(context, 'chromium', 'late', `${router.url}?room=desk&name=Ada&width=320&height=180`);
    await until('a preview', () => client.evaluate(() => !document.getElementById('preview-video').hidden));
    await router.end('SIGKILL');
    await press(client, 'join-button');
    await until('the page says so', async () => /The server cannot be reached/.test(await shown(client)), {
      timeout: 10_000, describe: () => shown(client),
    });
    // The refusal may come before the first frame is shown.
    await until('the own picture is there meanwhile', () => client.evaluate(() => document.querySelector('.tile.has-picture') !== null));
    await client.screenshot(path.join(context.folder, 'server-gone.png'));
    await router.launch();
    await until('joined by itself', () => isJoined(client), { timeout: 30_000, describe: () => client.snapshot() });
    check(await client.evaluate(() => document.getElementById('banner').hidden), 'and the banner is gone');
  },
};

const appearance = {
  name: 'lobby: light and dark, as the system says or as one chooses',
  timeout: 90_000,
  async run(context) {
    const router = await Router.start(context);
    const url = `${router.url}?room=desk&name=Ada&autojoin=1&width=320&height=180`;
    const client = await visit(context, 'chromium', 'lamp', url);
    const brightness = () => client.evaluate(() => {
      const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number);
      return (r + g + b) / 3 / 255;
    });
    await client.page.emulateMedia({ colorScheme: 'light' });
    check((await brightness()) > 0.8, 'light, as the system', await brightness());
    await client.page.emulateMedia({ colorScheme: 'dark' });
    check((await brightness()) < 0.2, 'dark, as the system', await brightness());
    await until('joined', () => isJoined(client));
    await client.evaluate(() => {
      const select = document.getElementById('appearance');
      select.value = 'light';
      select.dispatchEvent(new Event('change'));
    });
    check((await brightness()) > 0.8, 'light, as chosen', await brightness());
    await client.open(url);
    check((await brightness()) > 0.8, 'still light after a reload', await brightness());
  },
};

const two = {
  name: 'lobby: alone one invites; of two, the other is large',
  timeout: 90_000,
  async run(context) {
    const router = await Router.start(context);
    const people = { room: 'desk', url: router.url, search: SMALL };
    const ada = await join(context, { engine: 'chromium', name: 'Ada', ...people });
    await until('an invitation', () => ada.evaluate(() => document.getElementById('alone').getClientRects().length > 0));
    const grace = await join(context, { engine: 'firefox', name: 'Grace', ...people });
    await Promise.all([receives(ada, 1), receives(grace, 1)]);
    const area = (client, self) => client.evaluate((own) => {
      const tiles = [...document.querySelectorAll('.tile')];
      const tile = tiles.find((one) => one.classList.contains('mirror') === own);
      return tile.offsetWidth * tile.offsetHeight;
    }, self);
    for (const client of [ada, grace]) {
      await until(`${client.name} sees the other large`, async () => (
        (await area(client, false)) > 6 * (await area(client, true))
      ), { timeout: 5000, describe: async () => [await area(client, false), await area(client, true)] });
      await client.screenshot(path.join(context.folder, `two-${client.name}.png`));
    }
    check(await ada.evaluate(() => document.getElementById('alone').getClientRects().length === 0), 'no invitation any more');
  },
};

export default [devicesCase('chromium', PROBLEMS), devicesCase('firefox', PROBLEMS.slice(0, 1)), serverGone, appearance, two];
