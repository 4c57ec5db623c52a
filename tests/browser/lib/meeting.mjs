// What the cases about meetings share: joining, waiting for pictures and sound, measuring.

import { check, sleep, until } from './runner.mjs';

/**
 * Opens a browser window, joins a room through the page's own form values in the URL, waits for `joined`.
 * `before` is a script to run before the page's own.
 */
export async function join(context, { engine, name, room, url, search = {}, before = null }) {
  const client = await context.browsers.client(engine, name.toLowerCase());
  context.stage.defer(() => client.close());
  context.stage.witness((folder) => client.testify(folder));
  if (before) await client.before(before);
  await enter(client, { name, room, url, search });
  return client;
}

/** The same with a window that is there; it leaves the room it was in. */
export async function enter(client, { name, room, url, search = {} }) {
  const query = new URLSearchParams({ room, name, autojoin: '1', ...search });
  await client.open(`${url}?${query}`);
  await until(`${name} has joined`, async () => (await client.snapshot()).state === 'joined', {
    timeout: 20_000,
    describe: () => client.snapshot(),
  });
}

const key = (pc, stream) => `${pc.index}:${stream.mid ?? stream.ssrc}`;

/** The streams a client receives now, by connection and media section. */
export async function inbound(client, kind) {
  const raw = await client.raw();
  return new Map(raw.connections.flatMap((pc) => pc.inbound
    .filter((stream) => stream.kind === kind)
    .map((stream) => [key(pc, stream), stream])));
}

/** The streams a client sends, and over how many connections. */
export async function outbound(client) {
  const raw = await client.raw();
  const sending = raw.connections.filter((pc) => pc.outbound.length > 0);
  const streams = sending.flatMap((pc) => pc.outbound.map((stream) => ({ pc: pc.index, ...stream })));
  return {
    at: raw.at,
    connections: sending.length,
    streams,
    bytes: streams.reduce((sum, stream) => sum + (stream.bytesSent ?? 0), 0),
  };
}

/** Waits until a client decodes `count` videos and hears `count` voices (each has moved within 1 s). */
export async function receives(client, count, { timeout = 30_000, audio = true } = {}) {
  const moving = async (kind, field) => {
    const before = await inbound(client, kind);
    await sleep(700);
    const after = await inbound(client, kind);
    return [...after].filter(([id, s]) => (s[field] ?? 0) > (before.get(id)?.[field] ?? 0)).length;
  };
  await until(`${client.name} receives ${count} people`, async () => {
    const videos = await moving('video', 'framesDecoded');
    const voices = audio ? await moving('audio', 'packetsReceived') : count;
    return videos === count && voices === count;
  }, { timeout, describe: () => client.raw() });
}

/**
 * Progress of counters over time. Standing still is counted between samples that show it: a sample that
 * comes late on a busy machine is not a stream that stood still.
 */
class Progress {
  #counters = new Map();

  note(id, value, at) {
    const seen = this.#counters.get(id);
    if (!seen) {
      this.#counters.set(id, { first: value, value, at, still: 0, longest: 0 });
      return;
    }
    seen.still = value > seen.value ? 0 : seen.still + (at - seen.at);
    seen.longest = Math.max(seen.longest, seen.still);
    Object.assign(seen, { value: Math.max(value, seen.value), at });
  }

  /** By counter: how much it rose, and the longest time in seconds it stood still. */
  table() {
    return Object.fromEntries([...this.#counters].map(([id, c]) => [id, {
      rose: Number((c.value - c.first).toFixed(3)),
      still: Number((c.longest / 1000).toFixed(2)),
    }]));
  }
}

/**
 * Samples every client about each second and fails where a video or a voice stands still for longer than
 * `gap` seconds, or brings no sound at all. Returns what was seen.
 */
export async function watch(clients, { seconds, videos, gap = 3 }) {
  const progress = new Progress();
  const sample = async (client) => {
    const raw = await client.raw();
    for (const pc of raw.connections) {
      for (const s of pc.inbound) {
        const id = key(pc, s);
        if (s.kind === 'video') progress.note(`${client.name} video ${id}`, s.framesDecoded ?? 0, raw.at);
        else {
          progress.note(`${client.name} audio ${id}`, s.packetsReceived ?? 0, raw.at);
          progress.note(`${client.name} energy ${id}`, s.totalAudioEnergy ?? 0, raw.at);
        }
      }
    }
  };
  const end = Date.now() + seconds * 1000;
  let rounds = 0;
  while (Date.now() < end) {
    const round = Date.now();
    await Promise.all(clients.map(sample));
    rounds += 1;
    await sleep(Math.max(0, 1000 - (Date.now() - round)));
  }
  const table = progress.table();
  check(rounds >= seconds / 3, `only ${rounds} samples in ${seconds} s: this machine is too busy to tell`, table);
  for (const client of clients) {
    for (const kind of ['video', 'audio', 'energy']) {
      const own = Object.entries(table).filter(([id]) => id.startsWith(`${client.name} ${kind} `));
      const moving = own.filter(([, p]) => p.rose > 0);
      check(moving.length === videos, `${client.name}: ${moving.length} of ${videos} ${kind} streams rise`, table);
      if (kind === 'energy') continue; // the fake microphones beep only now and then
      for (const [id, { still }] of moving) check(still <= gap, `${id} stood still for ${still} s`, table);
    }
  }
  return table;
}

/** Fails if any client's browser counted a lost packet. */
export async function nothingLost(clients) {
  for (const client of clients) {
    for (const kind of ['video', 'audio']) {
      for (const [id, stream] of await inbound(client, kind)) {
        check(stream.packetsLost === 0, `${client.name} ${kind} ${id}: ${stream.packetsLost} packets lost`, stream);
      }
    }
  }
}

/** Bytes per second a client sends (RTP payload and headers), over `seconds`. */
export async function uploadRate(client, seconds = 5) {
  const before = await outbound(client);
  await sleep(seconds * 1000);
  const after = await outbound(client);
  return {
    rate: (after.bytes - before.bytes) / ((after.at - before.at) / 1000),
    connections: after.connections,
    streams: after.streams.length,
  };
}

/**
 * Waits until the sender's rate has settled: bandwidth estimation starts low and rises for some seconds,
 * and a rate taken on the way up says nothing.
 */
export async function settledUploadRate(client, { timeout = 60_000 } = {}) {
  const end = Date.now() + timeout;
  let last = await uploadRate(client, 3);
  for (;;) {
    const next = await uploadRate(client, 3);
    const steady = Math.abs(next.rate - last.rate) < 0.12 * Math.max(next.rate, last.rate);
    if (steady || Date.now() > end) return next;
    last = next;
  }
}
