// @ts-check
// What participants share beside pictures and sound: chat, files, whiteboard. Carries their messages over the data
// channels and knows the names of those who wrote them.

import { BoardModel } from "./boardmodel.js";
import { Chat } from "./chat.js";
import { Emitter } from "./emitter.js";
import { Files } from "./files.js";

const BOARD_EVERY_MS = 50;
const FILES_EVERY_MS = 500;

/** @extends {Emitter<{board: {from: string | null}}>} */
export class Collab extends Emitter {
  board = new BoardModel();
  chat;
  files;
  #session;
  /** Names of everybody seen here, also of those who left. @type {Map<string, string>} */
  #names = new Map();

  /** @param {import("./session.js").Session} session */
  constructor(session) {
    super();
    this.#session = session;
    const { channels } = session;
    this.chat = new Chat((bytes) => channels.send("reliable", bytes));
    this.files = new Files({
      sendPaced: (bytes) => channels.sendPaced(bytes),
      ready: () => channels.isOpen("reliable"),
      messageBytes: () => channels.messageBytes,
      me: () => session.me?.id ?? "",
      others: () => [...session.participants.keys()],
    });
    channels.on("message", ({ from, payload }) => this.#receive(from, payload));
    channels.on("open", (label) => {
      if (label !== "reliable") return;
      this.chat.flush();
      this.files.rejoined();
    });
    session.on("joined", () => this.#joined());
    session.on("arrived", () => this.board.greet(performance.now()));
    session.on("gone", ({ id }) => this.files.participantLeft(id));
    session.on("change", () => this.#learnNames());
    session.on("data", ({ from, label, text }) => {
      if (label === "chat") this.chat.hear(from, this.nameOf(from), text);
    });
    setInterval(() => this.#sendBoard(), BOARD_EVERY_MS);
    setInterval(() => this.files.tick(), FILES_EVERY_MS);
  }

  /** @param {string} id */
  nameOf(id) {
    return this.#names.get(id) ?? "Somebody";
  }

  /**
   * @param {string} text
   * @returns {string | null} why it cannot be sent
   */
  say(text) {
    const { me } = this.#session;
    return this.chat.say(text, { id: me?.id ?? "", name: me ? nameFrom(me) : "You" });
  }

  /**
   * Draws a stroke of our own, whole.
   * @param {[number, number][]} points each from 0 to 1
   * @param {number} colour
   * @param {number} width
   */
  drawStroke(points, colour, width) {
    const now = performance.now();
    let stroke = this.board.begin(colour, width);
    for (const point of points) {
      if (stroke && !this.board.extend(stroke, point, now)) stroke = this.board.begin(colour, width);
    }
    this.emit("board", { from: null });
    return stroke !== null;
  }

  #joined() {
    const { me } = this.#session;
    if (!me) return;
    this.#learnNames();
    this.board.join(me.id, () => [...(this.#session.me ? [this.#session.me] : []), ...this.#session.participants.values()]);
  }

  /**
   * @param {string} from
   * @param {Uint8Array} payload
   */
  #receive(from, payload) {
    // What a former self sent may still be under way.
    if (from === this.#session.me?.id || this.#session.isFormerSelf(from)) return;
    if (this.board.handle(from, payload, performance.now())) this.emit("board", { from });
    this.files.handle(from, payload);
    this.chat.handle(from, this.nameOf(from), payload);
  }

  #sendBoard() {
    const { channels, participants } = this.#session;
    for (const bytes of this.board.poll(performance.now())) {
      if (participants.size > 0) channels.send("unreliable", bytes);
    }
  }

  #learnNames() {
    for (const participant of this.#session.participants.values()) {
      this.#names.set(participant.id, nameFrom(participant));
    }
  }
}

/** @param {import("./protocol.js").Participant} participant */
export function nameFrom({ name, identity }) {
  return name?.trim() || identity || "Guest";
}
