// @ts-check
// The overlay with live plots: one card for each track, sent and received.

import { byId, dress, el, giveBack } from "./dom.js";
import { plot } from "./plots.js";
import { PATHS, formatBitrate } from "./text.js";

/** @typedef {import("./history.js").Course} Course */
/** @typedef {import("./history.js").Figure} Figure */

const POINTS = 90;
const LAYER_COLOURS = /** @type {Record<string, string>} */ ({ q: "#6ea8e6", h: "#c9a45c", f: "#7fd6c8" });

/** @type {{figure: Figure, title: string, colour: string, least: number, text: (value: number) => string, only?: "video"}[]} */
const PLOTS = [
  { figure: "bitrate", title: "Bitrate", colour: "#7fd6c8", least: 50_000, text: formatBitrate },
  { figure: "loss", title: "Loss", colour: "#e58a7b", least: 2, text: (value) => `${value.toFixed(1)} %` },
  { figure: "roundTrip", title: "Round trip", colour: "#c9a45c", least: 20, text: (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms` },
  { figure: "jitter", title: "Jitter", colour: "#b79be0", least: 10, text: (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms` },
  { figure: "fps", title: "Frames", colour: "#6ea8e6", least: 30, text: (value) => `${Math.round(value)} /s`, only: "video" },
  { figure: "height", title: "Height", colour: "#8fc27a", least: 180, text: (value) => `${value} px`, only: "video" },
  { figure: "layer", title: "Layer", colour: "#d79ab8", least: 2, text: (value) => String(value), only: "video" },
];

/** @type {Record<string, string>} */
const SOURCES = { camera: "camera", microphone: "microphone", screen: "screen", screen_audio: "sound of the screen", other: "other" };

export class StatsView {
  #element = byId("stats", HTMLElement);
  #summary = el("dl", { class: "stats-summary" });
  #cards = el("div", { class: "cards" });
  /** @type {Map<string, Card>} */
  #shown = new Map();
  #history;
  #session;
  /** @type {Element | null} */
  #before = null;

  /**
   * @param {import("./history.js").History} history
   * @param {import("./session.js").Session} session
   * @param {() => void} changed opened or closed
   */
  constructor(history, session, changed) {
    this.#history = history;
    this.#session = session;
    this.changed = changed;
    const close = el("button", { type: "button", class: "quiet", onclick: () => this.toggle(false) });
    dress(close, { icon: "close", label: "Close the statistics", key: "I" });
    this.#element.append(
      el("div", { class: "stats-head" }, el("h2", {}, "Connection"), close),
      el("div", { class: "stats-scroll", tabindex: 0, role: "group", "aria-label": "Figures" }, this.#summary, this.#cards),
    );
    history.on("reading", () => this.#show());
  }

  get isOpen() {
    return !this.#element.hidden;
  }

  /** @param {boolean} [open] */
  toggle(open = !this.isOpen) {
    if (open === this.isOpen) return;
    if (open) this.#before = document.activeElement;
    const inside = this.#element.contains(document.activeElement);
    this.#element.hidden = !open;
    if (open) {
      this.#show();
      this.#element.querySelector("button")?.focus();
    } else if (inside) {
      giveBack(this.#before);
    }
    this.changed();
  }

  #show() {
    const reading = this.#history.last;
    if (!this.isOpen || !reading) return;
    const { publish, subscribe } = reading;
    const facts = [
      ["Sending", `${publish.connectionState}${tripText(publish.roundTripMs)}`],
      ["Receiving", `${subscribe.connectionState}${tripText(subscribe.roundTripMs)}`],
      ["Path", PATHS[this.#session.direct.path]],
      ["Signaling", `${this.#session.state.phase}${tripText(this.#session.signal.roundTripMs)}`],
    ];
    this.#summary.replaceChildren(...facts.flatMap(([title, text]) => [el("dt", {}, title), el("dd", {}, text)]));
    const courses = [...this.#history.courses.values()];
    courses.sort((a, b) => Number(a.direction === "in") - Number(b.direction === "in") || Number(a.kind === "audio") - Number(b.kind === "audio"));
    for (const [key, card] of this.#shown) {
      if (this.#history.courses.has(key)) continue;
      card.element.remove();
      this.#shown.delete(key);
    }
    for (const course of courses) {
      let card = this.#shown.get(course.key);
      if (!card) {
        card = new Card(course);
        this.#shown.set(course.key, card);
      }
      // Same order as `courses`; moving an element that is already there is cheap.
      this.#cards.append(card.element);
      card.show(course, this.#name(course));
    }
  }

  /** @param {Course} course */
  #name({ participant }) {
    if (participant === "") return "You";
    const person = this.#session.participants.get(participant);
    return person?.name || person?.identity || "Somebody";
  }
}

/** One track's plots. */
class Card {
  #title = el("h3");
  #facts = el("p", { class: "facts" });
  /** @type {Map<Figure, {canvas: HTMLCanvasElement, value: HTMLElement}>} */
  #plots = new Map();

  /** @param {Course} course */
  constructor({ kind }) {
    const plots = el("div", { class: "plots" });
    for (const { figure, title, only } of PLOTS) {
      if (only && only !== kind) continue;
      const canvas = el("canvas", { "aria-hidden": "true" });
      const value = el("span", { class: "value" });
      plots.append(el("div", { class: "plot" }, el("div", { class: "plot-head" }, el("span", {}, title), value), canvas));
      this.#plots.set(figure, { canvas, value });
    }
    this.element = el("section", { class: "card" }, this.#title, this.#facts, plots);
  }

  /**
   * @param {Course} course
   * @param {string} name
   */
  show(course, name) {
    const arrow = course.direction === "out" ? "↑" : "↓";
    this.#title.textContent = `${arrow} ${name} · ${SOURCES[course.source] ?? course.source}`;
    const facts = [course.codec, course.resolution, course.layer && `layer ${course.layer}`, course.remark];
    this.#facts.textContent = facts.filter(Boolean).join(" · ");
    for (const { figure, colour, least, text } of PLOTS) {
      const place = this.#plots.get(figure);
      if (!place) continue;
      const values = course.series[figure];
      const last = values.at(-1);
      place.value.textContent = last === null || last === undefined ? "–" : text(last);
      const layers = figure === "bitrate" ? Object.entries(course.layerBitrates) : [];
      const lines = layers.map(([rid, series]) => ({ values: series, colour: LAYER_COLOURS[rid] ?? colour }));
      plot(place.canvas, lines.length > 1 ? lines : [{ values, colour }], { points: POINTS, least });
    }
  }
}

/** @param {number | null} roundTripMs */
function tripText(roundTripMs) {
  return roundTripMs === null ? "" : `, ${roundTripMs.toFixed(roundTripMs < 10 ? 1 : 0)} ms`;
}
