// @ts-check
// The shared drawing, without any display: strokes that arrive at everybody although packets are lost.
//
// Each stroke has an author and a number. Its points go out as they are drawn; every message repeats the last
// few. Authors also tell how many points each stroke has (a digest), and whoever misses some asks for them. For
// authors who have left, the participant who has been here longest answers. "Clear" raises the epoch: strokes of
// an earlier epoch are gone. "Undo" sets a stroke's total to UNDONE, the greatest there is, so it always wins.

import { UNDONE, encodeDigest, encodePoints, encodeWanted } from "./boardwire.js";
import { STROKE_DIGEST, STROKE_POINTS, STROKE_WANTED } from "./wire.js";

/** A message stays within one packet of a path with small MTU. */
const MAX_POINTS_PER_MESSAGE = 240;
const OVERLAP_POINTS = 12;
const MAX_TOTALS_PER_DIGEST = 450;
const MAX_RANGES_PER_REQUEST = 120;
/** Bounds on what others can make us hold. */
export const MAX_STROKE_POINTS = 2_000;
const MAX_STROKES = 4_000;
const MAX_POINTS = 400_000;
/** Numbers are dense, from 0: a far greater one is nonsense. */
const MAX_STROKE_NUMBER = 20_000;

const DIGEST_SOON_MS = 700;
const DIGEST_LATER_MS = 5_000;
/** The same points are not sent again within this time, however many ask. */
const REPEAT_MS = 300;
/** Points that were asked for and did not come are asked for again: soon a few times, then now and then. */
const ASK_AGAIN_MS = 700;
const ASK_LATER_MS = 2_000;
const SOON_ASKS = 8;
const MAX_ASKS = 60;
/** Messages per call of `poll`, so that a large board does not go out in one burst. */
const MAX_MESSAGES_PER_POLL = 12;

/**
 * @typedef {object} Stroke
 * @property {string} author
 * @property {number} number
 * @property {number} colour index into the palette
 * @property {number} width in 1600ths of the board's width
 * @property {number} total points it has, as far as is known; `UNDONE` if taken back
 * @property {(number | undefined)[]} points a and b alternating; holes are not known yet
 * @property {number} known number of points known
 * @property {number} repeatedMs when points were sent again last
 */

export class BoardModel {
  /** In the order they began here. @type {Map<string, Stroke>} */
  strokes = new Map();
  epoch = 0;
  /** Changes whenever something must be drawn that is not an added point. */
  version = 0;
  #me = "";
  #present = () => /** @type {{id: string, joinedAtMs: number}[]} */ ([]);
  #nextNumber = 0;
  #points = 0;
  #digestDueMs = 0;
  #changedMs = -Infinity;
  /** @type {{stroke: Stroke, first: number, end: number}[]} */
  #outgoing = [];
  /** Wanted points by stroke key. @type {Map<string, {author: string, number: number, first: number, end: number, asked: number}>} */
  #wanted = new Map();
  #wantDueMs = Infinity;
  #random;

  /** @param {() => number} [random] */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /**
   * @param {string} me own participant id
   * @param {() => {id: string, joinedAtMs: number}[]} present everybody in the room, ourselves included
   */
  join(me, present) {
    this.#me = me;
    this.#present = present;
    this.#nextNumber = 0;
    this.#digestDueMs = 0;
  }

  get pointCount() {
    return this.#points;
  }

  /** Strokes by author, those taken back not counted. @returns {Record<string, number>} */
  counts() {
    /** @type {Record<string, number>} */
    const counts = {};
    for (const { author, total } of this.strokes.values()) {
      if (total !== UNDONE) counts[author] = (counts[author] ?? 0) + 1;
    }
    return counts;
  }

  /**
   * Begins a stroke of our own.
   * @param {number} colour
   * @param {number} width
   * @returns {Stroke | null} `null` when the board is full
   */
  begin(colour, width) {
    if (this.strokes.size >= MAX_STROKES || this.#points >= MAX_POINTS) return null;
    return this.#stroke(this.#me, this.#nextNumber++, colour, width);
  }

  /**
   * @param {Stroke} stroke own
   * @param {number[]} coordinates a and b alternating, each from 0 to 1
   * @param {number} nowMs
   * @returns {boolean} false when the stroke is full; begin another
   */
  extend(stroke, coordinates, nowMs) {
    const room = MAX_STROKE_POINTS - stroke.total;
    const added = coordinates.slice(0, room * 2);
    for (const value of added) stroke.points.push(Math.round(Math.min(1, Math.max(0, value)) * 65535));
    const before = stroke.total;
    stroke.total += added.length / 2;
    stroke.known = stroke.total;
    this.#points += added.length / 2;
    const last = this.#outgoing.at(-1);
    // What was drawn since the last poll goes out as one message, as far as it fits.
    if (last?.stroke === stroke && last.end === before && stroke.total - last.first <= MAX_POINTS_PER_MESSAGE) {
      last.end = stroke.total;
    } else {
      this.#send(stroke, Math.max(0, before - OVERLAP_POINTS), stroke.total);
    }
    this.#changedMs = nowMs;
    return added.length === coordinates.length && stroke.total < MAX_STROKE_POINTS;
  }

  /**
   * Takes back our latest stroke.
   * @param {number} nowMs
   * @returns {boolean} whether there was one
   */
  undo(nowMs) {
    const own = [...this.strokes.values()].filter(({ author, total }) => author === this.#me && total !== UNDONE);
    const last = own.at(-1);
    if (!last) return false;
    this.#markUndone(last);
    this.#send(last, 0, 0);
    this.#touched(nowMs);
    return true;
  }

  /** @param {number} nowMs */
  clear(nowMs) {
    this.#enterEpoch(this.epoch + 1);
    this.#touched(nowMs);
  }

  /** Somebody came: tell them soon what there is. */
  greet(/** @type {number} */ nowMs) {
    this.#touched(nowMs);
  }

  /**
   * @param {string} from
   * @param {Uint8Array} bytes
   * @param {number} nowMs
   * @returns {boolean} whether the drawing changed
   */
  handle(from, bytes, nowMs) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < 13) return false;
    const kind = view.getUint8(0);
    const epoch = view.getUint32(1);
    const author = view.getBigUint64(5).toString(16);
    if (![STROKE_POINTS, STROKE_DIGEST, STROKE_WANTED].includes(kind)) return false;
    // Only a participant itself, or anybody for one that has left, may speak for an author.
    if (kind !== STROKE_WANTED && author !== from && this.#isPresent(author)) return false;
    if (epoch < this.epoch || epoch > 0x7fffffff) {
      this.#digestDueMs = Math.min(this.#digestDueMs, nowMs + DIGEST_SOON_MS);
      return false;
    }
    const newer = epoch > this.epoch;
    if (newer) this.#enterEpoch(epoch);
    const changed = kind === STROKE_POINTS && this.#handlePoints(view, author, nowMs);
    if (kind === STROKE_DIGEST) return this.#handleDigest(view, author, nowMs) || newer;
    if (kind === STROKE_WANTED) this.#handleWanted(view, author, nowMs);
    return changed || newer;
  }

  /**
   * Messages to send now; call about ten times a second.
   * @param {number} nowMs
   * @returns {Uint8Array<ArrayBuffer>[]}
   */
  poll(nowMs) {
    const messages = this.#outgoing.splice(0, MAX_MESSAGES_PER_POLL).map((part) => encodePoints(this.epoch, part));
    if (nowMs >= this.#wantDueMs) messages.push(...this.#encodeWanted(nowMs));
    if (nowMs >= this.#digestDueMs) {
      messages.push(...this.#encodeDigests());
      const lately = nowMs - this.#changedMs < 10_000;
      this.#digestDueMs = nowMs + (lately ? DIGEST_SOON_MS : DIGEST_LATER_MS);
    }
    return messages;
  }

  /** @param {number} nowMs */
  #touched(nowMs) {
    this.#changedMs = nowMs;
    this.#digestDueMs = Math.min(this.#digestDueMs, nowMs + DIGEST_SOON_MS / 3);
  }

  /** @param {string} id */
  #isPresent(id) {
    return this.#present().some((participant) => participant.id === id);
  }

  /** Whether we answer for `author`. @param {string} author */
  #speakFor(author) {
    if (author === this.#me) return true;
    if (this.#isPresent(author)) return false;
    const oldest = [...this.#present()].sort((a, b) => a.joinedAtMs - b.joinedAtMs || (a.id < b.id ? -1 : 1))[0];
    return oldest?.id === this.#me;
  }

  /** @param {number} epoch */
  #enterEpoch(epoch) {
    this.epoch = epoch;
    this.strokes.clear();
    this.#outgoing = [];
    this.#wanted.clear();
    this.#nextNumber = 0;
    this.#points = 0;
    this.version++;
  }

  /**
   * @param {string} author
   * @param {number} number
   * @param {number} colour
   * @param {number} width
   * @returns {Stroke}
   */
  #stroke(author, number, colour, width) {
    /** @type {Stroke} */
    const stroke = { author, number, colour, width, total: 0, points: [], known: 0, repeatedMs: -Infinity };
    this.strokes.set(`${author}:${number}`, stroke);
    return stroke;
  }

  /** @param {Stroke} stroke */
  #markUndone(stroke) {
    this.#points -= stroke.known;
    stroke.total = UNDONE;
    stroke.points = [];
    stroke.known = 0;
    this.version++;
  }

  /**
   * @param {Stroke} stroke
   * @param {number} first
   * @param {number} end
   */
  #send(stroke, first, end) {
    let start = first;
    do {
      const stop = Math.min(end, start + MAX_POINTS_PER_MESSAGE);
      this.#outgoing.push({ stroke, first: start, end: stop });
      start = stop;
    } while (start < end);
  }

  /**
   * @param {DataView} view
   * @param {string} author
   * @param {number} nowMs
   */
  #handlePoints(view, author, nowMs) {
    if (view.byteLength < 25) return false;
    const number = view.getUint32(13);
    const total = view.getUint16(19);
    const first = view.getUint16(21);
    const count = view.getUint16(23);
    if (number > MAX_STROKE_NUMBER) return false;
    const fits = total === UNDONE || (total <= MAX_STROKE_POINTS && first + count <= total);
    if (!fits || view.byteLength < 25 + count * 4) return false;
    let stroke = this.strokes.get(`${author}:${number}`);
    if (!stroke) {
      if (this.strokes.size >= MAX_STROKES || this.#points + total > MAX_POINTS) return false;
      stroke = this.#stroke(author, number, view.getUint8(17), view.getUint8(18));
    }
    if (stroke.total === UNDONE) return false;
    if (total === UNDONE) {
      this.#markUndone(stroke);
      this.#wanted.delete(`${author}:${number}`);
      return true;
    }
    stroke.total = Math.max(stroke.total, total);
    const before = stroke.known;
    for (let index = first; index < first + count; index++) {
      if (stroke.points[index * 2] !== undefined) continue;
      stroke.points[index * 2] = view.getUint16(25 + (index - first) * 4);
      stroke.points[index * 2 + 1] = view.getUint16(27 + (index - first) * 4);
      stroke.known++;
    }
    this.#points += stroke.known - before;
    if (stroke.known < stroke.total) this.#want(author, number, stroke, stroke.total, nowMs);
    else this.#wanted.delete(`${author}:${number}`);
    return stroke.known > before;
  }

  /**
   * @param {DataView} view
   * @param {string} author
   * @param {number} nowMs
   */
  #handleDigest(view, author, nowMs) {
    if (view.byteLength < 19) return false;
    const first = view.getUint32(13);
    if (first > MAX_STROKE_NUMBER) return false;
    const count = Math.min(view.getUint16(17), (view.byteLength - 19) >> 1);
    let changed = false;
    for (let index = 0; index < count; index++) {
      const total = view.getUint16(19 + index * 2);
      const stroke = this.strokes.get(`${author}:${first + index}`);
      if (total === UNDONE) {
        this.#wanted.delete(`${author}:${first + index}`);
        if (stroke && stroke.total !== UNDONE) {
          this.#markUndone(stroke);
          changed = true;
        }
      } else if (total <= MAX_STROKE_POINTS && (stroke?.total !== UNDONE) && (stroke?.known ?? 0) < total) {
        this.#want(author, first + index, stroke, total, nowMs);
      }
    }
    return changed;
  }

  /**
   * Asks a little later: the points may be on their way, and others may ask for the same.
   * @param {string} author
   * @param {number} number
   * @param {Stroke | undefined} stroke
   * @param {number} total
   * @param {number} nowMs
   */
  #want(author, number, stroke, total, nowMs) {
    let first = 0;
    while (stroke && first < total && stroke.points[first * 2] !== undefined) first++;
    let end = total;
    while (stroke && end > first + 1 && stroke.points[(end - 1) * 2] !== undefined) end--;
    if (this.#wanted.size === 0) this.#wantDueMs = nowMs + 150 + this.#random() * 250;
    const key = `${author}:${number}`;
    this.#wanted.set(key, { author, number, first, end, asked: this.#wanted.get(key)?.asked ?? 0 });
  }

  /**
   * @param {DataView} view
   * @param {string} author
   * @param {number} nowMs
   */
  #handleWanted(view, author, nowMs) {
    if (view.byteLength < 15 || !this.#speakFor(author)) return;
    const count = Math.min(view.getUint16(13), (view.byteLength - 15) >> 3);
    // Somebody is behind: tell again soon what there is.
    if (count > 0) this.#changedMs = nowMs;
    for (let index = 0; index < count; index++) {
      const at = 15 + index * 8;
      const stroke = this.strokes.get(`${author}:${view.getUint32(at)}`);
      if (!stroke || nowMs - stroke.repeatedMs < REPEAT_MS) continue;
      stroke.repeatedMs = nowMs;
      const most = stroke.total === UNDONE ? 0 : stroke.total;
      const first = Math.min(view.getUint16(at + 4), most);
      this.#sendKnown(stroke, first, Math.max(first, Math.min(view.getUint16(at + 6), most)));
    }
  }

  /**
   * Sends what we know of these points; of an author who left, we may have holes ourselves.
   * @param {Stroke} stroke
   * @param {number} first
   * @param {number} end
   */
  #sendKnown(stroke, first, end) {
    if (first === end) this.#send(stroke, first, end);
    let start = first;
    while (start < end) {
      let stop = start;
      while (stop < end && stroke.points[stop * 2] !== undefined) stop++;
      if (stop > start) this.#send(stroke, start, stop);
      start = stop + 1;
    }
  }

  /** @param {number} nowMs */
  #encodeWanted(nowMs) {
    /** @type {Map<string, {number: number, first: number, end: number}[]>} */
    const byAuthor = new Map();
    let again = ASK_LATER_MS;
    for (const [key, want] of this.#wanted) {
      const list = byAuthor.get(want.author) ?? [];
      if (list.length >= MAX_RANGES_PER_REQUEST) continue;
      byAuthor.set(want.author, list);
      list.push(want);
      // What is still missing after that is noticed again by the next digest.
      if (++want.asked >= MAX_ASKS) this.#wanted.delete(key);
      else if (want.asked < SOON_ASKS) again = ASK_AGAIN_MS;
    }
    this.#wantDueMs = this.#wanted.size > 0 ? nowMs + again * (0.75 + this.#random() / 2) : Infinity;
    return [...byAuthor].map(([author, list]) => encodeWanted(this.epoch, author, list));
  }

  #encodeDigests() {
    /** @type {Map<string, number[]>} */
    const totals = new Map();
    for (const { author, number, total } of this.strokes.values()) {
      const list = totals.get(author) ?? [];
      totals.set(author, list);
      list[number] = total;
    }
    // An empty digest carries the epoch: that is how "clear" survives loss.
    if (this.epoch > 0 && !totals.has(this.#me)) totals.set(this.#me, []);
    const messages = [];
    for (const [author, list] of totals) {
      if (!this.#speakFor(author)) continue;
      for (let first = 0; first === 0 || first < list.length; first += MAX_TOTALS_PER_DIGEST) {
        messages.push(encodeDigest(this.epoch, author, first, list.slice(first, first + MAX_TOTALS_PER_DIGEST)));
      }
    }
    return messages;
  }
}
