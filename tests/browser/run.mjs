#!/usr/bin/env node
// The browser suite: `node tests/browser/run.mjs --router target/release/rillway [--driver ring]
// [--only PART] [--once] [--list]`. See README.md beside this file.

import { mkdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { configureNamespace, enterNamespace, isolation, MEDIA_ADDRESS } from './lib/network.mjs';

const here = fileURLToPath(import.meta.url);

const { values: options } = parseArgs({
  options: {
    router: { type: 'string', default: 'target/release/rillway' },
    driver: { type: 'string', default: 'auto' },
    artifacts: { type: 'string', default: 'tests/artifacts/browser' },
    only: { type: 'string', multiple: true, default: [] },
    set: { type: 'string', default: 'full' },
    list: { type: 'boolean', default: false },
    isolated: { type: 'boolean', default: false },
    once: { type: 'boolean', default: false },
  },
});

async function loadCases() {
  const sets = {
    full: ['environment', 'meeting', 'data', 'room', 'recording', 'reconnect', 'paths', 'direct', 'lobby', 'page', 'console', 'process'],
    driver: ['meeting', 'data'],
    whip: ['whip'],
    // By hand: two cores that encode three layers, of AV1 too, have little left.
    scalable: ['scalable'],
    metrics: ['metrics'],
    picture: ['picture'],
    mesh: ['mesh'],
  };
  const names = sets[options.set];
  if (!names) throw new Error(`unknown --set ${options.set}: one of ${Object.keys(sets).join(', ')}`);
  const modules = await Promise.all(names.map((name) => import(`./cases/${name}.mjs`)));
  const cases = modules.flatMap((module) => module.default).filter(({ set }) => !set || set === options.set);
  const wanted = options.only.map((part) => part.toLowerCase());
  return cases.filter(({ name }) => wanted.length === 0 || wanted.some((part) => name.toLowerCase().includes(part)));
}

async function inside(cases) {
  const { runCases } = await import('./lib/runner.mjs');
  const { Browsers } = await import('./lib/browsers.mjs');
  if (options.isolated) configureNamespace();
  const artifacts = path.resolve(options.artifacts);
  mkdirSync(artifacts, { recursive: true });
  const browsers = new Browsers();
  const context = {
    browsers,
    router: path.resolve(options.router),
    driver: options.driver,
    isolated: options.isolated,
    once: options.once,
    address: options.isolated ? MEDIA_ADDRESS : null,
    // What is kept of a run that went well.
    pictures: artifacts,
  };
  const counts = await runCases(cases, { artifacts, context });
  await browsers.close();
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  return counts.failed === 0 && counts.passed > 0 ? 0 : 1;
}

async function main() {
  const cases = await loadCases();
  if (options.list) {
    for (const { name } of cases) console.log(name);
    return 0;
  }
  if (cases.length === 0) throw new Error(`no case matches --only ${options.only.join(' ')}`);
  if (!options.isolated) {
    const { flags, reason } = isolation();
    if (flags) return enterNamespace(flags, here, [...process.argv.slice(2), '--isolated']);
    console.log(`  note  no network namespace (${reason}): running on this machine's own network`);
  }
  return inside(cases);
}

process.exit(await main());
