// The router under test: the release binary as a user starts it (`rillway dev`), its log, its metrics.

import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

import { check, until } from './runner.mjs';

/** A TCP port that was free a moment ago. */
async function freePort() {
  const server = net.createServer();
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

let configurations = 0;
let folder = null;

/** Writes a configuration file of this run and returns its path. */
export function writeConfiguration(text) {
  folder ??= mkdtempSync(path.join(os.tmpdir(), 'rillway-configuration-'));
  configurations += 1;
  const file = path.join(folder, `${configurations}.toml`);
  writeFileSync(file, text);
  return file;
}

/** Prometheus text as a map from `name{labels}` to number. */
export function parseMetrics(text) {
  const samples = new Map();
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][^ ]*(?:\{.*\})?) ([^ ]+)$/.exec(line);
    if (match) samples.set(match[1], Number(match[2]));
  }
  return samples;
}

/** The sum of a metric over its labels; `labels` are parts like `driver="ring"` that must all be there. */
export function total(samples, name, ...labels) {
  let sum = 0;
  for (const [key, value] of samples) {
    const matches = key === name || key.startsWith(`${name}{`);
    if (matches && labels.every((label) => key.includes(label))) sum += value;
  }
  return sum;
}

/** One router process after another at the same addresses. */
export class Router {
  constructor({ binary, args, url, metricsUrl }) {
    Object.assign(this, { binary, args, url, metricsUrl });
    this.log = '';
    this.child = null;
  }

  /** Starts a router that ends with the case. `extra` is TOML that goes before the defaults of `dev`. */
  static async start(context, { extra = '', media = '' } = {}) {
    const { isolated, router: binary, driver, stage, folder } = context;
    const gateway = isolated ? 8080 : await freePort();
    const metrics = isolated ? 9090 : await freePort();
    const configuration = writeConfiguration(`
[media]
driver = "${driver}"
${isolated ? '' : 'first_port = 0\n'}${media}
[metrics]
listen = "127.0.0.1:${metrics}"
${extra}
`);
    const router = new Router({
      binary,
      args: ['dev', '--listen', `127.0.0.1:${gateway}`, '--config', configuration],
      url: `http://127.0.0.1:${gateway}/`,
      metricsUrl: `http://127.0.0.1:${metrics}/metrics`,
    });
    router.driver = driver;
    stage.defer(() => router.kill());
    stage.witness(async (into) => {
      writeFileSync(path.join(into, 'router.log'), router.log);
      writeFileSync(path.join(into, 'metrics.txt'), await router.metricsText().catch(String));
    });
    await router.launch();
    if (folder) router.folder = folder;
    return router;
  }

  /** Starts the process and waits until the page is served. */
  async launch() {
    check(this.child === null, 'the router runs already');
    const child = spawn(this.binary, this.args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => { this.log += text; });
    }
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => resolve({ code: null, signal: null, error }));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    }).then((end) => {
      if (this.child === child) this.child = null;
      return end;
    });
    await until('the router serves its page', async () => {
      if (this.child === null) throw new Error(`the router ended:\n${this.log}`);
      return (await fetch(this.url)).ok;
    }, { timeout: 15_000, interval: 50, describe: () => this.log });
  }

  /** Sends a signal and waits for the end: `{code, signal}`. */
  async end(signal) {
    this.child?.kill(signal);
    return this.ended;
  }

  async kill() {
    if (this.child) await this.end('SIGKILL');
  }

  async metricsText() {
    const response = await fetch(this.metricsUrl);
    check(response.ok, `metrics: HTTP ${response.status}`);
    return response.text();
  }

  async metrics() {
    return parseMetrics(await this.metricsText());
  }
}
