// @ts-check
// Chat over the channel `reliable`: what was said, and by whom.

import { Emitter } from "./emitter.js";
import { decodeJson, encodeJson } from "./wire.js";

export const MAX_CHAT_LETTERS = 4_000;
/** The oldest lines are forgotten beyond this. */
const MAX_LINES = 2_000;
const MAX_WAITING = 50;

/** @typedef {{key: number, from: string, name: string, text: string, atMs: number, own: boolean, waiting: boolean}} ChatLine `waiting`: not sent yet */

/** @extends {Emitter<{line: ChatLine, changed: ChatLine}>} */
export class Chat extends Emitter {
  /** @type {ChatLine[]} */
  lines = [];
  #nextKey = 1;
  #send;

  /** @param {(bytes: Uint8Array<ArrayBuffer>) => boolean} send false while the channel is closed */
  constructor(send) {
    super();
    this.#send = send;
  }

  /**
   * @param {string} text
   * @param {{id: string, name: string}} me
   * @returns {string | null} why it cannot be sent
   */
  say(text, me) {
    const trimmed = text.trim();
    if (trimmed === "") return "";
    if ([...trimmed].length > MAX_CHAT_LETTERS) return `Write at most ${MAX_CHAT_LETTERS} letters at a time.`;
    if (this.lines.filter((line) => line.waiting).length >= MAX_WAITING) return "Wait until you are connected again.";
    const waiting = !this.#send(encodeJson({ t: "chat", text: trimmed }));
    this.#add({ from: me.id, name: me.name, text: trimmed, own: true, waiting });
    return null;
  }

  /** The channel is open (again): sends what waited. */
  flush() {
    for (const line of this.lines) {
      if (!line.waiting) continue;
      line.waiting = !this.#send(encodeJson({ t: "chat", text: line.text }));
      this.emit("changed", line);
    }
  }

  /**
   * @param {string} from
   * @param {string} name
   * @param {Uint8Array} payload
   */
  handle(from, name, payload) {
    const message = decodeJson(payload);
    if (message?.t === "chat" && typeof message.text === "string") this.hear(from, name, message.text);
  }

  /**
   * @param {string} from
   * @param {string} name
   * @param {string} text
   */
  hear(from, name, text) {
    const trimmed = [...text.trim()].slice(0, MAX_CHAT_LETTERS).join("");
    if (trimmed !== "") this.#add({ from, name, text: trimmed, own: false, waiting: false });
  }

  /** @param {Omit<ChatLine, "key" | "atMs">} line */
  #add(line) {
    const full = { ...line, key: this.#nextKey++, atMs: Date.now() };
    this.lines.push(full);
    if (this.lines.length > MAX_LINES) this.lines.shift();
    this.emit("line", full);
  }
}
