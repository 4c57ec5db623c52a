// @ts-check
// Which pieces of a file are there: a bit set with the list of its gaps.

export class PieceSet {
  #bits;
  count = 0;

  /** @param {number} size number of pieces */
  constructor(size) {
    this.size = size;
    this.#bits = new Uint8Array(size);
  }

  /** @param {number} index */
  has(index) {
    return this.#bits[index] === 1;
  }

  /**
   * False if it was there already, or cannot be.
   * @param {number} index
   */
  add(index) {
    if (!Number.isInteger(index) || index < 0 || index >= this.size || this.#bits[index] === 1) return false;
    this.#bits[index] = 1;
    this.count++;
    return true;
  }

  /** @param {number} index */
  remove(index) {
    if (this.#bits[index] !== 1) return;
    this.#bits[index] = 0;
    this.count--;
  }

  get complete() {
    return this.count === this.size;
  }

  /**
   * The first gaps, as pairs of first and one past last.
   * @param {number} most
   * @param {number} [end] looks only before this piece
   * @returns {[number, number][]}
   */
  gaps(most, end = this.size) {
    /** @type {[number, number][]} */
    const gaps = [];
    for (let index = 0; index < end && gaps.length < most; index++) {
      if (this.#bits[index] === 1) continue;
      const first = index;
      while (index < end && this.#bits[index] === 0) index++;
      gaps.push([first, index]);
    }
    return gaps;
  }

  /** The first missing piece, or -1. */
  next() {
    return this.#bits.indexOf(0);
  }
}
