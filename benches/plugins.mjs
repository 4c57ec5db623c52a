// node benches/plugins.mjs ROUTER [COMPONENT…]: `rillway plugin bench` of every shipped component, or of these
// (NAME=FILE=CONFIG=SCRIPT for files). Keeps the raw output in benches/results/plugins, prints the table of
// docs/performance.md.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [router, ...named] = process.argv.slice(2);
const results = join(root, 'benches/results/plugins');
const shipped = readdirSync(join(root, 'plugins/components')).filter((file) => file.endsWith('.wasm'));
const components = named.length ? named : shipped.map((file) => file.slice(0, -'.wasm'.length));

const us = (ns) => (ns / 1000).toFixed(1);
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

mkdirSync(results, { recursive: true });
console.log('| plugin | kind | size | call p50 (empty) | p99 (empty) | budget | instance p50 (empty) | memory |');
console.log('|---|---|---|---|---|---|---|---|');
for (const component of components) {
  const [name, file = name, config, script] = component.split('=');
  const more = [...(config ? ['--config', config] : []), ...(script ? ['--script', script] : [])];
  const output = execFileSync(router, ['plugin', 'bench', file, '--json', ...more], { encoding: 'utf8' });
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
