// The console beside a running call: nothing without the token, plots that move with it.

import path from 'node:path';

import { join, receives } from '../lib/meeting.mjs';
import { Router } from '../lib/router.mjs';
import { check, sleep, until } from '../lib/runner.mjs';

const SEARCH = { width: '640', height: '360', fps: '15' };

/** What is painted into a canvas: how many pixels, and a picture to compare. */
const painted = (page, id) => page.evaluate((name) => {
  const canvas = document.getElementById(name);
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let pixels = 0;
  for (let at = 3; at < data.length; at += 4) if (data[at] > 0) pixels += 1;
  return { pixels, picture: canvas.toDataURL() };
}, id);

const text = (page, selector) => page.evaluate((wanted) => document.querySelector(wanted)?.innerText ?? '', selector);

/** Waits until each of these plots has shown two pictures with something in them. */
async function move(page, ids) {
  for (const id of ids) {
    const before = await painted(page, id);
    await until(`${id} moves`, async () => {
      const now = await painted(page, id);
      return now.pixels > 100 && now.picture !== before.picture;
    }, { timeout: 15_000 });
  }
}

async function showsNothing(page, url) {
  await until('it asks for the token', () => page.evaluate(() => !document.getElementById('login').hidden));
  check(await page.evaluate(() => document.getElementById('console').hidden), 'the console is hidden');
  const whole = await text(page, 'body');
  check(!/Ada|Grace|standup|serving|bit\/s/.test(whole), 'nothing of the router is on the page', whole);
  for (const route of ['api/watch', 'api/watch?room=standup', 'api/why?room=standup&participant=a&track=b']) {
    const status = await page.evaluate(async (address) => (await fetch(address)).status, `${url}${route}`);
    check(status === 401, `${route} is refused`, status);
  }
}

const console_ = {
  name: 'console: a call in plots, and nothing without the token',
  timeout: 150_000,
  async run(context) {
    const router = await Router.start(context, { media: 'workers = 2\n' });
    // It is said after the page is served.
    const said = () => /Console: (http:\S+)#token=(\S+)\n/.exec(router.log);
    await until('dev says where its console is', async () => said() !== null);
    const [, address, token] = said();
    const people = [];
    for (const name of ['Ada', 'Grace', 'Edith']) {
      people.push(await join(context, { engine: 'chromium', name, room: 'standup', url: router.url, search: SEARCH }));
    }
    await Promise.all(people.map((client) => receives(client, 2, { timeout: 60_000 })));

    const viewer = await context.browsers.client('chromium', 'viewer');
    context.stage.defer(() => viewer.close());
    context.stage.witness((folder) => viewer.testify(folder));
    const { page } = viewer;
    const picture = (name) => viewer.screenshot(path.join(context.pictures, `console-${name}.png`));
    await viewer.resize(1440, 1000);
    await viewer.open(address);
    await showsNothing(page, address);
    await page.fill('#login-token', `${token}x`);
    await page.click('#login-form button');
    await until('a wrong token is refused', async () => /not the token/.test(await text(page, '#login')));
    await showsNothing(page, address);
    await picture('login');

    await page.fill('#login-token', token);
    await page.click('#login-form button');
    await until('the room is listed', async () => /standup/.test(await text(page, '#rooms')));
    check(!/token|session/.test(await page.evaluate(() => document.cookie)), 'scripts see no session');
    await move(page, ['plot-rate', 'plot-latency', 'plot-busy', 'histogram']);
    const workers = await text(page, '#workers');
    check(workers.trim().split('\n').length >= 3 && /ring|mmsg/.test(workers), 'both workers are there', workers);
    check(/layers-adaptive/.test(await text(page, '#plugins')), 'plugins are there', await text(page, '#plugins'));
    await until('bit rates are known', async () => /[1-9].*bit\/s/.test(await text(page, '#figure-out')));
    await sleep(20_000); // plots fill
    await picture('overview');

    await page.click('#rooms tbody tr');
    await until('who is in it', async () => {
      const list = await text(page, '#participants');
      return ['Ada', 'Grace', 'Edith'].every((name) => list.includes(name));
    });
    await move(page, ['plot-room-rate', 'plot-room-busy']);
    const threads = await page.evaluate(() => document.querySelectorAll('#topology .thread').length);
    check(threads === 12, 'camera and microphone of each, to two others', threads);
    const spark = '#subscriptions td.spark canvas';
    const sparks = await page.evaluate((selector) => [...document.querySelectorAll(selector)].map((canvas, index) => {
      canvas.id = `spark-${index}`;
      return canvas.id;
    }), spark);
    check(sparks.length === 12, 'a plot for each subscription', sparks);
    await move(page, sparks.slice(0, 2));
    await picture('room');

    await page.click('#subscriptions tbody tr');
    await until('why', async () => /layers-adaptive/.test(await text(page, '#why')));
    const why = await text(page, '#why');
    check(/Estimate/.test(why) && /Why (Ada|Grace|Edith) gets/.test(why), 'of whom, with the estimate', why);
    await picture('why');

    // The link that dev prints opens it at once, and leaves no token in the address.
    await page.click('#leave');
    await until('it is locked again', () => page.evaluate(() => !document.getElementById('login').hidden));
    await showsNothing(page, address);
    await viewer.open(`${address}?again#token=${token}`);
    await until('the link opens it', async () => /standup/.test(await text(page, '#rooms')));
    check(!page.url().includes(token), 'the address has no token', page.url());
    check(viewer.errors.length === 0, 'errors on the page', viewer.errors);

    await router.end('SIGKILL');
    await until('a router that is gone is said', async () => /does not answer/.test(await text(page, '#banner')));
  },
};

export default [console_];
