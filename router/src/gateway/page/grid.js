// @ts-check
// Shows the tiles: as large as possible, a pinned one or a shared screen on a stage, the rest on pages. Also tells
// the router how large each picture is shown, so that it sends no more than that.

import { byId, dress } from "./dom.js";
import { duoLayout, gridLayout, promoteSpeakers, stageLayout } from "./layout.js";
import { Tile } from "./tile.js";

/** @typedef {import("./tile.js").TileData} TileData */
/** @typedef {import("./layout.js").Rect} Rect */
/** @typedef {{width: number, height: number, priority: number, paused: boolean}} Wish */

/** Sizes settle before the router is told. */
const WISH_DELAY_MS = 250;
/** A background tab keeps its pictures for so long, milliseconds. */
const HIDDEN_DELAY_MS = 20_000;
const PAGER_HEIGHT = 40;

export class Grid {
  /** @type {Map<string, Tile>} */
  tiles = new Map();
  #area = byId("area", HTMLElement);
  #board = byId("board", HTMLElement);
  #pages = byId("pages", HTMLElement);
  /** Keys of all tiles. @type {string[]} */
  #order = [];
  #page = 0;
  #pageCount = 1;
  /** @type {string | null} */
  #pinned = null;
  /** Screens in the order they were shared. @type {string[]} */
  #screens = [];
  /** @type {Map<string, string>} */
  #told = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #wishTimer;
  #hiddenSince = 0;
  #wish;

  /** @param {{wish: (track: string, wish: Wish) => void}} options */
  constructor({ wish }) {
    this.#wish = wish;
    new ResizeObserver(() => this.layout()).observe(this.#area);
    const back = byId("page-back", HTMLButtonElement);
    const on = byId("page-on", HTMLButtonElement);
    dress(back, { icon: "left", label: "Previous participants" });
    dress(on, { icon: "right", label: "More participants" });
    back.onclick = () => this.#turn(-1);
    on.onclick = () => this.#turn(1);
    this.#area.addEventListener("keydown", (event) => this.#arrow(event));
    document.addEventListener("visibilitychange", () => {
      this.#hiddenSince = document.hidden ? performance.now() : 0;
      clearTimeout(this.#wishTimer);
      this.#wishTimer = setTimeout(() => this.#tell(), document.hidden ? HIDDEN_DELAY_MS : 0);
    });
  }

  /** @param {TileData[]} list in the order to show */
  update(list) {
    const keys = new Set(list.map(({ key }) => key));
    for (const [key, tile] of this.tiles) {
      if (keys.has(key)) continue;
      const focused = tile.element.contains(document.activeElement);
      tile.remove();
      this.tiles.delete(key);
      if (focused) this.#firstVisible()?.element.focus();
    }
    if (this.#pinned && !keys.has(this.#pinned)) this.#pinned = null;
    this.#screens = this.#screens.filter((key) => keys.has(key));
    for (const data of list) {
      const { key } = data;
      const tile = this.tiles.get(key);
      if (tile) tile.update(data, this.#pinned === key);
      else this.#add(data);
      if (data.kind === "screen" && !data.self && !this.#screens.includes(key)) this.#screens.push(key);
    }
    this.#order = list.map(({ key }) => key);
    this.layout();
  }

  /** Every router track must be told its size again: it is a new connection. */
  forgetWishes() {
    this.#told.clear();
    this.#tellSoon();
  }

  /** @param {string} key */
  pin(key) {
    this.#pinned = this.#pinned === key ? null : key;
    for (const tile of this.tiles.values()) tile.update(tile.data, tile.data.key === this.#pinned);
    this.layout();
  }

  /** Whether every picture is the one that is wanted, and none is still the one before. */
  get settled() {
    return [...this.tiles.values()].every((tile) => tile.settled);
  }

  get pinned() {
    return this.#pinned;
  }

  layout() {
    const { clientWidth: width, clientHeight: height } = this.#area;
    if (width === 0 || height === 0) return;
    const gap = width < 520 ? 6 : 8;
    const tiles = this.#order.flatMap((key) => this.tiles.get(key) ?? []);
    const boardOpen = !this.#board.hidden;
    const stageKey = boardOpen ? null : (this.#pinned ?? this.#screens.at(-1) ?? null);
    const staged = stageKey === null ? undefined : this.tiles.get(stageKey);
    const rest = tiles.filter((tile) => tile !== staged);
    const own = rest.length === 2 && !boardOpen && !staged ? rest.find(({ data }) => data.self && data.kind === "camera") : undefined;
    const other = rest.find(({ data }) => !data.self);
    if (own && other) {
      const duo = duoLayout(width, height);
      other.place(duo.other);
      own.place(duo.own, "corner");
      this.#pageCount = 1;
      this.#page = 0;
      this.#showPages(null);
      this.#tellSoon();
      return;
    }
    const wanted = { count: rest.length, width, height, gap, staged: boardOpen || staged !== undefined };
    const { rects, perPage, stage, pager } = arrange(wanted);
    this.#pageCount = Math.max(1, perPage > 0 ? Math.ceil(rest.length / perPage) : 1);
    this.#page = Math.min(this.#page, this.#pageCount - 1);
    const spokeAt = (/** @type {{tile: Tile}} */ { tile }) => tile.data.spokeAt;
    const keyed = rest.map((tile) => ({ key: tile.data.key, tile }));
    const sorted = this.#page === 0 ? promoteSpeakers(keyed, perPage, spokeAt) : keyed;
    const first = this.#page * perPage;
    sorted.forEach(({ tile }, index) => tile.place(rects[index - first] ?? null));
    staged?.place(stage, "stage");
    if (boardOpen && stage) put(this.#board, stage);
    this.#showPages(pager);
    this.#tellSoon();
  }

  /** @param {TileData} data */
  #add(data) {
    const tile = new Tile(data, () => this.pin(data.key));
    this.tiles.set(data.key, tile);
    this.#area.insertBefore(tile.element, this.#board);
  }

  /** @param {number} by */
  #turn(by) {
    this.#page = Math.min(this.#pageCount - 1, Math.max(0, this.#page + by));
    this.layout();
  }

  /** @param {(Rect & {over: boolean}) | null} pager */
  #showPages(pager) {
    this.#pages.hidden = pager === null;
    if (pager) put(this.#pages, { ...pager, height: PAGER_HEIGHT });
    this.#pages.classList.toggle("over", pager?.over ?? false);
    byId("page-text", HTMLElement).textContent = `${this.#page + 1} / ${this.#pageCount}`;
    byId("page-back", HTMLButtonElement).disabled = this.#page === 0;
    byId("page-on", HTMLButtonElement).disabled = this.#page === this.#pageCount - 1;
  }

  #firstVisible() {
    return [...this.tiles.values()].find((tile) => !tile.element.hidden);
  }

  /** Arrow keys go to the next tile in their direction. @param {KeyboardEvent} event */
  #arrow(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const from = [...this.tiles.values()].find((tile) => tile.element === event.target);
    if (!step || !from) return;
    const centre = (/** @type {Tile} */ tile) => {
      const { left, top, width, height } = tile.element.getBoundingClientRect();
      return [left + width / 2, top + height / 2];
    };
    const [x, y] = centre(from);
    let best = null;
    let bestDistance = Infinity;
    for (const tile of this.tiles.values()) {
      if (tile === from || tile.element.hidden) continue;
      const [otherX, otherY] = centre(tile);
      const along = (otherX - x) * step[0] + (otherY - y) * step[1];
      const across = Math.abs((otherX - x) * step[1]) + Math.abs((otherY - y) * step[0]);
      if (along > 4 && along + across * 2 < bestDistance) {
        best = tile;
        bestDistance = along + across * 2;
      }
    }
    event.preventDefault();
    best?.element.focus();
  }

  #tellSoon() {
    clearTimeout(this.#wishTimer);
    this.#wishTimer = setTimeout(() => this.#tell(), WISH_DELAY_MS);
  }

  #tell() {
    const scale = Math.min(3, devicePixelRatio || 1);
    const away = this.#hiddenSince > 0 && performance.now() - this.#hiddenSince >= HIDDEN_DELAY_MS - 100;
    /** @type {Set<string>} */
    const seen = new Set();
    for (const tile of this.tiles.values()) {
      const { data, element } = tile;
      if (!data.track || data.stale) continue;
      seen.add(data.track);
      const paused = element.hidden === true || away;
      // Steps of 16 pixels: small movements of the window are no news.
      const round = (/** @type {number} */ pixels) => Math.max(16, Math.ceil((pixels * scale) / 16) * 16);
      const { width, height } = tile.shown;
      const priority = element.classList.contains("on-stage") ? 200 : 100;
      const wish = { width: round(width), height: round(height), priority, paused };
      const text = paused ? "paused" : `${wish.width}x${wish.height}/${priority}`;
      if (this.#told.get(data.track) === text) continue;
      this.#told.set(data.track, text);
      this.#wish(data.track, paused ? { ...wish, width: 0, height: 0 } : wish);
    }
    for (const track of this.#told.keys()) {
      if (!seen.has(track)) this.#told.delete(track);
    }
  }
}

/**
 * Where everything goes, with a place for the pager where not all tiles fit.
 * @param {{count: number, width: number, height: number, gap: number, staged: boolean}} wanted
 * @returns {{rects: Rect[], perPage: number, stage: Rect | null, pager: (Rect & {over: boolean}) | null}}
 */
function arrange({ count, width, height, gap, staged }) {
  const foot = { x: 0, y: height - PAGER_HEIGHT, width, height: PAGER_HEIGHT, over: false };
  if (!staged) {
    const all = gridLayout(count, width, height, gap);
    if (all.perPage >= count) return { ...all, stage: null, pager: null };
    return { ...gridLayout(count, width, height - PAGER_HEIGHT, gap), stage: null, pager: foot };
  }
  const all = stageLayout(count, width, height, gap);
  if (all.perPage >= count) return { ...all, pager: null };
  const { stage } = all;
  // Below the stage there is no room to spare: the pager lies over the stage's corner.
  const corner = { x: stage.width - 134, y: stage.height - PAGER_HEIGHT - 6, width: 128, height: PAGER_HEIGHT, over: true };
  if (!all.beside) return { ...all, pager: corner };
  const strip = stageLayout(count, width, height, gap, PAGER_HEIGHT);
  return { ...strip, pager: { ...foot, x: stage.width + gap, width: width - stage.width - gap } };
}

/**
 * @param {HTMLElement} element
 * @param {Rect} rect
 */
function put(element, rect) {
  element.style.transform = `translate(${rect.x}px, ${rect.y}px)`;
  element.style.width = `${rect.width}px`;
  element.style.height = `${rect.height}px`;
}
