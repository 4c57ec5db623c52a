// Writes the table of docs/networks.md from the results of a run. What a run did not measure keeps its row only if the
// raw results still have it: they are merged by profile and browser.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { figures } from './profile.mjs';
import { PROFILES } from './profiles.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const DOCUMENT = path.join(root, 'docs/networks.md');
const RAW = path.join(root, 'benches/results/networks/networks.json');
const BEGIN = '<!-- The table: made by tests/browser/networks/run.mjs --write-docs. -->';
const END = '<!-- The end of the table. -->';

const PATHS = {
  udp: 'UDP', tcp: 'TCP', 'turn-udp': 'relay over UDP', 'turn-tcp': 'relay over TCP', 'turn-tls': 'relay over TLS',
};

const DIRECT = { straight: 'straight to the other participant', relayed: 'to the other participant by the relay' };

/** Puts new results in the place of old ones of the same profile and browser. */
function merged(results) {
  const key = ({ profile, engine }) => `${profile} ${engine}`;
  const old = existsSync(RAW) ? JSON.parse(readFileSync(RAW, 'utf8')) : [];
  const fresh = new Set(results.map(key));
  return [...old.filter((result) => !fresh.has(key(result))), ...results];
}

/** The try that counts: one that holds its bounds, else one that got anywhere, else whatever there is. */
function best(tries) {
  return tries.find((one) => !one.error && !one.late) ?? tries.find((one) => !one.error) ?? tries[0] ?? null;
}

const seconds = (ms) => (ms < 50 ? 'no gap' : `${(ms / 1000).toFixed(1)} s`);

function wayOf(ways) {
  const words = [...new Set(ways.map(({ path: one, family }) => `${PATHS[one] ?? one}, IP${family}`))];
  return words.join(' and ');
}

/** Path, time to connect, and time to resume, as three cells. */
function cells(result) {
  if (!result) return ['not run', '', ''];
  if (result.skipped) return [`skipped: ${result.skipped}`, '', ''];
  if (result.error) return [`**failed**: ${result.error.split('\n')[0].slice(0, 120).replaceAll('|', '/')}`, '', ''];
  if (result.told) return [`none; the page says so after ${seconds(result.told)}`, '', ''];
  const { connect, resume } = figures(result);
  const mark = (ms, bound) => (ms > bound ? `**${seconds(ms)}**` : seconds(ms));
  const after = result.pathsAfter && wayOf(result.pathsAfter) !== wayOf(result.paths) ? `, then ${wayOf(result.pathsAfter)}` : '';
  const past = result.direct ? `, then ${DIRECT[result.direct.way]} after ${seconds(result.direct.after)}` : '';
  return [`${wayOf(result.paths)}${after}${past}`, mark(connect, 3_000), resume === null ? '' : mark(resume, 2_000)];
}

/** The same in one cell. */
function short(result) {
  if (!result) return '';
  if (result.skipped) return 'skipped';
  if (result.error) return '**failed**';
  const [way, connect, resume] = cells(result);
  return [way, connect, resume].filter(Boolean).join('; ');
}

function table(results) {
  const of = (name, engine) => best(results.filter((one) => one.profile === name && one.engine === engine));
  const rows = PROFILES.map((profile) => {
    const does = profile.change ? `${profile.does}` : profile.does;
    const [way, connect, resume] = cells(of(profile.name, 'chromium'));
    return `| ${profile.name} | ${does} | ${way} | ${connect} | ${resume} | ${short(of(profile.name, 'firefox'))} |`;
  });
  return ['| network | what it does | path in Chromium | connected | again after the change | Firefox |',
    '|---|---|---|---|---|---|', ...rows].join('\n');
}

export function writeDocs(results) {
  const all = merged(results);
  mkdirSync(path.dirname(RAW), { recursive: true });
  writeFileSync(RAW, `${JSON.stringify(all, null, 1)}\n`);
  const text = readFileSync(DOCUMENT, 'utf8');
  const [before, rest] = text.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error(`${DOCUMENT} lacks the lines between which the table stands`);
  writeFileSync(DOCUMENT, `${before}${BEGIN}\n\n${table(all)}\n\n${END}${after}`);
}
