// @ts-check
// The two data channels of the publishing connection, paced so that the router's limits are never met.

import { Emitter } from "./emitter.js";
import { DIRECT_HEADER_BYTES, decodeDirect, encodeDirect, splitSender } from "./wire.js";

/** @typedef {"reliable" | "unreliable"} Label */

/** The part of the router's limit that we use: its clock and ours never agree exactly. */
const USED_SHARE = 0.8;
/** Bulk data waits while this much is queued in the browser, so that a chat line never waits long. */
const QUEUE_BYTES = 256 * 1024;

/** Bulk data waits for receipts of the other one of a direct call: what has none goes through the router in the end. */
const DIRECT_WAIT_MS = 10;

/** A token bucket. Small urgent messages may overdraw it; bulk data waits until it is filled again. */
export class Bucket {
  /**
   * @param {number} bytesPerSecond
   * @param {number} nowMs
   */
  constructor(bytesPerSecond, nowMs) {
    this.bytesPerSecond = bytesPerSecond;
    this.tokens = this.burst;
    this.lastMs = nowMs;
  }

  /** A quarter of a second's worth. */
  get burst() {
    return this.bytesPerSecond / 4;
  }

  /** @param {number} nowMs */
  #refill(nowMs) {
    const gained = ((nowMs - this.lastMs) / 1000) * this.bytesPerSecond;
    this.tokens = Math.min(this.burst, this.tokens + Math.max(0, gained));
    this.lastMs = nowMs;
  }

  /**
   * Takes the bytes whether they are there or not.
   * @param {number} bytes
   * @param {number} nowMs
   */
  take(bytes, nowMs) {
    this.#refill(nowMs);
    this.tokens -= bytes;
  }

  /**
   * How long to wait until `bytes` are there, milliseconds; more than the burst waits for a full bucket.
   * @param {number} bytes
   * @param {number} nowMs
   */
  waitMs(bytes, nowMs) {
    this.#refill(nowMs);
    const missing = Math.min(bytes, this.burst) - this.tokens;
    return missing <= 0 ? 0 : Math.ceil((missing / this.bytesPerSecond) * 1000);
  }
}

/**
 * Lives as long as the page; `attach` moves it to each new connection.
 *
 * Events: `open` and `close` of a label; `message` of another participant.
 * @extends {Emitter<{open: Label, close: Label, message: {label: Label, from: string, payload: Uint8Array}}>}
 */
export class DataChannels extends Emitter {
  /** @type {Partial<Record<Label, RTCDataChannel>>} */
  #channels = {};
  #bucket = new Bucket(1024 * 1024, performance.now());
  /** Largest message that can be sent, bytes. */
  messageBytes = 16 * 1024;
  /** Of the direct call that is, or was last. @type {import("./directdata.js").DirectData | null} */
  #direct = null;
  /** Whether messages go there, and whether they are to. */
  #diverted = false;
  #wanted = false;
  /** @type {(() => void)[]} */
  #off = [];

  /**
   * Opens both channels on a connection that has not been negotiated yet.
   * @param {RTCPeerConnection} connection
   */
  attach(connection) {
    this.detach();
    this.#add(connection.createDataChannel("reliable", { ordered: true }), "reliable");
    this.#add(connection.createDataChannel("unreliable", { ordered: false, maxRetransmits: 0 }), "unreliable");
  }

  detach() {
    for (const channel of Object.values(this.#channels)) {
      channel.onopen = channel.onclose = channel.onmessage = null;
      channel.close();
    }
    this.#channels = {};
    this.#wanted = this.#diverted = false;
  }

  /** @param {import("./protocol.js").Limits} limits */
  setLimits(limits) {
    const rate = Math.max(16 * 1024, (limits.dataBytesPerSecond || 0) * USED_SHARE);
    this.#bucket = new Bucket(rate, performance.now());
    this.messageBytes = Math.max(1024, limits.dataMessageBytes || 0) - DIRECT_HEADER_BYTES;
  }

  /** @param {Label} label */
  isOpen(label) {
    return this.#channels[label]?.readyState === "open";
  }

  /**
   * Takes what comes by a direct connection.
   * @param {import("./directdata.js").DirectData} direct
   */
  listen(direct) {
    this.divert(false);
    for (const off of this.#off) off();
    this.#direct = direct;
    this.#off = [direct.on("open", () => this.#settle()), direct.on("message", ({ label, payload }) => this.emit("message", { label, from: direct.participant, payload }))];
  }

  /**
   * Sends directly as soon as that can be, or through the router again: then also what is not known to have arrived.
   * @param {boolean} wanted
   */
  divert(wanted) {
    this.#wanted = wanted;
    this.#settle();
  }

  #settle() {
    const direct = this.#direct;
    if (!direct || this.#wanted === this.#diverted || (this.#wanted && !direct.isOpen)) return;
    if (this.#wanted) {
      // The other side takes what comes directly once it has all that was sent before.
      const marker = { again: false, call: direct.call, number: 0, payload: new Uint8Array(0) };
      this.#diverted = this.#put("reliable", encodeDirect(marker));
      return;
    }
    this.#diverted = false;
    for (const { number, bytes } of direct.takeUnknown()) {
      this.#put("reliable", encodeDirect({ again: true, call: direct.call, number, payload: bytes }));
    }
  }

  /** Bytes per second that may be sent. */
  get bytesPerSecond() {
    return this.#bucket.bytesPerSecond;
  }

  /**
   * Sends at once; false if the channel is not open or its queue is full.
   * @param {Label} label
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  send(label, bytes) {
    if (bytes.length > this.messageBytes) return false;
    if (!this.#diverted || !this.#direct) return this.#put(label, bytes);
    const sent = this.#direct.send(label, bytes);
    if (sent) this.#bucket.take(bytes.length, performance.now());
    return sent;
  }

  /**
   * Through the router.
   * @param {Label} label
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  #put(label, bytes) {
    const channel = this.#channels[label];
    if (!channel || channel.readyState !== "open") return false;
    // What is outdated soon is better dropped here than queued.
    if (label === "unreliable" && channel.bufferedAmount > 64 * 1024) return false;
    try {
      channel.send(bytes);
    } catch {
      return false;
    }
    this.#bucket.take(bytes.length, performance.now());
    return true;
  }

  /**
   * Sends on `reliable` when both the rate and the queue allow it. Rejects if the channel closes meanwhile.
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  async sendPaced(bytes) {
    for (;;) {
      const channel = this.#channels.reliable;
      if (!channel || channel.readyState !== "open") throw new Error("the data channel is closed");
      const waitMs = this.#bucket.waitMs(bytes.length, performance.now());
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      else if (this.#diverted && (this.#direct?.unknownBytes ?? 0) > this.#bucket.burst / 2) await pause(DIRECT_WAIT_MS);
      else if (channel.bufferedAmount > QUEUE_BYTES) await drained(channel);
      else if (this.send("reliable", bytes)) return;
      else throw new Error("the message could not be sent");
    }
  }

  /**
   * @param {Label} label
   * @param {{from: string, payload: Uint8Array}} message
   */
  #receive(label, { from, payload }) {
    const moved = label === "reliable" ? decodeDirect(payload) : null;
    if (!moved) {
      this.emit("message", { label, from, payload });
      return;
    }
    // Those who were not in that call have no use for it.
    const direct = this.#direct;
    if (direct?.participant !== from || direct.call !== moved.call) return;
    if (moved.again) direct.again(moved.number, moved.payload);
    else direct.caughtUp();
  }

  /**
   * @param {RTCDataChannel} channel
   * @param {Label} label
   */
  #add(channel, label) {
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = QUEUE_BYTES / 2;
    channel.onopen = () => {
      this.emit("open", label);
      this.#settle();
    };
    channel.onclose = () => this.emit("close", label);
    channel.onmessage = (event) => {
      const parts = event.data instanceof ArrayBuffer ? splitSender(event.data) : null;
      if (parts) this.#receive(label, parts);
    };
    this.#channels[label] = channel;
  }
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Resolves when the channel's queue is short again; a timer covers channels that close meanwhile.
 * @param {RTCDataChannel} channel
 * @returns {Promise<void>}
 */
function drained(channel) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      channel.removeEventListener("bufferedamountlow", done);
      channel.removeEventListener("close", done);
      resolve();
    };
    const timer = setTimeout(done, 1000);
    channel.addEventListener("bufferedamountlow", done);
    channel.addEventListener("close", done);
  });
}
