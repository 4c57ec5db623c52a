// @ts-check
// The rooms protocol, version 1, over a WebSocket: requests and their answers, liveness, reconnection.
// Knows nothing of media. The protocol itself is described in docs/protocol-rooms.md.

import { Emitter } from "./emitter.js";

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
/** How long a WebSocket may take to open, milliseconds. */
const OPEN_MS = 8_000;
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
 * One WebSocket at a time, opened again whenever it is lost, until `stop`.
 *
 * Events: `up`: open, join now. `message`: anything that is not the answer to a request. `down`: lost or could
 * not be opened; `retryMs` is the time to the next attempt, `null` if there will be none.
 * @extends {Emitter<{up: void, message: Message, down: {code: number, reason: string, retryMs: number | null}}>}
 */
export class Connection extends Emitter {
  /** @type {WebSocket | null} */
  #socket = null;
  #url;
  #nextId = 1;
  #attempt = 0;
  #wanted = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #pinger;
  /** @type {Map<number, {resolve: (message: Message) => void, reject: (error: ProtocolError) => void, timer: ReturnType<typeof setTimeout>}>} */
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
    clearTimeout(this.#timer);
    this.#drop(1000, "left");
  }

  /** Tells the connection that the join worked: the next loss starts with a short delay again. */
  settled() {
    this.#attempt = 0;
  }

  /** Drops the connection, if any, and opens another at once. */
  reconnect() {
    this.#wanted = true;
    clearTimeout(this.#timer);
    this.#drop(1000, "reconnecting");
    this.#open();
  }

  /** Drops the connection and opens another after the usual delay. */
  fail(/** @type {string} */ reason) {
    this.#lost(4000, reason);
  }

  /** Does not wait for the delay to pass, if one is running. */
  retryNow() {
    if (this.#wanted && !this.#socket) {
      clearTimeout(this.#timer);
      this.#open();
    }
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /**
   * Sends a message that has no answer. Nothing happens while the connection is down.
   * @param {string} type
   * @param {object} [members]
   */
  notify(type, members = {}) {
    if (this.isOpen) this.#socket?.send(JSON.stringify({ type, ...members }));
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
      const socket = this.#socket;
      if (!socket || socket.readyState !== WebSocket.OPEN) {
        reject(new ProtocolError("disconnected", "not connected"));
        return;
      }
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new ProtocolError("timeout", `the server did not answer “${type}”`));
      }, timeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
      socket.send(JSON.stringify({ type, id, ...members }));
    });
  }

  /**
   * Checks whether the other end is still there, and gives the connection up if it is not; `urgent`: another one is
   * opened at once then.
   */
  async probe(timeoutMs = PONG_MS, urgent = false) {
    const socket = this.#socket;
    const sent = performance.now();
    try {
      await this.request("ping", {}, timeoutMs);
      this.roundTripMs = performance.now() - sent;
    } catch (error) {
      const silent = error instanceof ProtocolError && error.code === "timeout";
      if (!silent || this.#socket !== socket) return;
      this.#lost(4000, "the server stopped answering");
      if (urgent) this.retryNow();
    }
  }

  #open() {
    this.#drop(1000, "");
    let socket;
    try {
      socket = new WebSocket(this.#url, SUBPROTOCOL);
    } catch {
      this.#lost(1006, "the address is not valid");
      return;
    }
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#lost(1006, "the server does not answer"), OPEN_MS);
    socket.onopen = () => {
      clearTimeout(this.#timer);
      this.#pinger = setInterval(() => void this.probe(), PING_EVERY_MS);
      this.emit("up", undefined);
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
  }

  /** @param {unknown} data */
  #receive(data) {
    /** @type {Message} */
    let message;
    try {
      message = JSON.parse(String(data));
    } catch {
      console.warn("the server sent something that is not JSON");
      return;
    }
    const pending = typeof message.id === "number" ? this.#pending.get(message.id) : undefined;
    if (!pending) {
      this.emit("message", message);
      return;
    }
    this.#pending.delete(message.id);
    clearTimeout(pending.timer);
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
    this.#drop(1000, "");
    if (!this.#wanted) return;
    // 4001 and 4003 are decisions about this client: trying again would only repeat them.
    const final = code === 4001 || code === 4003;
    const retryMs = final ? null : backoffMs(this.#attempt++);
    if (final) this.#wanted = false;
    clearTimeout(this.#timer);
    if (retryMs !== null) this.#timer = setTimeout(() => this.#open(), retryMs);
    this.emit("down", { code, reason, retryMs });
  }

  /**
   * Forgets the socket without waiting for its closing handshake, which a dead network would never finish.
   * @param {number} code
   * @param {string} reason
   */
  #drop(code, reason) {
    clearInterval(this.#pinger);
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(code, reason);
    }
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(new ProtocolError("disconnected", "the connection was lost"));
    }
    this.#pending.clear();
  }
}
