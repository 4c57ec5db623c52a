// @ts-check
// The sending half of files.js.

import { PieceSet } from "./ranges.js";
import { PIECE_HEADER_BYTES, encodeJson, encodePiece, sha256Hex } from "./wire.js";

/** @typedef {import("./files.js").FileEntry} FileEntry */
/** @typedef {import("./files.js").Carrier} Carrier */

const PIECE_BYTES = 32 * 1024;
/** Bytes per second at first; what was lost halves it, what was not raises it. Leaves room for pictures and sound. */
const START_RATE = 1024 * 1024;
const MOST_RATE = 2 * START_RATE;
const LEAST_RATE = 64 * 1024;
const CATCH_UP_MS = 150;
/** How long requests are served after the last piece. */
const SERVE_MS = 60_000;
/** Receivers that stay silent are reminded, so often and so many times. */
const REMIND_MS = 3_000;
const MAX_REMINDERS = 5;

/**
 * @typedef {object} Outgoing
 * @property {FileEntry} entry
 * @property {number} transfer
 * @property {Blob} blob
 * @property {number} pieceBytes
 * @property {PieceSet} sent
 * @property {Set<string>} expected participants who were told
 * @property {Set<string>} got
 * @property {boolean} pumping
 * @property {number} doneMs time of the last piece; 0: not yet
 * @property {number} reminders sent since
 */

export class FileSender {
  /** @type {Map<number, Outgoing>} */
  #outgoing = new Map();
  #nextTransfer = 1;
  #nextKey = 1;
  #rate = START_RATE;
  /** When the next piece of any file may be sent. */
  #dueMs = 0;
  #carrier;
  #changed;
  #now;

  /**
   * @param {Carrier} carrier
   * @param {(entry: FileEntry) => void} changed new or in another state
   */
  constructor(carrier, changed) {
    this.#carrier = carrier;
    this.#changed = changed;
    this.#now = carrier.nowMs ?? (() => performance.now());
  }

  /**
   * @param {Blob} blob
   * @param {string} name
   * @returns {Promise<FileEntry>} when every piece was sent once
   */
  async send(blob, name) {
    /** @type {FileEntry} */
    const entry = {
      key: `out:${this.#nextKey++}`, direction: "out", from: this.#carrier.me(), name, size: blob.size, progress: 0,
      status: "preparing", note: "", sha256: "", ok: false, url: null,
    };
    this.#changed(entry);
    entry.sha256 = await sha256Hex(await blob.arrayBuffer());
    await this.#start(entry, blob);
    return entry;
  }

  /**
   * @param {FileEntry} entry
   * @param {Blob} blob
   */
  async #start(entry, blob) {
    const pieceBytes = Math.max(1, Math.min(PIECE_BYTES, this.#carrier.messageBytes() - PIECE_HEADER_BYTES));
    const transfer = this.#nextTransfer++;
    /** @type {Outgoing} */
    const outgoing = {
      entry, transfer, blob, pieceBytes, sent: new PieceSet(Math.ceil(blob.size / pieceBytes)),
      expected: new Set(this.#carrier.others()), got: new Set(), pumping: false, doneMs: 0, reminders: 0,
    };
    this.#outgoing.set(transfer, outgoing);
    entry.status = "running";
    entry.from = this.#carrier.me();
    await this.#announce(outgoing);
    await this.#pump(outgoing);
  }

  /** Reminds receivers that stay silent, and forgets what is finished. */
  tick() {
    const now = this.#now();
    for (const [transfer, outgoing] of this.#outgoing) {
      if (!outgoing.doneMs || outgoing.pumping) continue;
      const waiting = [...outgoing.expected].some((id) => !outgoing.got.has(id));
      if (now - outgoing.doneMs > SERVE_MS) {
        this.#outgoing.delete(transfer);
      } else if (waiting && outgoing.reminders < MAX_REMINDERS && now - outgoing.doneMs > REMIND_MS * (outgoing.reminders + 1)) {
        // Announcement and end may both have been lost.
        outgoing.reminders++;
        this.#carrier.sendPaced(encodeJson({ t: "file-end", n: transfer })).catch(() => {});
      }
    }
  }

  /** @param {string} id of somebody who left */
  participantLeft(id) {
    for (const outgoing of this.#outgoing.values()) {
      if (outgoing.expected.delete(id)) this.#noteReceipts(outgoing);
    }
  }

  /** After reconnecting we are somebody else to the room: what was under way starts again. */
  rejoined() {
    for (const outgoing of [...this.#outgoing.values()]) {
      this.#outgoing.delete(outgoing.transfer);
      if (outgoing.entry.status !== "running") continue;
      outgoing.entry.progress = 0;
      void this.#start(outgoing.entry, outgoing.blob);
    }
  }

  /** @param {Outgoing} outgoing */
  async #announce({ entry, transfer, blob, pieceBytes }) {
    const { name, size, sha256 } = entry;
    const message = { t: "file", n: transfer, name, size, piece: pieceBytes, sha256, type: blob.type };
    await this.#carrier.sendPaced(encodeJson(message)).catch(() => {});
  }

  /** @param {Outgoing} outgoing */
  async #pump(outgoing) {
    if (outgoing.pumping) return;
    outgoing.pumping = true;
    const { entry, blob, sent, pieceBytes, transfer } = outgoing;
    try {
      for (let index = sent.next(); index >= 0; index = sent.next()) {
        const start = index * pieceBytes;
        const piece = new Uint8Array(await blob.slice(start, start + pieceBytes).arrayBuffer());
        await this.#carrier.sendPaced(encodePiece(transfer, index, piece));
        sent.add(index);
        entry.progress = sent.count / sent.size;
        this.#changed(entry);
        await this.#slow(piece.length);
      }
      // Requests may come from now on, even before the end has left.
      outgoing.pumping = false;
      outgoing.doneMs = this.#now();
      await this.#carrier.sendPaced(encodeJson({ t: "file-end", n: transfer }));
      entry.status = "done";
      entry.progress = 1;
      this.#noteReceipts(outgoing);
    } catch {
      // The channel closed. `rejoined` starts again; until then the entry keeps its progress.
    } finally {
      outgoing.pumping = false;
    }
  }

  /**
   * Keeps to our own rate, below what the router would allow, and carefully raises it.
   * @param {number} bytes just sent
   */
  async #slow(bytes) {
    const now = this.#now();
    // Timers are late: what they lose is made up for, but not more than a moment's worth.
    this.#dueMs = Math.max(this.#dueMs, now - CATCH_UP_MS) + (bytes / this.#rate) * 1000;
    this.#rate = Math.min(MOST_RATE, this.#rate * 1.003);
    if (this.#dueMs > now) await new Promise((resolve) => setTimeout(resolve, this.#dueMs - now));
  }

  /**
   * Somebody answers about a file of ours.
   * @param {string} from
   * @param {Record<string, any> & {t: string}} message
   */
  handle(from, message) {
    const outgoing = this.#outgoing.get(message.n);
    if (!outgoing) return;
    if (message.t === "file-got") {
      outgoing.got.add(from);
      this.#noteReceipts(outgoing);
    } else if (message.t === "file-what") {
      void this.#announce(outgoing);
    } else if (message.t === "file-missing" && Array.isArray(message.ranges)) {
      // While the first round still runs, what is missing is mostly just not sent yet.
      if (outgoing.pumping) return;
      this.#rate = Math.max(LEAST_RATE, this.#rate / 2);
      for (const range of message.ranges.slice(0, 64)) {
        const [first, end] = Array.isArray(range) ? range : [0, 0];
        for (let index = Math.max(0, first | 0); index < Math.min(end | 0, outgoing.sent.size); index++) {
          outgoing.sent.remove(index);
        }
      }
      void this.#pump(outgoing);
    }
  }

  /** @param {Outgoing} outgoing */
  #noteReceipts({ entry, expected, got, doneMs }) {
    const count = [...expected].filter((id) => got.has(id)).length;
    entry.ok = expected.size > 0 && count === expected.size;
    if (expected.size === 0) entry.note = "Nobody else was here.";
    else if (entry.ok) entry.note = expected.size === 1 ? "Received." : `Received by all ${expected.size}.`;
    else if (doneMs) entry.note = `Received by ${count} of ${expected.size}…`;
    this.#changed(entry);
  }
}
