// @ts-check
// The meeting itself: puts the parts together and keeps what is shown up to date.

import { actionsFor } from "./actions.js";
import { showAppearance } from "./appearance.js";
import { showConnection, showEnd } from "./banner.js";
import { Bar } from "./bar.js";
import { ChatView } from "./chatview.js";
import { Collab, nameFrom } from "./collab.js";
import { showDevices } from "./devices.js";
import { byId, dress } from "./dom.js";
import { acceptDrops } from "./dropzone.js";
import { Grid } from "./grid.js";
import { History, quality } from "./history.js";
import { watchLevel } from "./level.js";
import { Panel } from "./panel.js";
import { peopleView } from "./people.js";
import { peopleOf, recordedText, soundsOf, tilesOf } from "./room.js";
import { inviteLink } from "./settings.js";
import { listenToKeys } from "./shortcuts.js";
import { Sound } from "./sound.js";
import { StatsView } from "./statsview.js";
import { remember } from "./store.js";
import { PATHS, duration } from "./text.js";
import { announce, dismiss, toast } from "./toast.js";
import { keepAwake } from "./wake.js";
import { Whiteboard } from "./whiteboard.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./media.js").LocalMedia} LocalMedia */

/** Somebody who speaks louder than this into a muted microphone is told, but not all the time. */
const LOUD = 0.55;
const MUTED_HINT_EVERY_MS = 20_000;
const BOARD_HINT_EVERY_MS = 60_000;
const COPIED_MS = 2_500;

export class Meeting {
  collab;
  stats;
  #session;
  #local;
  #settings;
  #grid;
  #sound = new Sound({ blocked: () => this.#soundBlocked() });
  #panel = new Panel();
  #history;
  #board;
  #bar;
  #showPeople;
  #chatView;
  #unread = 0;
  /** @type {Map<string, number>} */
  #spokeAt = new Map();
  #pending = false;
  #joinedMs = 0;
  #boardHintMs = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #copiedTimer;
  /** @type {(() => void) | null} */
  #stopLevel = null;
  #mutedHintMs = -Infinity;

  /**
   * @param {{session: Session, local: LocalMedia, settings: import("./settings.js").Settings}} options
   */
  constructor({ session, local, settings }) {
    this.#session = session;
    this.#local = local;
    this.#settings = settings;
    this.collab = new Collab(session);
    this.#grid = new Grid({ wish: (track, wish) => session.wish(track, wish) });
    this.#history = new History(session);
    this.stats = new StatsView(this.#history, session, () => this.#update());
    this.#board = new Whiteboard(byId("board", HTMLElement), this.collab.board, { close: () => this.toggleBoard(false) });
    this.#showPeople = peopleView(this.#panel.pages.people);
    this.#chatView = new ChatView(this.#panel.pages.chat, {
      say: (text) => this.collab.say(text),
      attach: (files) => this.share(files),
    });
    const actions = actionsFor({
      local, session, panel: this.#panel, stats: this.stats,
      board: { isOpen: () => this.boardOpen, toggle: () => this.toggleBoard() },
      on: {
        copyLink: () => void this.#copyLink(),
        settings: () => byId("settings", HTMLDialogElement).showModal(),
        help: () => byId("help", HTMLDialogElement).showModal(),
        leave: () => void session.leave(),
      },
    });
    this.#bar = new Bar(actions);
    listenToKeys(actions, { talk: (pressed) => this.#talk(pressed), escape: () => this.#escape() });
    this.#wire();
    this.#dressTop();
    showConnection(session);
    showEnd(session, { again: () => location.reload(), facts: () => this.#facts() });
    byId("meeting", HTMLElement).hidden = false;
    keepAwake(() => session.state.phase !== "ended");
  }

  get boardOpen() {
    return !byId("board", HTMLElement).hidden;
  }

  /** @param {boolean} [open] */
  toggleBoard(open = !this.boardOpen) {
    const board = byId("board", HTMLElement);
    const inside = board.contains(document.activeElement);
    board.hidden = !open;
    this.#grid.layout();
    this.#bar.badge("board", "");
    dismiss("board");
    if (open) this.#board.focus();
    else if (inside) byId("control-board", HTMLElement).focus();
    this.#update();
  }

  /** @param {File[]} files */
  share(files) {
    for (const file of files) {
      const refusal = this.collab.files.refusal(file);
      if (refusal) toast(refusal, "error");
      else void this.collab.files.send(file, file.name);
    }
    if (files.length > 0 && this.#panel.open !== "chat") this.#panel.show("chat");
  }

  #wire() {
    const session = this.#session;
    for (const event of /** @type {const} */ (["change", "media", "state"])) session.on(event, () => this.#update());
    session.on("speakers", () => this.#spoke());
    session.on("recording", (active) => toast(active ? "This meeting is being recorded." : "The recording has ended."));
    session.on("joined", ({ again }) => this.#joined(again));
    session.direct.shown = () => this.#grid.settled && this.#sound.settled;
    session.on("path", (path) => announce(`This call goes ${path === "direct" ? "directly from one to the other" : "through the server"} now`));
    session.on("arrived", (person) => announce(`${nameFrom(person)} joined`));
    session.on("gone", (person) => announce(`${nameFrom(person)} left`));
    session.on("notice", ({ text, level }) => toast(text, level));
    this.#local.on("problem", ({ text }) => toast(text, "error"));
    this.#local.on("change", (source) => {
      if (source === "microphone") this.#watchMuted();
      if (source === "screen") announce(this.#local.isOn("screen") ? "You share your screen" : "Your screen is no longer shared");
    });
    this.#watchMuted();
    const { chat, files } = this.collab;
    chat.on("line", (line) => {
      this.#chatView.add(line);
      if (!line.own) this.#news(`${line.name}: ${line.text}`);
    });
    chat.on("changed", (line) => this.#chatView.change(line));
    files.on("change", (entry) => {
      const fresh = entry.direction === "in" && entry.status === "running" && entry.progress === 0;
      this.#chatView.file(entry, this.collab.nameOf(entry.from));
      if (fresh) this.#news(`${this.collab.nameOf(entry.from)} shares the file ${entry.name}`);
    });
    this.collab.on("board", ({ from }) => this.#drawn(from));
    this.#panel.on("change", () => {
      if (this.#panel.open === "chat") {
        this.#unread = 0;
        dismiss("chat");
      }
      this.#update();
    });
    showDevices(byId("settings-devices", HTMLElement), this.#local, (choice, id) => {
      remember({ [choice]: id });
      void this.#local.choose(choice, id);
      if (choice === "speaker") void this.#sound.choose(id);
    });
    showAppearance(byId("settings-appearance", HTMLElement));
    const speaker = this.#local.chosen("speaker");
    if (speaker) void this.#sound.choose(speaker);
    acceptDrops(() => session.mayChat && session.state.phase === "joined", (list) => this.share(list));
    document.addEventListener("fullscreenchange", () => this.#update());
    this.#history.on("reading", () => this.#showQuality());
    setInterval(() => this.#showClock(), 1_000);
  }

  /** Shows everything anew, once for all changes of this moment. (Frames do not come in background tabs.) */
  #update() {
    if (this.#pending) return;
    this.#pending = true;
    setTimeout(() => {
      this.#pending = false;
      this.#show();
    }, 10);
  }

  #show() {
    const session = this.#session;
    if (session.state.phase === "ended") return;
    const title = `${this.#settings.room} · Rillway`;
    document.title = this.#unread > 0 ? `(${this.#unread}) ${title}` : title;
    this.#grid.update(tilesOf(session, this.#local, this.#spokeAt, this.#settings.name));
    this.#sound.update(soundsOf(session));
    const people = peopleOf(session, this.#local);
    this.#showPeople(people);
    this.#panel.setTitle("people", `People (${people.length})`);
    this.#showRecording();
    this.#showPath();
    this.#chatView.allow(session.mayChat);
    this.#bar.badge("chat", this.#unread > 0 ? String(Math.min(99, this.#unread)) : "");
    this.#bar.update();
    byId("meeting", HTMLElement).classList.toggle("with-panel", this.#panel.open !== null);
    const alone = session.state.phase === "joined" && session.participants.size === 0 && !this.boardOpen;
    byId("alone", HTMLElement).hidden = !alone;
  }

  /** @param {boolean} again */
  #joined(again) {
    this.#joinedMs ||= Date.now();
    this.#grid.forgetWishes();
    const count = this.#session.participants.size;
    if (again) toast("You are connected again.");
    else announce(count === 0 ? "You joined. Nobody else is here yet." : `You joined. ${count === 1 ? "One other is" : `${count} others are`} here.`);
  }

  #spoke() {
    const now = performance.now();
    for (const { participant } of this.#session.speakers) this.#spokeAt.set(participant, now);
    this.#update();
  }

  /** @param {string} text */
  #news(text) {
    if (this.#panel.open === "chat" && !document.hidden) return;
    if (this.#panel.open !== "chat") this.#unread++;
    toast(text.length > 140 ? `${text.slice(0, 140)}…` : text, "info", "chat");
    this.#update();
  }

  /** @param {string | null} from `null`: ourselves */
  #drawn(from) {
    this.#board.refresh();
    if (from === null || this.boardOpen) return;
    this.#bar.badge("board", "•");
    const now = performance.now();
    if (now - this.#boardHintMs > BOARD_HINT_EVERY_MS && this.collab.board.strokes.size > 0) {
      toast(`${this.collab.nameOf(from)} draws on the whiteboard. Press W to see it.`, "info", "board");
    }
    this.#boardHintMs = now;
  }

  /** @param {boolean} pressed */
  #talk(pressed) {
    if (pressed && !this.#local.isOn("microphone")) {
      this.#talking = true;
      void this.#local.turnOn("microphone").then(() => {
        // Let go before the device had opened.
        if (!this.#talking) this.#local.turnOff("microphone");
      });
      this.#hint("You are heard while you hold Space.");
    } else if (!pressed && this.#talking) {
      this.#talking = false;
      this.#local.turnOff("microphone");
      this.#hint("");
    }
  }

  #talking = false;

  /** @returns {boolean} whether something was closed */
  #escape() {
    if (this.#bar.menuOpen) this.#bar.closeMenu();
    else if (this.stats.isOpen) this.stats.toggle(false);
    else if (this.#panel.open !== null) this.#panel.close();
    else if (this.boardOpen) this.toggleBoard(false);
    else if (this.#grid.pinned !== null) this.#grid.pin(this.#grid.pinned);
    else return false;
    return true;
  }

  /** While the microphone is off but open, notices that its owner speaks. */
  #watchMuted() {
    this.#stopLevel?.();
    this.#stopLevel = null;
    const track = this.#local.microphoneTrack;
    if (!track || this.#local.isOn("microphone")) return;
    let loud = 0;
    this.#stopLevel = watchLevel(track, (level) => {
      loud = level > LOUD ? loud + 1 : Math.max(0, loud - 1);
      const now = performance.now();
      if (loud < 5 || now - this.#mutedHintMs < MUTED_HINT_EVERY_MS) return;
      this.#mutedHintMs = now;
      this.#hint("Your microphone is off. Press M to speak.");
      setTimeout(() => this.#hint(""), 4_000);
    });
  }

  /** @param {string} text */
  #hint(text) {
    const hint = byId("hint", HTMLElement);
    hint.textContent = text;
    hint.hidden = text === "";
  }

  #soundBlocked() {
    const unblock = () => {
      removeEventListener("pointerdown", unblock);
      removeEventListener("keydown", unblock);
      this.#sound.unblock();
    };
    addEventListener("pointerdown", unblock);
    addEventListener("keydown", unblock);
    toast("The browser keeps the sound off until you click or press a key.", "warning");
  }

  async #copyLink() {
    const link = inviteLink(location.href, this.#settings.room);
    try {
      await navigator.clipboard.writeText(link);
      toast("The invitation link is copied.");
      this.#dressCopy(true);
      clearTimeout(this.#copiedTimer);
      this.#copiedTimer = setTimeout(() => this.#dressCopy(false), COPIED_MS);
    } catch {
      toast(`Copy this link by hand: ${link}`, "warning");
    }
  }

  #dressTop() {
    const room = byId("room-name", HTMLElement);
    room.textContent = room.title = this.#settings.room;
    this.#dressCopy(false);
    for (const id of ["copy-link", "alone-copy"]) byId(id, HTMLButtonElement).onclick = () => void this.#copyLink();
    const signal = byId("quality", HTMLButtonElement);
    dress(signal, { icon: "signal", label: "Connection" });
    signal.onclick = () => this.stats.toggle();
  }

  /** @param {boolean} copied a moment ago */
  #dressCopy(copied) {
    /** @type {Parameters<typeof dress>[1]} */
    const look = { icon: copied ? "check" : "link", label: "Copy the invitation link", key: "L" };
    dress(byId("copy-link", HTMLButtonElement), { ...look, text: copied ? "Copied" : "Copy link" });
    dress(byId("alone-copy", HTMLButtonElement), { ...look, text: copied ? "Copied" : "Copy the link to invite others" });
  }

  #showQuality() {
    const { level, text } = quality(this.#history.last, this.#history.courses);
    const button = byId("quality", HTMLButtonElement);
    button.dataset.level = String(level);
    dress(button, { icon: "signal", label: text });
  }

  /** The red dot, and who and what is behind it. */
  #showRecording() {
    const { active } = this.#session.recording;
    const sign = byId("recording", HTMLElement);
    sign.hidden = !active;
    const text = active ? recordedText(this.#session) : "";
    byId("recording-text", HTMLElement).textContent = text;
    sign.title = text;
  }

  /** Which way media goes; in a room where that never is another than the server nothing is said. */
  #showPath() {
    const { direct, participants } = this.#session;
    const sign = byId("path", HTMLElement);
    sign.hidden = !direct.offered || participants.size === 0;
    sign.dataset.path = direct.path;
    sign.textContent = direct.path === "direct" ? "Direct" : "Through the server";
    sign.title = PATHS[direct.path];
  }

  #showClock() {
    if (this.#joinedMs) byId("clock", HTMLElement).textContent = duration(Date.now() - this.#joinedMs);
  }

  /** What the last screen says about this stay. */
  #facts() {
    const { room } = this.#settings;
    return this.#joinedMs ? `${room} · ${duration(Date.now() - this.#joinedMs)}` : room;
  }
}
