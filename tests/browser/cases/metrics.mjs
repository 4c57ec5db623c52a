// What Prometheus reads while a call goes on.

import { spawnSync } from 'node:child_process';
import { join, receives } from '../lib/meeting.mjs';
import { Router } from '../lib/router.mjs';
import { check, skip, sleep } from '../lib/runner.mjs';

const SMALL = { width: '320', height: '180', simulcast: '0' };

export default [{
  name: 'metrics: promtool finds nothing to complain about during a call',
  timeout: 90_000,
  async run(context) {
    if (spawnSync('promtool', ['--version']).error) skip('no promtool (tests/setup/install promtool)');
    const router = await Router.start(context);
    const clients = [];
    for (const name of ['Ada', 'Grace']) {
      clients.push(await join(context, { engine: 'chromium', name, room: 'desk', url: router.url, search: SMALL }));
    }
    await Promise.all(clients.map((client) => receives(client, 1)));
    await sleep(2500); // workers flush their counters once a second
    const text = await router.metricsText();
    const linted = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    check(linted.status === 0 && linted.stderr.trim() === '' && linted.stdout.trim() === '',
      `promtool check metrics: status ${linted.status}`, `${linted.stdout}${linted.stderr}\n${text}`);
    check(text.split('\n').filter((line) => line && !line.startsWith('#')).length >= 10, 'there are metrics', text);
  },
}];
