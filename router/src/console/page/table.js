// @ts-check
// Tables whose rows stay the same elements from sample to sample, sorted by any column.

import { make, say } from "./dom.js";

/**
 * @template T
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: T) => string} [text]
 * @property {(row: T) => number | string | null} [order] what it is sorted by; without, it is not
 * @property {(row: T) => string} [mood] a class of the cell
 * @property {(canvas: HTMLCanvasElement, row: T) => void} [draw] a small plot in place of text
 * @property {(row: T) => number} [share] a bar behind the text, 0 to 1
 */

/** @template T */
export class Table {
  /** @type {Map<string, {row: HTMLTableRowElement, cells: HTMLTableCellElement[], item: T}>} */
  #rows = new Map();
  #sort;
  #down = true;
  #body = make("tbody");
  #columns;
  #key;
  #open;
  #heads;
  #empty;

  /**
   * @param {Element} place
   * @param {Column<T>[]} columns
   * @param {{key: (item: T) => string, sort: number, empty: string, open?: (item: T) => void}} look
   */
  constructor(place, columns, { key, sort, empty, open }) {
    this.#columns = columns;
    this.#key = key;
    this.#sort = sort;
    this.#open = open;
    this.#heads = columns.map((column, index) => this.#head(column, index));
    this.#empty = make("p", { class: "empty", hidden: true }, empty);
    place.replaceChildren(
      make("table", {}, make("thead", {}, make("tr", {}, ...this.#heads)), this.#body),
      this.#empty,
    );
    this.#mark();
  }

  /** @param {Column<T>} column @param {number} index */
  #head(column, index) {
    if (!column.order) return make("th", { scope: "col" }, column.title);
    const choose = () => {
      this.#down = this.#sort === index ? !this.#down : true;
      this.#sort = index;
      this.#mark();
      this.#arrange();
    };
    return make("th", { scope: "col" }, make("button", { type: "button", click: choose }, column.title));
  }

  #mark() {
    this.#heads.forEach((head, index) => {
      if (index === this.#sort) head.setAttribute("aria-sort", this.#down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  /** @param {T[]} items */
  show(items) {
    const seen = new Set();
    for (const item of items) {
      const key = this.#key(item);
      seen.add(key);
      let entry = this.#rows.get(key);
      if (!entry) {
        entry = this.#make(item);
        this.#rows.set(key, entry);
      }
      entry.item = item;
      this.#fill(entry);
    }
    for (const [key, { row }] of this.#rows) {
      if (seen.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    this.#empty.hidden = items.length > 0;
    this.#arrange();
    // Only what is in the page has a size to draw in.
    for (const { cells, item } of this.#rows.values()) {
      this.#columns.forEach(({ draw }, index) => {
        const canvas = cells[index].querySelector("canvas");
        if (draw && canvas) draw(canvas, item);
      });
    }
  }

  /** @param {T} item */
  #make(item) {
    const cells = this.#columns.map(({ draw }) => (draw ? make("td", { class: "spark" }, make("canvas")) : make("td")));
    const entry = { row: make("tr", {}, ...cells), cells, item };
    const open = this.#open;
    if (open) {
      const enter = () => open(entry.item);
      entry.row.tabIndex = 0;
      entry.row.classList.add("opens");
      entry.row.addEventListener("click", enter);
      entry.row.addEventListener("keydown", (event) => {
        if (event.key === "Enter") enter();
      });
    }
    return entry;
  }

  /** @param {{cells: HTMLTableCellElement[], item: T}} entry */
  #fill({ cells, item }) {
    this.#columns.forEach(({ text, mood, share, order }, index) => {
      const cell = cells[index];
      if (text) say(cell, text(item));
      if (order && typeof order(item) === "number") cell.classList.add("number");
      if (order && typeof order(item) === "number") this.#heads[index].classList.add("number");
      if (mood) cell.dataset.mood = mood(item);
      if (share) cell.style.setProperty("--share", String(Math.min(1, Math.max(0, share(item)))));
      if (share) cell.classList.add("shared");
    });
  }

  #arrange() {
    const { order } = this.#columns[this.#sort];
    const entries = [...this.#rows.entries()];
    entries.sort(([keyA, a], [keyB, b]) => {
      const [left, right] = [order?.(a.item) ?? null, order?.(b.item) ?? null];
      // "Down" is from the largest number, and from A.
      const numbers = typeof left === "number" || typeof right === "number";
      const by = compare(left, right) * (numbers === this.#down ? -1 : 1);
      // Equal rows must not dance from sample to sample.
      return by || (keyA < keyB ? -1 : 1);
    });
    entries.forEach(([, { row }], index) => {
      if (this.#body.children[index] !== row) this.#body.insertBefore(row, this.#body.children[index] ?? null);
    });
  }
}

/**
 * @param {number | string | null} a
 * @param {number | string | null} b
 */
export function compare(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? -1 : 1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b));
}
