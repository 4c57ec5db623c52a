// Takes the picture of the page that the README shows. Not a test: `--set picture` alone runs it.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { join, receives } from '../lib/meeting.mjs';
import { Router } from '../lib/router.mjs';
import { check, sleep, until } from '../lib/runner.mjs';

const PICTURE = fileURLToPath(new URL('../../../docs/images/meeting.png', import.meta.url));
const PORTRAIT = readFileSync(new URL('../lib/portrait.js', import.meta.url), 'utf8');
const SEARCH = { width: '640', height: '360', fps: '10', simulcast: '0' };

const PEOPLE = [
  { name: 'Ada', wall: ['#31566b', '#1f3948'], skin: '#e8b894', hair: '#4a2f22', shirt: '#c9563c' },
  { name: 'Grace', wall: ['#6d5a7d', '#463a54'], skin: '#f0cdb0', hair: '#b8b4ae', shirt: '#26364f', speaks: true },
  { name: 'Edith', wall: ['#4d6b50', '#304733'], skin: '#a8714d', hair: '#231a16', shirt: '#e0b64a' },
  { name: 'Mary', wall: ['#8a6a4d', '#5e4632'], skin: '#d9a178', hair: '#7a3f22', shirt: '#3f7f8c' },
];

export default [{
  name: 'picture: of a meeting, for the README',
  timeout: 120_000,
  async run(context) {
    const router = await Router.start(context);
    const clients = [];
    for (const person of PEOPLE) {
      clients.push(await join(context, {
        engine: 'chromium', name: person.name, room: 'monday-planning', url: router.url, search: SEARCH,
        before: `(${PORTRAIT.slice(PORTRAIT.indexOf('('))})(${JSON.stringify(person)})`,
      }));
    }
    const [ada, grace, edith] = clients;
    await Promise.all(clients.map((client) => receives(client, PEOPLE.length - 1, { timeout: 60_000 })));
    await ada.resize(1200, 720);
    await ada.press('c');
    const lines = [
      [grace, 'Good morning! Shall we start with the budget?'],
      [edith, 'Yes. The figures of last week are in the file.'],
      [ada, 'Thanks, I will put them on the whiteboard.'],
    ];
    for (const [author, text] of lines) {
      await author.evaluate((said) => window.rillway.sendChat(said), text);
      await until('Ada has the line', async () => (await ada.snapshot()).chat.some((line) => line.text === text));
    }
    await edith.evaluate(() => window.rillway.sendFile('budget.ods', new Uint8Array(48_213)));
    await until('Ada has the file', async () => (await ada.snapshot()).files.some((file) => file.complete));
    await ada.evaluate(() => document.activeElement.blur());
    await sleep(6000); // hints go, pictures become sharp
    await until('somebody is marked as speaking', () => ada.evaluate(() => document.querySelector('.tile.speaking') !== null));
    await ada.screenshot(PICTURE);
    check(ada.errors.length === 0, 'errors on the page', ada.errors);
    console.log(`        ${path.relative('.', PICTURE)}`);
  },
}];
