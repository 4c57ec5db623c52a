// How the process ends, and what it says to a broken file.

import { spawnSync } from 'node:child_process';
import { join, receives } from '../lib/meeting.mjs';
import { Router, writeConfiguration } from '../lib/router.mjs';
import { check, until } from '../lib/runner.mjs';

const SMALL = { width: '320', height: '180', simulcast: '0' };

function signalCase(signal) {
  return {
    name: `process: ${signal} tells the clients and ends with 0`,
    timeout: 90_000,
    async run(context) {
      const router = await Router.start(context, { extra: '[shutdown]\nnotice_ms = 1500\n' });
      const clients = [];
      for (const [engine, name] of [['chromium', 'Ada'], ['firefox', 'Grace']]) {
        clients.push(await join(context, { engine, name, room: 'desk', url: router.url, search: SMALL }));
      }
      await Promise.all(clients.map((client) => receives(client, 1)));
      const since = Date.now();
      const ending = router.end(signal);
      const noticed = clients.map((client) => until(`${client.name} is told`, async () => (
        (await client.snapshot()).state !== 'joined'), { timeout: 6000, interval: 50 }));
      const end = await ending;
      const took = Date.now() - since;
      check(end.code === 0, `exit code after ${signal}`, { end, log: router.log });
      check(took < 4000, `took ${took} ms to end`, router.log);
      await Promise.all(noticed);
    },
  };
}

const brokenFile = {
  name: 'process: a misspelt key ends with 78, its line and the nearest key',
  timeout: 20_000,
  async run({ router }) {
    const file = writeConfiguration('[media]\nworkers = 1\nfirst_prot = 40000\n');
    for (const args of [['dev', '--config', file], ['check', file]]) {
      const done = spawnSync(router, args, { encoding: 'utf8', timeout: 10_000 });
      const said = done.stdout + done.stderr;
      check(done.status === 78, `exit code of ${args[0]}`, { status: done.status, said });
      check(said.includes(`${file}:3`), `${args[0]} names file and line`, said);
      check(said.includes('first_prot') && said.includes('first_port'), `${args[0]} names the nearest key`, said);
    }
  },
};

export default [signalCase('SIGTERM'), signalCase('SIGINT'), brokenFile];
