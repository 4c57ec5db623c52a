// A TCP relay before the gateway, one per person: cutting it is that person's network drop, as far as
// signaling goes.

import net from 'node:net';

export class Relay {
  #server;
  #target;
  #pairs = new Set();
  #broken = false;

  /** Relays a port of its own to the host and port of `url`. */
  static async start(url, stage) {
    const relay = new Relay();
    relay.#target = new URL(url);
    relay.#server = net.createServer((client) => relay.#accept(client));
    await new Promise((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    relay.url = `http://127.0.0.1:${relay.#server.address().port}/`;
    stage.defer(() => relay.close());
    return relay;
  }

  #accept(client) {
    if (this.#broken) {
      client.resetAndDestroy();
      return;
    }
    const server = net.connect(Number(this.#target.port), this.#target.hostname);
    const pair = { client, server };
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', end);
      socket.on('close', end);
    }
    client.pipe(server);
    server.pipe(client);
  }

  /** Breaks every connection, and refuses new ones until `mend`. */
  cut() {
    this.#broken = true;
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  /** Holds every byte back in both directions without closing anything: a network gone silent. */
  freeze() {
    for (const { client, server } of this.#pairs) {
      client.unpipe(server);
      server.unpipe(client);
      client.pause();
      server.pause();
    }
    this.#broken = true;
  }

  mend() {
    this.#broken = false;
  }

  close() {
    this.cut();
    return new Promise((done) => this.#server.close(done));
  }
}
