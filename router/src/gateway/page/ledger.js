// @ts-check
// What a session needs to go on over another WebSocket as if nothing had happened: a key that nobody else knows, what we
// have had of the server's messages, and ours that it may not have had. See “Going on” in docs/protocol-rooms.md.

const PREFIX = "rillway.session.";
/** Messages kept, and their length in all; with more unanswered than that a session begins anew. */
const KEPT_MAX = 256;
const KEPT_LENGTH_MAX = 256 * 1024;

function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Ledger {
  #key;
  #received = 0;
  /** @type {string[]} */
  #kept = [];
  #length = 0;
  /** How many came before the first of them. */
  #before = 0;

  /** @param {string} [key] */
  constructor(key = randomKey()) {
    this.#key = key;
  }

  /** That of a new session, which the server knows by the same key. */
  anew() {
    return new Ledger(this.#key);
  }

  /** What to offer a WebSocket beside the protocol. */
  get subprotocol() {
    return `${PREFIX}${this.#key}.${this.#received}`;
  }

  /** The server's next message is here. */
  had() {
    this.#received += 1;
  }

  /**
   * Keeps a message of ours until the server certainly has it.
   * @param {string} text
   * @returns {number} its number
   */
  keep(text) {
    this.#kept.push(text);
    this.#length += text.length;
    while (this.#kept.length > KEPT_MAX || this.#length > KEPT_LENGTH_MAX) this.#forget();
    return this.#before + this.#kept.length;
  }

  /**
   * The server has it, and all before it.
   * @param {number} number
   */
  acknowledge(number) {
    while (this.#before < number && this.#kept.length > 0) this.#forget();
  }

  /**
   * Ours after so many; `null`: not all of them are here any more.
   * @param {number} count
   */
  after(count) {
    if (count < this.#before || count > this.#before + this.#kept.length) return null;
    return this.#kept.slice(count - this.#before);
  }

  #forget() {
    this.#length -= this.#kept.shift()?.length ?? 0;
    this.#before += 1;
  }
}
