// Chat, files and the whiteboard between both browsers.

import { createHash } from 'node:crypto';
import { join, receives } from '../lib/meeting.mjs';
import { Router } from '../lib/router.mjs';
import { check, until } from '../lib/runner.mjs';

const FILE_BYTES = 300_000;

/** Bytes that any reordering, loss or repetition would change the hash of. */
function bytes(seed) {
  const out = new Uint8Array(FILE_BYTES);
  let state = seed;
  for (let i = 0; i < out.length; i += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}

export const sha256 = (data) => createHash('sha256').update(data).digest('hex');

/** The hash of a file as a person would get it: what is behind the link that saves it. */
function receivedHash(client, name) {
  return client.evaluate(async (wanted) => {
    const link = [...document.querySelectorAll('a[download]')].find((a) => a.getAttribute('download') === wanted);
    if (!link) return null;
    const data = await window.__probe.blobs.get(link.href).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  }, name);
}

async function enter(context) {
  const router = await Router.start(context);
  const clients = [];
  for (const [engine, name] of [['chromium', 'Ada'], ['firefox', 'Grace'], ['chromium', 'Edith']]) {
    clients.push(await join(context, {
      engine, name, room: 'papers', url: router.url, search: { width: '320', height: '180', simulcast: '0' },
    }));
  }
  await Promise.all(clients.map((client) => receives(client, 2)));
  return clients;
}

const others = (clients, one) => clients.filter((client) => client !== one);

async function chat(clients) {
  const sent = [];
  for (const [round, client] of [...clients, ...clients].entries()) {
    const text = `message ${round} from ${client.name}: <b>ü 漢 🛶</b> & "quotes"`;
    sent.push({ from: client, text });
    await client.evaluate((t) => window.rillway.sendChat(t), text);
  }
  for (const client of clients) {
    for (const author of others(clients, client)) {
      const wanted = sent.filter(({ from }) => from === author).map(({ text }) => text);
      const got = async () => (await client.snapshot()).chat
        .filter(({ text }) => text.endsWith(`from ${author.name}: <b>ü 漢 🛶</b> & "quotes"`))
        .map(({ text }) => text);
      await until(`${client.name} has ${author.name}'s chat, in order and once`, async () => (
        JSON.stringify(await got()) === JSON.stringify(wanted)
      ), { timeout: 10_000, describe: got });
    }
    // A message is text: markup in it must show as it was typed.
    const injected = await client.evaluate(() => [...document.querySelectorAll('b')].some((b) => b.textContent.includes('漢')));
    check(!injected, `${client.name}: markup in a chat message became markup of the page`);
    const shown = await client.evaluate(() => document.body.textContent.includes('<b>ü 漢 🛶</b>'));
    check(shown, `${client.name}: the chat is on the page`);
  }
}

async function files(clients) {
  for (const [i, sender] of clients.slice(0, 2).entries()) {
    const name = `notes ${i} ä.bin`;
    const data = bytes(i + 7);
    await sender.evaluate(async ({ name: fileName, base64 }) => {
      const binary = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      await window.rillway.sendFile(fileName, binary);
    }, { name, base64: Buffer.from(data).toString('base64') });
    for (const client of others(clients, sender)) {
      await until(`${client.name} has ${name} whole`, async () => (await client.snapshot()).files
        .some((file) => file.name === name && file.complete && file.size === FILE_BYTES), {
        timeout: 40_000,
        describe: async () => (await client.snapshot()).files,
      });
      const hash = await receivedHash(client, name);
      check(hash === sha256(data), `${client.name}: the hash of ${name} differs`, { hash, wanted: sha256(data) });
    }
  }
}

async function board(clients) {
  for (const [i, client] of clients.entries()) {
    const points = Array.from({ length: 20 }, (_, n) => ({ x: 0.1 + n * 0.04, y: 0.2 + i * 0.2 }));
    await client.evaluate((p) => window.rillway.drawStroke(p), points);
  }
  for (const client of clients) {
    await until(`${client.name} sees all three strokes`, async () => {
      const { strokes, points } = (await client.snapshot()).board;
      return strokes === 3 && points === 60;
    }, { timeout: 15_000, describe: async () => (await client.snapshot()).board });
  }
}

function dataCase(name, exchange) {
  return {
    name: `data: ${name} between both browsers`,
    timeout: 150_000,
    async run(context) {
      const clients = await enter(context);
      await exchange(clients);
      for (const client of clients) check(client.errors.length === 0, `${client.name}: errors`, client.errors);
    },
  };
}

export default [dataCase('chat', chat), dataCase('files', files), dataCase('whiteboard', board)];
