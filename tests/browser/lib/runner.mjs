// A small test runner: cases in order, each with a time limit, artefacts on failure, and a skip that is
// always counted as a skip.

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Thrown by a case that cannot run here; the reason is printed. */
export class Skip extends Error {}

export function skip(reason) {
  throw new Skip(reason);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Fails the case unless `condition` holds. `detail` may be any value that helps to see why. */
export function check(condition, message, detail) {
  if (condition) return;
  const more = detail === undefined ? '' : `\n${typeof detail === 'string' ? detail : JSON.stringify(detail, null, 1)}`;
  throw new Error(message + more);
}

/**
 * Polls `probe` until it returns something truthy, and returns that. `describe` (or the last value) is
 * part of the error when time runs out.
 */
export async function until(what, probe, { timeout = 15_000, interval = 200, describe } = {}) {
  const end = Date.now() + timeout;
  let last;
  for (;;) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      if (error instanceof Skip) throw error;
      last = error;
    }
    if (Date.now() > end) {
      const seen = describe ? await describe() : last instanceof Error ? last.message : last;
      throw new Error(`not within ${timeout} ms: ${what}; last seen: ${JSON.stringify(seen)}`);
    }
    await sleep(interval);
  }
}

function limited(promise, ms, name) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name}: no end after ${ms / 1000} s`)), ms);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Everything that has to be undone after a case, last first; shared by cases through `stage`. */
export class Stage {
  #undo = [];
  #witnesses = [];

  /** Registers a clean-up. */
  defer(undo) {
    this.#undo.push(undo);
  }

  /** Registers something that can write artefacts into a folder when the case fails. */
  witness(write) {
    this.#witnesses.push(write);
  }

  async testify(folder) {
    mkdirSync(folder, { recursive: true });
    for (const write of this.#witnesses) {
      try {
        await limited(write(folder), 10_000, 'artefact');
      } catch (error) {
        writeFileSync(path.join(folder, 'artefact-error.txt'), `${error.stack}\n`, { flag: 'a' });
      }
    }
  }

  async clear() {
    for (const undo of this.#undo.reverse()) {
      try {
        await limited(Promise.resolve(undo()), 15_000, 'clean-up');
      } catch (error) {
        console.log(`      clean-up: ${error.message}`);
      }
    }
    this.#undo = [];
    this.#witnesses = [];
  }
}

/** Runs the cases one after the other and returns the counts. */
export async function runCases(cases, { artifacts, context }) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { name, timeout = 120_000, run } of cases) {
    const stage = new Stage();
    const started = Date.now();
    const folder = path.join(artifacts, name.replaceAll(/[^a-z0-9]+/gi, '-').toLowerCase());
    try {
      await limited(run({ ...context, stage, folder }), timeout, name);
      counts.passed += 1;
      console.log(`  ok    ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
    } catch (error) {
      if (error instanceof Skip) {
        counts.skipped += 1;
        console.log(`  skip  ${name}: ${error.message}`);
      } else {
        counts.failed += 1;
        console.log(`  FAIL  ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
        console.log(String(error.stack ?? error).replaceAll(/^/gm, '        '));
        await stage.testify(folder);
        console.log(`        artefacts: ${folder}`);
      }
    }
    await stage.clear();
  }
  return counts;
}
