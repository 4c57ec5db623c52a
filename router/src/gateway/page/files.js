// @ts-check
// Files for everybody in the room, over the channel `reliable`.
//
// The sender announces a file (name, size, SHA-256), sends its pieces at a bounded rate and says `file-end`.
// The router drops pieces for a receiver that reads too slowly: a receiver asks for what it misses, which also
// makes the sender slow down, checks the hash, and says `file-got`. Nothing is written anywhere: files live in
// the page until it is closed.

import { Emitter } from "./emitter.js";
import { FileReceiver } from "./filein.js";
import { FileSender } from "./fileout.js";
import { formatBytes } from "./text.js";
import { MAX_FILE_BYTES, decodeJson, decodePiece } from "./wire.js";

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
  #carrier;
  #sender;
  #receiver;

  /** @param {Carrier} carrier */
  constructor(carrier) {
    super();
    this.#carrier = carrier;
    const changed = (/** @type {FileEntry} */ entry) => {
      this.entries.set(entry.key, entry);
      this.emit("change", entry);
    };
    this.#sender = new FileSender(carrier, changed);
    this.#receiver = new FileReceiver(carrier, changed);
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
  send(blob, name) {
    return this.#sender.send(blob, name);
  }

  /**
   * A message of another participant that may concern files.
   * @param {string} from
   * @param {Uint8Array} payload
   */
  handle(from, payload) {
    const piece = decodePiece(payload);
    if (piece) {
      this.#receiver.piece(from, piece);
      return;
    }
    const message = decodeJson(payload);
    if (!message?.t.startsWith("file")) return;
    if (message.t === "file") this.#receiver.announced(from, message);
    else if (message.t === "file-end") this.#receiver.ended(from, message.n);
    else if (message.to === this.#carrier.me()) this.#sender.handle(from, message);
  }

  /** Call about twice a second. */
  tick() {
    this.#receiver.tick();
    this.#sender.tick();
  }

  /** @param {string} id of somebody who left */
  participantLeft(id) {
    this.#receiver.participantLeft(id);
    this.#sender.participantLeft(id);
  }

  /** After reconnecting we are somebody else to the room: what was under way starts again. */
  rejoined() {
    this.#sender.rejoined();
  }
}
