// @ts-check
// Data of a direct call. Messages of `reliable` are numbered and kept until the other side has them: when the call
// moves back, or breaks, those that are not known to have arrived go through the router once more, and none is taken
// twice.

import { Emitter } from "./emitter.js";

/** @typedef {import("./datachannel.js").Label} Label */
/** @typedef {{number: number, bytes: Uint8Array<ArrayBuffer>}} Numbered */

const MESSAGE = 0;
const RECEIPT = 1;
const HEADER_BYTES = 5;
/** What was sent through the router before the call moved is waited for so long, milliseconds. */
const HOLD_MS = 2_000;

/** @extends {Emitter<{open: void, message: {label: Label, payload: Uint8Array}}>} */
export class DirectData extends Emitter {
  /** @type {Partial<Record<Label, RTCDataChannel>>} */
  #channels = {};
  #sent = 0;
  /** @type {Numbered[]} */
  #unknown = [];
  /** The last one that we have. */
  #have = 0;
  /** Came before all that was sent through the router had. `null`: nothing is waited for. @type {Uint8Array[] | null} */
  #held = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {number} call
   * @param {string} participant the other one
   */
  constructor(call, participant) {
    super();
    this.call = call;
    this.participant = participant;
  }

  /**
   * Opens both channels on a connection that has not been negotiated yet; the other side does the same.
   * @param {RTCPeerConnection} connection
   */
  attach(connection) {
    this.#add("reliable", connection.createDataChannel("reliable", { negotiated: true, id: 1, ordered: true }));
    this.#add("unreliable", connection.createDataChannel("unreliable", { negotiated: true, id: 2, ordered: false, maxRetransmits: 0 }));
  }

  get isOpen() {
    return this.#channels.reliable?.readyState === "open" && this.#channels.unreliable?.readyState === "open";
  }

  /** Bytes that are not known to have arrived. */
  get unknownBytes() {
    return this.#unknown.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  /**
   * @param {Label} label
   * @param {Uint8Array<ArrayBuffer>} bytes
   * @returns {boolean} false: not sent. What is `reliable` is never refused, but goes through the router in the end.
   */
  send(label, bytes) {
    if (label === "reliable") {
      const number = ++this.#sent;
      this.#unknown.push({ number, bytes });
      this.#put("reliable", framed(MESSAGE, number, bytes));
      return true;
    }
    const waiting = this.#channels.unreliable?.bufferedAmount ?? Infinity;
    return waiting <= 64 * 1024 && this.#put("unreliable", bytes);
  }

  /** What has to go through the router; nothing is kept any more. */
  takeUnknown() {
    return this.#unknown.splice(0);
  }

  /** All that the other side sent through the router before has come. */
  caughtUp() {
    clearTimeout(this.#timer);
    const held = this.#held ?? [];
    this.#held = null;
    for (const payload of held) this.emit("message", { label: "reliable", payload });
  }

  /**
   * A message that came once more, through the router.
   * @param {number} number
   * @param {Uint8Array} payload
   */
  again(number, payload) {
    this.caughtUp();
    if (number <= this.#have) return;
    this.#have = number;
    this.emit("message", { label: "reliable", payload });
  }

  /**
   * @param {Label} label
   * @param {RTCDataChannel} channel
   */
  #add(label, channel) {
    channel.binaryType = "arraybuffer";
    channel.onopen = () => {
      if (this.isOpen) this.emit("open", undefined);
    };
    channel.onmessage = ({ data }) => {
      if (!(data instanceof ArrayBuffer)) return;
      if (label === "unreliable") this.emit("message", { label, payload: new Uint8Array(data) });
      else this.#receive(data);
    };
    this.#channels[label] = channel;
  }

  /** @param {ArrayBuffer} data */
  #receive(data) {
    if (data.byteLength < HEADER_BYTES) return;
    const view = new DataView(data);
    const number = view.getUint32(1);
    if (view.getUint8(0) === RECEIPT) {
      while (this.#unknown[0] && this.#unknown[0].number <= number) this.#unknown.shift();
      return;
    }
    this.#put("reliable", framed(RECEIPT, number, new Uint8Array(0)));
    if (number <= this.#have) return;
    this.#have = number;
    const payload = new Uint8Array(data, HEADER_BYTES);
    if (this.#held) {
      this.#held.push(payload);
      this.#timer ??= setTimeout(() => this.caughtUp(), HOLD_MS);
    } else {
      this.emit("message", { label: "reliable", payload });
    }
  }

  /**
   * @param {Label} label
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  #put(label, bytes) {
    const channel = this.#channels[label];
    if (channel?.readyState !== "open") return false;
    try {
      channel.send(bytes);
      return true;
    } catch {
      return false;
    }
  }
}

/**
 * @param {number} kind
 * @param {number} number
 * @param {Uint8Array} bytes
 * @returns {Uint8Array<ArrayBuffer>}
 */
function framed(kind, number, bytes) {
  const frame = new Uint8Array(HEADER_BYTES + bytes.length);
  const view = new DataView(frame.buffer);
  view.setUint8(0, kind);
  view.setUint32(1, number);
  frame.set(bytes, HEADER_BYTES);
  return frame;
}
