// @ts-check
// Files for everybody in the room, over the channel `reliable`.
//
// The sender announces a file (name, size, SHA-256), sends its pieces at a bounded rate and says `file-end`.
// The router drops pieces for a receiver that reads too slowly: a receiver asks for what it misses, which also
// makes the sender slow down, checks the hash, and says `file-got`. Nothing is written anywhere: files live in
// the page until it is closed.

import { Emitter } from "./emitter.js";
import { PieceSet } from "./ranges.js";
import { cleanName, formatBytes } from "./text.js";
import { PIECE_HEADER_BYTES, decodeJson, decodePiece, encodeJson, encodePiece, sha256Hex } from "./wire.js";

/** Files are held in the memory of every participant's browser. */
export const MAX_FILE_BYTES = 64 * 1024 * 1024;
/** What one page keeps of others' files; the oldest give way. */
const MAX_HELD_BYTES = 256 * 1024 * 1024;
const MAX_INCOMING_PER_SENDER = 4;
const PIECE_BYTES = 32 * 1024;
/** Bytes per second at first; doubled losses halve it, clean seconds raise it. Leaves room for pictures and sound. */
const START_RATE = 1024 * 1024;
const LEAST_RATE = 64 * 1024;
/** Silence after which a receiver asks for what it misses, and how often it asks in vain. */
const STALL_MS = 1_500;
const MAX_ASKS = 12;
const ASK_WHAT_EVERY_MS = 300;
/** How long a sender keeps serving requests after its last piece. */
const SERVE_MS = 60_000;
/** Receivers that stay silent are reminded, so often and so many times. */
const REMIND_MS = 3_000;
const MAX_REMINDERS = 5;

/**
 * A file as shown to the user.
 * @typedef {object} FileEntry
 * @property {string} key
 * @property {"in" | "out"} direction
 * @property {string} from participant id
 * @property {string} name
 * @property {number} size bytes
 * @property {number} progress 0 to 1
 * @property {"preparing" | "running" | "done" | "failed"} status
 * @property {string} note why it failed, or who has it
 * @property {string} sha256
 * @property {boolean} ok whether the received bytes have the announced hash
 * @property {string | null} url of the received bytes
 */

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

/**
 * @typedef {object} Carrier what files need of the data channels; `DataChannels` has it
 * @property {(bytes: Uint8Array<ArrayBuffer>) => Promise<void>} sendPaced
 * @property {() => boolean} ready
 * @property {() => number} messageBytes
 * @property {() => string} me own participant id
 * @property {() => string[]} others ids of the others in the room
 * @property {() => number} [nowMs]
 */

/** @extends {Emitter<{change: FileEntry}>} */
export class Files extends Emitter {
  /** In the order they appeared. @type {Map<string, FileEntry>} */
  entries = new Map();
  /** @type {Map<string, Incoming>} */
  #incoming = new Map();
  /** @type {Map<number, Outgoing>} */
  #outgoing = new Map();
  #nextTransfer = 1;
  #rate = START_RATE;
  #askedWhatMs = -Infinity;
  #carrier;
  #now;

  /** @param {Carrier} carrier */
  constructor(carrier) {
    super();
    this.#carrier = carrier;
    this.#now = carrier.nowMs ?? (() => performance.now());
  }

  /**
   * Why a file cannot be sent, or `null`.
   * @param {{name: string, size: number}} file
   */
  refusal({ name, size }) {
    if (size > MAX_FILE_BYTES) {
      return `“${name}” has ${formatBytes(size)}. Files of up to ${formatBytes(MAX_FILE_BYTES)} can be shared here.`;
    }
    if (!this.#carrier.ready()) return "Files cannot be shared until you are connected. Try again in a moment.";
    return null;
  }

  /**
   * @param {Blob} blob
   * @param {string} name
   * @returns {Promise<FileEntry>} when every piece was sent once
   */
  async send(blob, name) {
    /** @type {FileEntry} */
    const entry = {
      key: `out:${this.#nextTransfer}`, direction: "out", from: this.#carrier.me(), name, size: blob.size, progress: 0,
      status: "preparing", note: "", sha256: "", ok: false, url: null,
    };
    this.#show(entry);
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

  /**
   * A message of another participant that may concern files.
   * @param {string} from
   * @param {Uint8Array} payload
   */
  handle(from, payload) {
    const piece = decodePiece(payload);
    if (piece) {
      this.#piece(from, piece);
      return;
    }
    const message = decodeJson(payload);
    if (!message?.t.startsWith("file")) return;
    if (message.t === "file") this.#announced(from, message);
    else if (message.t === "file-end") this.#ended(from, message.n);
    else if (message.to === this.#carrier.me()) this.#asked(from, message);
  }

  /** Call about twice a second: asks for what is missing and forgets what is finished. */
  tick() {
    const now = this.#now();
    for (const incoming of this.#incoming.values()) this.#checkStall(incoming, now);
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
    for (const incoming of [...this.#incoming.values()]) {
      if (incoming.entry.from === id) this.#fail(incoming, "The sender left before it was complete.");
    }
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
        const before = this.#now();
        await this.#carrier.sendPaced(encodePiece(transfer, index, piece));
        sent.add(index);
        entry.progress = sent.count / sent.size;
        this.emit("change", entry);
        await this.#slow(piece.length, before);
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
   * @param {number} bytes
   * @param {number} sinceMs
   */
  async #slow(bytes, sinceMs) {
    const dueMs = sinceMs + (bytes / this.#rate) * 1000;
    this.#rate = Math.min(START_RATE * 2, this.#rate * 1.002);
    const waitMs = dueMs - this.#now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
  }

  /**
   * Somebody answers about a file of ours.
   * @param {string} from
   * @param {Record<string, any> & {t: string}} message
   */
  #asked(from, message) {
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
    this.emit("change", entry);
  }

  /**
   * @param {string} from
   * @param {Record<string, any>} message
   */
  #announced(from, message) {
    const { n, size, piece } = message;
    const key = `${from}:${n}`;
    const active = [...this.#incoming.values()].filter((incoming) => incoming.entry.from === from);
    const sane = [n, size, piece].every((value) => Number.isSafeInteger(value) && value >= 0) && piece >= 256;
    if (!sane || this.entries.has(key) || active.length >= MAX_INCOMING_PER_SENDER) return;
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
  #piece(from, { transfer, index, piece }) {
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
    this.emit("change", entry);
    if (have.complete) void this.#finish(incoming);
  }

  /**
   * @param {string} from
   * @param {number} transfer
   */
  #ended(from, transfer) {
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
    if (this.entries.has(`${from}:${transfer}`) || now - this.#askedWhatMs < ASK_WHAT_EVERY_MS) return;
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
    this.emit("change", entry);
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
    this.emit("change", incoming.entry);
  }

  /**
   * Forgets the oldest received files until `size` more fits.
   * @param {number} size
   */
  #makeRoom(size) {
    const held = [...this.entries.values()].filter((entry) => entry.direction === "in" && entry.status !== "failed");
    let total = held.reduce((sum, entry) => sum + entry.size, size);
    for (const entry of held) {
      if (total <= MAX_HELD_BYTES) break;
      total -= entry.size;
      if (entry.url) URL.revokeObjectURL(entry.url);
      this.#incoming.delete(entry.key);
      entry.url = null;
      entry.status = "failed";
      entry.note = "Removed to make room for newer files.";
      this.emit("change", entry);
    }
  }

  /** @param {FileEntry} entry */
  #show(entry) {
    this.entries.set(entry.key, entry);
    this.emit("change", entry);
  }
}
