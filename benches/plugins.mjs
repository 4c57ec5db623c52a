// node benches/plugins.mjs ROUTER [COMPONENT…]: `rillway plugin bench` of every shipped component, or of these
// (NAME=FILE=CONFIG=SCRIPT for files). Keeps the raw output in benches/results/plugins, prints the table of
// docs/performance.md.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [router, ...named] = process.argv.slice(2);
const results = join(root, 'benches/results/plugins');
const shipped = readdirSync(join(root, 'plugins/components')).filter((file) => file.endsWith('.wasm'));
const components = named.length ? named : shipped.map((file) => file.slice(0, -'.wasm'.length));

const us = (ns) => (ns / 1000).toFixed(1);
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

// auth-webhook asks a service: one that admits everybody at once, in a process of its own.
const service = `require('node:http').createServer((request, response) => {
  request.resume().on('end', () => response.end('{"publish": ["camera"], "subscribe": true}'));
}).listen(0, '127.0.0.1', function () { console.log(this.address().port); });`;

async function webhook() {
  const child = spawn(process.execPath, ['-e', service], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [port] = await once(child.stdout, 'data');
  const origin = `http://127.0.0.1:${String(port).trim()}`;
  const folder = mkdtempSync(join(tmpdir(), 'rillway-bench-'));
  writeFileSync(join(folder, 'secret'), 'a secret of more than thirty-two bytes', { mode: 0o600 });
  const config = join(folder, 'rillway.toml');
  writeFileSync(config, `authentication.policy = "auth-webhook"
[plugins.auth-webhook]
imports = ["log", "config", "clock", "kv", "crypto", "http"]
http_origins = ["${origin}"]
[plugins.auth-webhook.config]
url = "${origin}/join"
key = "webhook"
cache_s = 0
[plugins.auth-webhook.keys.webhook]
algorithm = "HS256"
file = "secret"
`);
  const end = () => {
    child.kill();
    rmSync(folder, { recursive: true });
  };
  return { config, end };
}

mkdirSync(results, { recursive: true });
console.log('| plugin | kind | size | call p50 (empty) | p99 (empty) | budget | instance p50 (empty) | memory |');
console.log('|---|---|---|---|---|---|---|---|');
for (const component of components) {
  const [name, file = name, given, script] = component.split('=');
  const asked = name === 'auth-webhook' && !given ? await webhook() : undefined;
  const config = given ?? asked?.config;
  const more = [...(config ? ['--config', config] : []), ...(script ? ['--script', script] : [])];
  const output = execFileSync(router, ['plugin', 'bench', file, '--json', ...more], { encoding: 'utf8' });
  asked?.end();
  writeFileSync(join(results, `${name}.json`), output);
  const report = JSON.parse(output);
  for (const cost of report.costs) {
    const { call, empty_call: empty, start, empty_start: emptyStart } = cost;
    const row = [
      `\`${name}\``,
      cost.kind,
      `${Math.round(report.bytes / 1000)} KB`,
      `${us(call.p50_ns)} µs (${us(empty.p50_ns)})`,
      `${us(call.p99_ns)} µs (${us(empty.p99_ns)})`,
      `${cost.call_budget_ns / 1e6} ms`,
      `${us(start.p50_ns)} µs (${us(emptyStart.p50_ns)})`,
      mib(cost.memory_bytes),
    ];
    console.log(`| ${row.join(' | ')} |`);
  }
}
