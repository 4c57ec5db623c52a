// @ts-check
// The receiving half of files.js.

import { PieceSet } from "./ranges.js";
import { cleanName, formatBytes } from "./text.js";
import { MAX_FILE_BYTES, encodeJson, sha256Hex } from "./wire.js";

/** @typedef {import("./files.js").FileEntry} FileEntry */
/** @typedef {import("./files.js").Carrier} Carrier */

/** What one page keeps of others' files; the oldest give way. */
const MAX_HELD_BYTES = 256 * 1024 * 1024;
const MAX_INCOMING_PER_SENDER = 4;
/** Silence after which we ask for what is missing, and how often we ask in vain. */
const STALL_MS = 1_500;
const MAX_ASKS = 12;
const ASK_WHAT_EVERY_MS = 300;

/**
 * @typedef {object} Incoming
 * @property {FileEntry} entry
 * @property {number} transfer
 * @property {string} type
 * @property {number} pieceBytes
 * @property {PieceSet} have
 * @property {Uint8Array[]} pieces
 * @property {number} lastMs time of the last new piece
 * @property {number} asks without success
 */

export class FileReceiver {
  /** Everything that was announced, by key. @type {Map<string, FileEntry>} */
  #entries = new Map();
  /** @type {Map<string, Incoming>} */
  #incoming = new Map();
  #askedWhatMs = -Infinity;
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

  /** Asks for what does not come. */
  tick() {
    const now = this.#now();
    for (const incoming of this.#incoming.values()) this.#checkStall(incoming, now);
  }

  /** @param {string} id of somebody who left */
  participantLeft(id) {
    for (const incoming of [...this.#incoming.values()]) {
      if (incoming.entry.from === id) this.#fail(incoming, "The sender left before it was complete.");
    }
  }

  /**
   * @param {string} from
   * @param {Record<string, any>} message
   */
  announced(from, message) {
    const { n, size, piece } = message;
    const key = `${from}:${n}`;
    const active = [...this.#incoming.values()].filter((incoming) => incoming.entry.from === from);
    const sane = [n, size, piece].every((value) => Number.isSafeInteger(value) && value >= 0) && piece >= 256;
    if (!sane || this.#entries.has(key) || active.length >= MAX_INCOMING_PER_SENDER) return;
    /** @type {FileEntry} */
    const entry = {
      key, direction: "in", from, name: cleanName(message.name), size, progress: 0, status: "running", note: "",
      sha256: typeof message.sha256 === "string" ? message.sha256.slice(0, 64) : "", ok: false, url: null,
    };
    if (size > MAX_FILE_BYTES) {
      entry.status = "failed";
      entry.note = `It is larger than ${formatBytes(MAX_FILE_BYTES)}.`;
      this.#show(entry);
      return;
    }
    const type = typeof message.type === "string" && /^[\w.+-]+\/[\w.+-]+$/.test(message.type) ? message.type : "";
    this.#makeRoom(size);
    /** @type {Incoming} */
    const incoming = {
      entry, transfer: n, type, pieceBytes: piece, have: new PieceSet(Math.ceil(size / piece)), pieces: [],
      lastMs: this.#now(), asks: 0,
    };
    this.#incoming.set(key, incoming);
    this.#show(entry);
    if (incoming.have.complete) void this.#finish(incoming);
  }

  /**
   * @param {string} from
   * @param {{transfer: number, index: number, piece: Uint8Array}} message
   */
  piece(from, { transfer, index, piece }) {
    const key = `${from}:${transfer}`;
    const incoming = this.#incoming.get(key);
    if (!incoming) {
      this.#askWhat(from, transfer);
      return;
    }
    const { entry, have, pieces, pieceBytes } = incoming;
    const length = Math.min(pieceBytes, entry.size - index * pieceBytes);
    if (piece.length !== length || !have.add(index)) return;
    pieces[index] = piece;
    incoming.lastMs = this.#now();
    incoming.asks = 0;
    entry.progress = have.count / have.size;
    this.#changed(entry);
    if (have.complete) void this.#finish(incoming);
  }

  /**
   * @param {string} from
   * @param {number} transfer
   */
  ended(from, transfer) {
    const incoming = this.#incoming.get(`${from}:${transfer}`);
    if (incoming) this.#askMissing(incoming);
    else this.#askWhat(from, transfer);
  }

  /**
   * Pieces of an unknown file: its announcement was lost.
   * @param {string} from
   * @param {number} transfer
   */
  #askWhat(from, transfer) {
    const now = this.#now();
    if (this.#entries.has(`${from}:${transfer}`) || now - this.#askedWhatMs < ASK_WHAT_EVERY_MS) return;
    this.#askedWhatMs = now;
    this.#ask(from, { t: "file-what", n: transfer });
  }

  /**
   * @param {Incoming} incoming
   * @param {number} now
   */
  #checkStall(incoming, now) {
    if (now - incoming.lastMs < STALL_MS * (1 + incoming.asks)) return;
    if (incoming.asks >= MAX_ASKS) this.#fail(incoming, "The sender no longer answers.");
    else this.#askMissing(incoming);
  }

  /** @param {Incoming} incoming */
  #askMissing(incoming) {
    if (incoming.have.complete) return;
    incoming.asks++;
    incoming.lastMs = this.#now();
    this.#ask(incoming.entry.from, { t: "file-missing", n: incoming.transfer, ranges: incoming.have.gaps(64) });
  }

  /** @param {Incoming} incoming */
  async #finish(incoming) {
    const { entry, transfer, pieces, type } = incoming;
    this.#incoming.delete(entry.key);
    const blob = new Blob(/** @type {Uint8Array<ArrayBuffer>[]} */ (pieces), { type: type || "application/octet-stream" });
    const hash = await sha256Hex(await blob.arrayBuffer());
    entry.ok = hash === entry.sha256;
    entry.progress = 1;
    entry.status = entry.ok ? "done" : "failed";
    entry.note = entry.ok ? "" : "It arrived damaged. Ask for it to be sent again.";
    if (entry.ok) entry.url = URL.createObjectURL(blob);
    this.#changed(entry);
    if (entry.ok) this.#ask(entry.from, { t: "file-got", n: transfer });
  }

  /**
   * @param {string} to
   * @param {Record<string, unknown> & {t: string}} message
   */
  #ask(to, message) {
    this.#carrier.sendPaced(encodeJson({ ...message, to })).catch(() => {});
  }

  /**
   * @param {Incoming} incoming
   * @param {string} note
   */
  #fail(incoming, note) {
    this.#incoming.delete(incoming.entry.key);
    incoming.entry.status = "failed";
    incoming.entry.note = note;
    this.#changed(incoming.entry);
  }

  /**
   * Forgets the oldest received files until `size` more fits.
   * @param {number} size
   */
  #makeRoom(size) {
    const held = [...this.#entries.values()].filter((entry) => entry.direction === "in" && entry.status !== "failed");
    let total = held.reduce((sum, entry) => sum + entry.size, size);
    for (const entry of held) {
      if (total <= MAX_HELD_BYTES) break;
      total -= entry.size;
      if (entry.url) URL.revokeObjectURL(entry.url);
      this.#incoming.delete(entry.key);
      entry.url = null;
      entry.status = "failed";
      entry.note = "Removed to make room for newer files.";
      this.#changed(entry);
    }
  }

  /** @param {FileEntry} entry */
  #show(entry) {
    this.#entries.set(entry.key, entry);
    this.#changed(entry);
  }
}
