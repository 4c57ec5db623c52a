// What a mesh costs beside the router, for 2 to 6 people in Chromium: a measurement, not part of tests/run.
//
//   node tests/browser/run.mjs --set mesh --router target/release/rillway --artifacts FOLDER
//
// Writes FOLDER/mesh.json, and FOLDER/mesh.svg, which docs/images keeps.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { join, outbound, receives } from '../lib/meeting.mjs';
import { Router } from '../lib/router.mjs';
import { check, sleep } from '../lib/runner.mjs';

const MOST = 6;
const SETTLE_SECONDS = 12;
const SECONDS = 15;
/** So small that two cores carry a mesh of six, which encodes and decodes 30 of them. */
const CAMERA = { width: 160, height: 90, frameRate: 10 };
const SEARCH = { width: '160', height: '90', fps: '10', simulcast: '0' };
const NAMES = ['Ada', 'Grace', 'Edith', 'Radia', 'Hedy', 'Joan'];

/** Seconds of processor time of each process, by its name. */
function processor() {
  const spent = new Map();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
      spent.set(`${pid} ${name}`, (Number(fields[11]) + Number(fields[12])) / 100);
    } catch {
      // It has ended.
    }
  }
  return spent;
}

function spentBy(before, after, pattern) {
  let sum = 0;
  for (const [id, seconds] of after) if (pattern.test(id)) sum += seconds - (before.get(id) ?? 0);
  return sum;
}

/** Over `SECONDS`: per client uplink and downlink, connections, processor time; of all clients, of the router. */
async function measure(clients) {
  await sleep(SETTLE_SECONDS * 1000);
  const traffic = () => Promise.all(clients.map((client) => client.evaluate(async () => {
    let [sent, received, connections] = [0, 0, 0];
    for (const pc of [...(window.mesh ?? []), ...(window.mesh ? [] : window.__probe.connections)]) {
      if (pc.connectionState !== 'connected') continue;
      connections += 1;
      for (const report of (await pc.getStats()).values()) {
        if (report.type !== 'transport') continue;
        sent += report.bytesSent;
        received += report.bytesReceived;
      }
    }
    return { sent, received, connections };
  })));
  const [first, before, begun] = [await traffic(), processor(), performance.now()];
  await sleep(SECONDS * 1000);
  const [last, after, seconds] = [await traffic(), processor(), (performance.now() - begun) / 1000];
  const mean = (field) => last.reduce((sum, one, i) => sum + one[field] - first[i][field], 0) / clients.length;
  const kbit = (field) => Math.round(mean(field) * 8 / seconds / 1000);
  return {
    uplink_kbit_s: kbit('sent'),
    downlink_kbit_s: kbit('received'),
    connections: last[0].connections,
    browsers_cpu_percent: Math.round(spentBy(before, after, /chrom/i) / seconds * 100),
    router_cpu_percent: Number((spentBy(before, after, /rillway/) / seconds * 100).toFixed(1)),
  };
}

async function routed(context, router, count) {
  const clients = [];
  for (const name of NAMES.slice(0, count)) {
    clients.push(await join(context, { engine: 'chromium', name, room: `of ${count}`, url: router.url, search: SEARCH }));
  }
  await Promise.all(clients.map((client) => receives(client, count - 1, { timeout: 60_000 })));
  const measured = await measure(clients);
  check((await outbound(clients[0])).connections === 1, 'each uploads once');
  for (const client of clients) await client.close();
  return measured;
}

/** One end of a connection between two people; `description` is the other's, if it is there. */
async function describe(client, peer, description) {
  return client.evaluate(async ({ peer: name, description: theirs, camera }) => {
    window.mesh ??= [];
    window.peers ??= new Map();
    window.stream ??= await navigator.mediaDevices.getUserMedia({ audio: true, video: camera });
    let pc = window.peers.get(name);
    if (!pc) {
      pc = new RTCPeerConnection();
      window.peers.set(name, pc);
      window.mesh.push(pc);
      for (const track of window.stream.getTracks()) pc.addTrack(track, window.stream);
      // Shown, or else nothing is decoded.
      pc.ontrack = ({ streams: [stream] }) => {
        const known = [...document.querySelectorAll('video')].some((video) => video.srcObject === stream);
        if (known) return;
        const video = Object.assign(document.createElement('video'), { autoplay: true, srcObject: stream });
        document.body.append(video);
      };
    }
    if (theirs) await pc.setRemoteDescription(theirs);
    if (theirs?.type === 'answer') return null;
    await pc.setLocalDescription();
    if (pc.iceGatheringState !== 'complete') {
      await new Promise((done) => {
        pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
      });
    }
    return { type: pc.localDescription.type, sdp: pc.localDescription.sdp };
  }, { peer, description, camera: CAMERA });
}

async function meshed(context, router, count) {
  const clients = [];
  for (const name of NAMES.slice(0, count)) {
    const client = await context.browsers.client('chromium', name.toLowerCase());
    context.stage.defer(() => client.close());
    // A page of a secure origin without anything on it.
    await client.open(`${router.url}nothing-here`);
    clients.push(client);
  }
  for (const [i, one] of clients.entries()) {
    for (const other of clients.slice(i + 1)) {
      const answer = await describe(other, one.name, await describe(one, other.name, null));
      await describe(one, other.name, answer);
    }
  }
  const measured = await measure(clients);
  check(measured.connections === count - 1, 'a connection to each other', measured);
  for (const client of clients) await client.close();
  return measured;
}

const CHARTS = [
  ['uplink_kbit_s', 'Uplink of each, kbit/s'],
  ['browsers_cpu_percent', 'Processor time of all browsers, % of a core'],
  ['connections', 'Connections of each'],
];

function chart([field, title], rows, left) {
  const most = Math.max(...rows.flatMap((row) => [row.mesh[field], row.router[field]])) || 1;
  const at = (people, value) => `${left + 30 + (people - 2) * 50},${(190 - value / most * 140).toFixed(1)}`;
  const line = (of, color) => `<polyline fill="none" stroke="${color}" stroke-width="2" points="${rows.map((row) => at(row.people, row[of][field])).join(' ')}"/>`;
  const label = (of, color, dy) => rows.map((row) => {
    const [x, y] = at(row.people, row[of][field]).split(',').map(Number);
    return `<text x="${x}" y="${y + dy}" fill="${color}" text-anchor="middle">${row[of][field]}</text>`;
  }).join('');
  const axis = rows.map((row) => `<text x="${left + 30 + (row.people - 2) * 50}" y="210" text-anchor="middle">${row.people}</text>`).join('');
  return `<text x="${left}" y="20" font-weight="bold">${title}</text>${axis}${line('mesh', '#c2410c')}${line('router', '#1d4ed8')}${label('mesh', '#c2410c', -6)}${label('router', '#1d4ed8', 14)}`;
}

function picture(rows) {
  const charts = CHARTS.map((one, i) => chart(one, rows, 10 + i * 290)).join('\n');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 240" font-family="sans-serif" font-size="11">
<rect width="880" height="240" fill="#fff"/>
${charts}
<text x="10" y="232" fill="#c2410c">mesh</text><text x="50" y="232" fill="#1d4ed8">router</text><text x="100" y="232">people in the room from left to right</text>
</svg>\n`;
}

export default [{
  name: 'mesh: its cost beside the router',
  timeout: 1_200_000,
  async run(context) {
    const router = await Router.start(context);
    const rows = [];
    for (let people = 2; people <= MOST; people += 1) {
      const row = { people, mesh: await meshed(context, router, people), router: await routed(context, router, people) };
      console.log(`        ${JSON.stringify(row)}`);
      rows.push(row);
      mkdirSync(context.pictures, { recursive: true });
      writeFileSync(path.join(context.pictures, 'mesh.json'), `${JSON.stringify(rows, null, 1)}\n`);
      writeFileSync(path.join(context.pictures, 'mesh.svg'), picture(rows));
    }
    const last = rows.at(-1);
    check(last.mesh.uplink_kbit_s > last.router.uplink_kbit_s, 'a mesh of six sends more', last);
  },
}];
