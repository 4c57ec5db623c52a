// @ts-check
// The rooms protocol, version 1, over WebSockets: requests and their answers, liveness, reconnection.
// Knows nothing of media. The protocol itself is described in docs/protocol-rooms.md.

import { Emitter } from "./emitter.js";
import { Ledger } from "./ledger.js";

/** @typedef {"camera" | "microphone" | "screen" | "screen_audio" | "other"} Source */
/** @typedef {"publish" | "subscribe"} Direction */
/** @typedef {{id: string, identity: string, name: string | null, attributes: Record<string, string>, joinedAtMs: number}} Participant */
/** @typedef {{spatial: number, temporal: number, rid: string | null, bitrateBps: number, active: boolean}} Layer */
/** @typedef {{id: string, participant: string, kind: "audio" | "video", source: Source, codec: string, muted: boolean, layers: Layer[]}} Track */
/** @typedef {{publish: Source[], subscribe: boolean, publishData: boolean, recordControl: boolean, maxPublishBps: number | null, expiresAtMs: number | null}} Grant */
/** @typedef {{dataMessageBytes: number, dataBytesPerSecond: number, sdpBytes: number, tracksPerParticipant: number, subscriptionsPerParticipant: number}} Limits */
/** @typedef {{id: number, version: number, room: string, participant: Participant, participants: Participant[], tracks: Track[], grant: Grant, limits: Limits, iceServers: RTCIceServer[]}} Joined */
/** @typedef {{offerId: number, sdp: string, tracks: {mid: string, track: string | null}[]}} Offer */
/** @typedef {{sdp: string, tracks: {mid: string, track: string}[]}} Published */
/** @typedef {Record<string, any> & {type: string}} Message what the server sends; members as in the protocol */

export const SUBPROTOCOL = "rillway.rooms.v1";

/** How long an answer may take, milliseconds. */
const ANSWER_MS = 10_000;
/** How long a WebSocket may take to open, milliseconds: the longest, and of the first that is to go on with a session. */
const OPEN_MS = 8_000;
const OPEN_AGAIN_MS = 700;
/** How long the first attempt to go on is put off at most, so that not all clients of a server come at once. */
const SPREAD_MS = 100;
/** Where something is odd, how long an answer may take before another WebSocket takes over. */
const DOUBT_MS = 200;
/** Close code of a WebSocket that another one replaces; any other ends the session. */
const GOES_ON = 4002;
/** How often the connection is probed, and how long the probe's answer may take, milliseconds. */
const PING_EVERY_MS = 5_000;
const PONG_MS = 7_000;

/** An answer of type `error`, or no answer at all (`code` is then `disconnected` or `timeout`). */
export class ProtocolError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {boolean} [fatal] the server closes the connection next
   */
  constructor(code, message, fatal = false) {
    super(message);
    this.name = "ProtocolError";
    this.code = code;
    this.fatal = fatal;
  }
}

/**
 * The delay before attempt number `attempt` (from 0): doubling from 0.4 s to 15 s, and a random part so that
 * all clients of a restarted server do not return in the same instant.
 * @param {number} attempt
 * @param {number} [random] from 0 to below 1
 * @returns {number} milliseconds
 */
export function backoffMs(attempt, random = Math.random()) {
  const most = Math.min(15_000, 400 * 2 ** Math.min(attempt, 10));
  return Math.round(most * (0.5 + random / 2));
}

/**
 * @typedef {object} Pending a request without an answer yet
 * @property {(message: Message) => void} resolve
 * @property {(error: ProtocolError) => void} reject
 * @property {ReturnType<typeof setTimeout>} timer
 * @property {number} number that of its message
 */

/**
 * A session over one WebSocket at a time. Where one breaks, another takes over, and nothing is lost; if the server does
 * not know the session any more, or we do not want it, a new one begins. Until `stop`.
 *
 * Events: `up`: a new session, join now. `resumed`: it goes on. `message`: anything that is not the answer to a request.
 * `down`: lost, or could not be opened; `retryMs` is the time to the next attempt, `null` if there will be none.
 * @extends {Emitter<{up: void, resumed: void, message: Message, down: {code: number, reason: string, retryMs: number | null}}>}
 */
export class Connection extends Emitter {
  /** @type {WebSocket | null} */
  #socket = null;
  /** The server has greeted us on it. */
  #greeted = false;
  /** There is a session, which the next WebSocket may go on with. */
  #live = false;
  #ledger = new Ledger();
  #doubted = false;
  #url;
  #nextId = 1;
  #attempt = 0;
  #wanted = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #pinger;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** Time the last probe took, milliseconds; `null` before the first. @type {number | null} */
  roundTripMs = null;

  /** @param {string} url */
  constructor(url) {
    super();
    this.#url = url;
  }

  start() {
    this.#wanted = true;
    this.#open();
  }

  /** Closes for good. */
  stop() {
    this.#wanted = false;
    this.#forget();
    this.#drop();
  }

  /** Tells the connection that the join worked: the next loss starts with a short delay again. */
  settled() {
    this.#attempt = 0;
  }

  /** Ends the session, if any, and begins another at once. */
  reconnect() {
    this.#wanted = true;
    this.#forget();
    this.#drop();
    this.#open();
  }

  /** Ends the session and begins another after the usual delay. */
  fail(/** @type {string} */ reason) {
    this.#lost(4000, reason);
  }

  /** Does not wait for the delay to pass, if one is running. */
  retryNow() {
    if (this.#wanted && !this.#socket) this.#open();
  }

  get isOpen() {
    return this.#greeted && this.#socket?.readyState === WebSocket.OPEN;
  }

  /**
   * Sends a message that has no answer. Nothing happens while there is no session.
   * @param {string} type
   * @param {object} [members]
   */
  notify(type, members = {}) {
    if (this.#live) this.#send(JSON.stringify({ type, ...members }));
  }

  /**
   * Sends a request; resolves with its answer, rejects with a `ProtocolError`.
   * @param {string} type
   * @param {object} [members]
   * @param {number} [timeoutMs]
   * @returns {Promise<Message>}
   */
  request(type, members = {}, timeoutMs = ANSWER_MS) {
    return new Promise((resolve, reject) => {
      if (!this.#live) {
        reject(new ProtocolError("disconnected", "not connected"));
        return;
      }
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new ProtocolError("timeout", `the server did not answer “${type}”`));
      }, timeoutMs);
      const number = this.#send(JSON.stringify({ type, id, ...members }));
      this.#pending.set(id, { resolve, reject, timer, number });
    });
  }

  /** @param {string} text */
  #send(text) {
    const number = this.#ledger.keep(text);
    if (this.isOpen) this.#socket?.send(text);
    return number;
  }

  /** Checks whether the other end is still there, and looks for another way to it if it is not. */
  async probe(timeoutMs = PONG_MS) {
    const socket = this.#socket;
    const sent = performance.now();
    try {
      await this.request("ping", {}, timeoutMs);
      this.roundTripMs = performance.now() - sent;
    } catch (error) {
      const silent = error instanceof ProtocolError && error.code === "timeout";
      if (silent && this.#socket === socket) this.#lost(1006, "the server stopped answering");
    }
  }

  /**
   * Something is odd: asks whether the other end is still there, and if it does not answer soon goes on over another
   * WebSocket. Nothing is lost by that if this one was only slow.
   */
  async doubt() {
    if (!this.isOpen || this.#doubted) return;
    const socket = this.#socket;
    this.#doubted = true;
    const patience = Math.max(DOUBT_MS, 3 * (this.roundTripMs ?? 0));
    const asked = this.request("ping").then(() => true, () => true);
    const answered = await Promise.race([asked, pause(patience).then(() => false)]);
    this.#doubted = false;
    if (!answered && this.#socket === socket) this.#open();
  }

  #open() {
    this.#drop();
    let socket;
    try {
      socket = new WebSocket(this.#url, [SUBPROTOCOL, this.#ledger.subprotocol]);
    } catch {
      this.#lost(1006, "the address is not valid");
      return;
    }
    this.#socket = socket;
    const again = Math.max(OPEN_AGAIN_MS, 6 * (this.roundTripMs ?? 0)) * 2 ** Math.min(this.#attempt, 5);
    const patience = this.#live ? Math.min(OPEN_MS, again) : OPEN_MS;
    this.#timer = setTimeout(() => this.#lost(1006, "the server does not answer"), patience);
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
  }

  /**
   * The first message on a WebSocket.
   * @param {Message} greeting
   */
  #greet({ resumed, received }) {
    const missing = this.#live && resumed ? this.#ledger.after(received) : null;
    if (resumed && !missing) {
      this.#lost(4000, "messages to the server were lost");
      return;
    }
    clearTimeout(this.#timer);
    this.#greeted = true;
    this.#pinger = setInterval(() => void this.probe(), PING_EVERY_MS);
    if (missing) {
      this.#attempt = 0;
      for (const text of missing) this.#socket?.send(text);
      this.emit("resumed", undefined);
      return;
    }
    if (this.#live) this.#forget(false);
    this.#live = true;
    this.emit("up", undefined);
  }

  /** @param {unknown} data */
  #receive(data) {
    const message = parsed(data);
    if (!this.#greeted) {
      this.#greet(message ?? { type: "" });
      return;
    }
    this.#ledger.had();
    if (!message) return;
    const pending = typeof message.id === "number" ? this.#pending.get(message.id) : undefined;
    if (!pending) {
      this.emit("message", message);
      return;
    }
    this.#pending.delete(message.id);
    clearTimeout(pending.timer);
    this.#ledger.acknowledge(pending.number);
    if (message.type === "error") {
      pending.reject(new ProtocolError(message.code, message.message, message.fatal));
    } else {
      pending.resolve(message);
    }
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    // Anything but a broken connection is somebody's decision: the session is over.
    const goesOn = code === 1006 && this.#live;
    if (!goesOn) this.#forget();
    this.#drop();
    if (!this.#wanted) return;
    // 4001 and 4003 are decisions about this client: trying again would only repeat them.
    const final = code === 4001 || code === 4003;
    const first = goesOn && this.#attempt === 0;
    const retryMs = final ? null : first ? Math.round(Math.random() * SPREAD_MS) : backoffMs(this.#attempt);
    this.#attempt += 1;
    if (final) this.#wanted = false;
    if (retryMs !== null) this.#timer = setTimeout(() => this.#open(), retryMs);
    this.emit("down", { code, reason, retryMs });
  }

  /** The session is over; `key`: its key too. */
  #forget(key = true) {
    this.#live = false;
    this.#ledger = key ? new Ledger() : this.#ledger.anew();
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(new ProtocolError("disconnected", "the connection was lost"));
    }
    this.#pending.clear();
  }

  /** Forgets the socket without waiting for its closing handshake, which a dead network would never finish. */
  #drop() {
    clearInterval(this.#pinger);
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    this.#greeted = false;
    if (!socket) return;
    const code = this.#live ? GOES_ON : 1000;
    socket.onmessage = socket.onclose = null;
    // Closed while it opens, it would be an error in Firefox's console.
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(code);
    else socket.close(code);
  }
}

/**
 * @param {unknown} data
 * @returns {Message | null}
 */
function parsed(data) {
  try {
    return JSON.parse(String(data));
  } catch {
    console.warn("the server sent something that is not JSON");
    return null;
  }
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
