#!/usr/bin/env node
// Browsers in networks of many kinds: `node tests/browser/networks/run.mjs --router target/release/rillway
// [--few] [--only PART] [--write-docs] [--list]`. See docs/networks.md, and README.md in the folder above.

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { enterNamespace, isolation } from '../lib/network.mjs';
import { Skip, Stage, runCases } from '../lib/runner.mjs';
import { browsersIn, figures, late, runProfile } from './profile.mjs';
import { PROFILES } from './profiles.mjs';
import { certify, nameHosts, resolve } from './server.mjs';
import { writeDocs } from './table.mjs';
import { core, side } from './topology.mjs';
import { SERVER, World } from './world.mjs';

const here = fileURLToPath(import.meta.url);
/**
 * The bounds are those of an idle machine, and this one may be busy: the better of two tries has to hold them. With
 * `--few` (in tests/run) a time is no failure: only a wrong path is, and media that does not come.
 */
const TRIES = 2;

const { values: options } = parseArgs({
  options: {
    router: { type: 'string', default: 'target/release/rillway' },
    driver: { type: 'string', default: 'auto' },
    artifacts: { type: 'string', default: 'tests/artifacts/networks' },
    results: { type: 'string' },
    page: { type: 'string' },
    only: { type: 'string', multiple: true, default: [] },
    few: { type: 'boolean', default: false },
    'write-docs': { type: 'boolean', default: false },
    engine: { type: 'string', default: 'chromium' },
    list: { type: 'boolean', default: false },
    isolated: { type: 'boolean', default: false },
  },
});

function chosen() {
  const wanted = options.only.map((part) => part.toLowerCase());
  const all = PROFILES.filter(({ few }) => few || !options.few);
  return all.filter(({ name }) => wanted.length === 0 || wanted.some((part) => name.toLowerCase().includes(part)));
}

/** One try in a stage of its own, which is cleared; artefacts are kept if it fails. */
async function attempt(context, profile, number) {
  const stage = new Stage();
  let result = null;
  try {
    result = await runProfile({ ...context, stage }, profile, options.engine);
    result.late = late(result);
    if (result.late) await stage.testify(path.join(context.folder, `try-${number}`));
    return result;
  } catch (error) {
    if (!(error instanceof Skip)) await stage.testify(path.join(context.folder, `try-${number}`));
    throw error;
  } finally {
    await stage.clear();
  }
}

const seconds = (ms) => (ms === null ? '–' : `${(ms / 1000).toFixed(1)} s`);

async function tries(context, profile) {
  const { engine } = options;
  let failure = null;
  for (let number = 1; number <= TRIES; number += 1) {
    try {
      const result = await attempt(context, profile, number);
      result.number = number;
      context.results.push(result);
      const { connect, resume } = figures(result);
      console.log(`        try ${number}: ${result.paths?.map((way) => way.path).join(', ') ?? 'nothing'}`
        + `, connected ${seconds(connect)}, resumed ${seconds(resume)}`
        + (result.direct ? `, ${result.direct.way} after ${seconds(result.direct.after)}` : ''));
      if (!result.late) return;
      if (options.few) {
        console.log(`        note: ${result.late}`);
        return;
      }
      failure = new Error(result.late);
    } catch (error) {
      if (error instanceof Skip) {
        context.results.push({ profile: profile.name, engine, skipped: error.message });
        throw error;
      }
      context.results.push({ profile: profile.name, engine, number, error: error.message });
      failure = error;
      console.log(`        try ${number}: ${error.message.split('\n')[0].slice(0, 300)}`);
    }
  }
  throw failure;
}

async function inside(profiles) {
  const artifacts = path.resolve(options.artifacts);
  mkdirSync(artifacts, { recursive: true });
  const world = new World();
  world.run(SERVER, 'ip link set lo up');
  const hosts = nameHosts();
  const files = certify();
  await core(world);
  const restorePeer = () => side(world, { side: 'peer', name: 'peer' });
  await restorePeer();
  await resolve(world, 'peer', hosts);
  const peerBrowsers = browsersIn(world, 'peer');
  const results = [];
  const context = {
    world, files, hosts, peerBrowsers, restorePeer, results,
    router: path.resolve(options.router),
    driver: options.driver,
    // Each profile has tries of its own.
    once: true,
    page: options.page && path.resolve(options.page),
  };
  const cases = profiles.map((profile) => ({
    name: `networks: ${profile.name}`,
    timeout: 240_000,
    // Written each time, so that a run which is broken off has not been for nothing.
    run: (own) => tries(own, profile).finally(() => options['write-docs'] && writeDocs(results)),
  }));
  const counts = await runCases(cases, { artifacts, context });
  await peerBrowsers.close();
  await world.close();
  const raw = `${JSON.stringify(results, null, 1)}\n`;
  writeFileSync(path.join(artifacts, 'results.json'), raw);
  if (options.results) writeFileSync(path.resolve(options.results), raw);
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  if (counts.failed > 0) return 1;
  if (counts.passed > 0) return 0;
  console.log(`skip: ${results[0]?.skipped ?? 'nothing was run'}`);
  return 77;
}

async function main() {
  const profiles = chosen();
  if (options.list) {
    for (const { name, does } of profiles) console.log(`${name}: ${does}`);
    return 0;
  }
  if (profiles.length === 0) throw new Error(`no profile matches --only ${options.only.join(' ')}`);
  if (options.isolated) return inside(profiles);
  const { flags, reason } = isolation();
  const why = flags ? !flags.includes('--mount') && 'no mount namespace of its own' : reason;
  if (why) {
    console.log(`skip: networks need namespaces: ${why}`);
    return 77;
  }
  return enterNamespace(flags, here, [...process.argv.slice(2), '--isolated']);
}

process.exit(await main());
