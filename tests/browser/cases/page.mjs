// The page itself, in both browsers: by keyboard, in a narrow window, its statistics.

import path from 'node:path';
import { join, receives } from '../lib/meeting.mjs';
import { Router } from '../lib/router.mjs';
import { check, until } from '../lib/runner.mjs';

const SMALL = { width: '320', height: '180', simulcast: '0' };

const focused = () => {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  if (!element || element === document.body || element === document.documentElement) return null;
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  const label = element.getAttribute('aria-label') || element.labels?.[0]?.textContent || element.textContent || element.title
    || element.placeholder || '';
  return {
    tag: element.tagName.toLowerCase(),
    id: element.id,
    label: label.trim().slice(0, 60),
    visible: box.width > 0 && box.height > 0 && style.visibility === 'visible',
    marked: style.outlineStyle !== 'none' || style.boxShadow !== 'none' || style.borderStyle !== 'none',
  };
};

/** All stops of the Tab key, until it comes round. */
async function tabStops(client, limit = 60) {
  const stops = [];
  for (let i = 0; i < limit; i += 1) {
    await client.press('Tab');
    const stop = await client.evaluate(focused);
    if (stop === null) continue; // past the last control: the browser's own, then round again
    if (stops.length > 2 && JSON.stringify(stop) === JSON.stringify(stops[0])) break;
    stops.push(stop);
  }
  return stops;
}

/** What can be clicked on now and is not disabled, so must be reachable by keyboard. */
const controls = () => [...document.querySelectorAll('button, a[href], input, select, textarea')]
  .filter((e) => !e.disabled && !e.closest('[inert]') && e.getClientRects().length > 0 && e.type !== 'hidden'
    && getComputedStyle(e).visibility === 'visible' && e.tabIndex >= 0)
  .map((e) => ({ tag: e.tagName.toLowerCase(), id: e.id, type: e.type ?? null }));

const overflow = () => {
  const root = document.documentElement;
  const wide = [...document.querySelectorAll('body *')].filter((e) => {
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.right > root.clientWidth + 1 && getComputedStyle(e).position !== 'absolute';
  }).slice(0, 5).map((e) => `${e.tagName}#${e.id}.${e.className}`);
  return { scroll: root.scrollWidth, client: root.clientWidth, wide };
};

async function checkKeyboard(client, where) {
  const [stops, wanted] = [await tabStops(client), await client.evaluate(controls)];
  for (const stop of stops) {
    check(stop.visible, `${where}: Tab reaches something that is not shown`, stop);
    check(stop.label !== '' , `${where}: a control without a name`, stop);
  }
  const reached = new Set(stops.map(({ id }) => id).filter(Boolean));
  // A group of radio buttons is one stop.
  const missed = wanted.filter(({ id, type }) => id && type !== 'radio' && !reached.has(id));
  check(missed.length === 0, `${where}: Tab does not reach`, { missed, stops });
  check(stops.length >= 3, `${where}: too few stops`, stops);
}

async function checkNarrow(client, where, folder) {
  await client.resize(360, 640);
  await until(`${where}: no horizontal scrolling at 360 px`, async () => {
    const { scroll, client: width } = await client.evaluate(overflow);
    return scroll <= width;
  }, { timeout: 3000, describe: () => client.evaluate(overflow) });
  await client.screenshot(path.join(folder, `${client.name}-${where.replaceAll(' ', '-')}-narrow.png`));
  await client.resize(1280, 800);
}

function keyboardCase(engine) {
  return {
    name: `page: ${engine} by keyboard and in a narrow window`,
    timeout: 120_000,
    async run(context) {
      const router = await Router.start(context);
      const other = await join(context, { engine: 'chromium', name: 'Grace', room: 'desk', url: router.url, search: SMALL });
      const client = await context.browsers.client(engine, `keys-${engine}`);
      context.stage.defer(() => client.close());
      context.stage.witness((folder) => client.testify(folder));
      await client.open(`${router.url}?room=desk&width=320&height=180&simulcast=0`);
      await checkKeyboard(client, 'door');
      await checkNarrow(client, 'door', context.folder);
      // Joining without a mouse: the name, then Enter.
      await client.evaluate(() => {
        const named = [...document.querySelectorAll('input')].find((e) => /name/i.test(`${e.id} ${e.name}`) && !/room/i.test(e.id));
        named.focus();
        named.select();
      });
      await client.page.keyboard.type('Hopper');
      await client.press('Enter');
      await until('joined by keyboard', async () => (await client.snapshot()).state === 'joined', {
        timeout: 15_000, describe: () => client.snapshot(),
      });
      await Promise.all([receives(client, 1), receives(other, 1)]);
      check((await other.snapshot()).participants[0].name === 'Hopper', 'the typed name arrived', await other.snapshot());
      await checkKeyboard(client, 'meeting');
      await checkNarrow(client, 'meeting', context.folder);
      check(client.errors.length === 0, 'errors on the page', client.errors);
    },
  };
}

function statsCase(engine) {
  return {
    name: `page: ${engine} shows statistics with live plots`,
    timeout: 90_000,
    async run(context) {
      const router = await Router.start(context);
      const client = await join(context, { engine, name: 'Ada', room: 'desk', url: router.url, search: SMALL });
      const other = await join(context, { engine: 'chromium', name: 'Grace', room: 'desk', url: router.url, search: SMALL });
      await Promise.all([receives(client, 1), receives(other, 1)]);
      await client.evaluate(() => window.rillway.openStats());
      const plots = () => client.evaluate(() => [...document.querySelectorAll('canvas, svg')]
        .filter((e) => e.getClientRects().length > 0 && e.getBoundingClientRect().width > 40)
        .map((e) => (e instanceof HTMLCanvasElement ? e.toDataURL() : e.outerHTML)));
      const first = await until('plots are on the page', async () => {
        const all = await plots();
        return all.length >= 2 && all;
      }, { describe: async () => (await plots()).length });
      await until('the plots move', async () => {
        const now = await plots();
        return now.filter((plot, i) => plot !== first[i]).length >= 2;
      }, { timeout: 8000 });
      await client.screenshot(path.join(context.folder, `${client.name}.png`));
      await checkNarrow(client, 'statistics', context.folder);
    },
  };
}

export default [keyboardCase('chromium'), keyboardCase('firefox'), statsCase('chromium'), statsCase('firefox')];
