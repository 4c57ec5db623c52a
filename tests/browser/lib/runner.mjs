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

/** Runs one case once: `passed`, `failed` or `skipped`. */
async function attempt({ name, timeout = 120_000, run }, { context, folder, number }) {
  const stage = new Stage();
  const started = Date.now();
  const taken = () => `(${((Date.now() - started) / 1000).toFixed(1)} s)`;
  try {
    await limited(run({ ...context, stage, folder }), timeout, name);
    console.log(`  ok    ${name} ${taken()}${number > 1 ? ', at the second attempt' : ''}`);
    return 'passed';
  } catch (error) {
    if (error instanceof Skip) {
      console.log(`  skip  ${name}: ${error.message}`);
      return 'skipped';
    }
    console.log(`  FAIL  ${name} ${taken()}`);
    console.log(String(error.stack ?? error).replaceAll(/^/gm, '        '));
    await stage.testify(folder);
    console.log(`        artefacts: ${folder}`);
    return 'failed';
  } finally {
    await stage.clear();
  }
}

/**
 * Runs the cases one after the other and returns the counts. Browsers share a machine of two cores: what fails gets a
 * second attempt, and what passes then is named at the end, since that is news too.
 */
export async function runCases(cases, { artifacts, context }) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const flaky = [];
  for (const one of cases) {
    const folder = path.join(artifacts, one.name.replaceAll(/[^a-z0-9]+/gi, '-').toLowerCase());
    let result = await attempt(one, { context, folder, number: 1 });
    if (result === 'failed' && !context.once) {
      result = await attempt(one, { context, folder: `${folder}-2`, number: 2 });
      if (result !== 'failed') flaky.push(one.name);
    }
    counts[result] += 1;
  }
  if (flaky.length > 0) console.log(`note: flaky, passed at the second attempt: ${flaky.join(', ')}`);
  return counts;
}
