// A page of the suite's own, from another origin than the router's: clients of WHIP and WHEP live there, as
// they would on anybody's site, and have to be let in by CORS.

import http from 'node:http';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const PAGE = `<!doctype html><meta charset="utf-8"><title>clients</title>
<video autoplay playsinline muted></video><script type="module" src="/clients.js"></script>`;

let bundle = null;

async function script() {
  bundle ??= build({
    entryPoints: [fileURLToPath(new URL('./clients.js', import.meta.url))],
    bundle: true,
    format: 'esm',
    write: false,
    logLevel: 'warning',
  }).then((result) => result.outputFiles[0].text);
  return bundle;
}

/** Serves the page until the stage is cleared; resolves to its address. */
export async function serveClients(stage) {
  const files = { '/': ['text/html', PAGE], '/clients.js': ['text/javascript', await script()] };
  const server = http.createServer((request, response) => {
    const [type, body] = files[request.url] ?? [];
    response.writeHead(type ? 200 : 404, { 'content-type': type ?? 'text/plain' });
    response.end(body);
  });
  stage.defer(() => new Promise((done) => {
    server.closeAllConnections();
    server.close(done);
  }));
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}/`));
  });
}
