// @ts-check
// The messages of the shared drawing.
//
// Layouts, after the kind byte (wire.js), all big-endian; a and b below are u16 in 65536ths of the board:
//   points  u32 epoch, u64 author, u32 stroke, u8 colour, u8 width, u16 total, u16 first, u16 count, (a, b)…
//   digest  u32 epoch, u64 author, u32 first, u16 count, u16 total…
//   wanted  u32 epoch, u64 author, u16 count, (u32 stroke, u16 first, u16 end)…

import { STROKE_DIGEST, STROKE_POINTS, STROKE_WANTED } from "./wire.js";

/** The total of a stroke that was taken back. */
export const UNDONE = 0xffff;

/**
 * @param {number} kind
 * @param {number} epoch
 * @param {string} author
 * @param {number} length
 */
function header(kind, epoch, author, length) {
  const view = new DataView(new ArrayBuffer(length));
  view.setUint8(0, kind);
  view.setUint32(1, epoch);
  view.setBigUint64(5, BigInt(`0x${author || "0"}`));
  return view;
}

/**
 * @param {number} epoch
 * @param {{stroke: import("./boardmodel.js").Stroke, first: number, end: number}} part
 */
export function encodePoints(epoch, { stroke, first, end }) {
  const count = stroke.total === UNDONE ? 0 : end - first;
  const view = header(STROKE_POINTS, epoch, stroke.author, 25 + count * 4);
  view.setUint32(13, stroke.number);
  view.setUint8(17, stroke.colour);
  view.setUint8(18, stroke.width);
  view.setUint16(19, stroke.total);
  view.setUint16(21, count === 0 ? 0 : first);
  view.setUint16(23, count);
  for (let index = 0; index < count * 2; index++) {
    view.setUint16(25 + index * 2, stroke.points[first * 2 + index] ?? 0);
  }
  return new Uint8Array(view.buffer);
}

/**
 * @param {number} epoch
 * @param {string} author
 * @param {number} first stroke
 * @param {number[]} totals may have holes
 */
export function encodeDigest(epoch, author, first, totals) {
  const view = header(STROKE_DIGEST, epoch, author, 19 + totals.length * 2);
  view.setUint32(13, first);
  view.setUint16(17, totals.length);
  for (let index = 0; index < totals.length; index++) view.setUint16(19 + index * 2, totals[index] ?? 0);
  return new Uint8Array(view.buffer);
}

/**
 * @param {number} epoch
 * @param {string} author
 * @param {{number: number, first: number, end: number}[]} ranges
 */
export function encodeWanted(epoch, author, ranges) {
  const view = header(STROKE_WANTED, epoch, author, 15 + ranges.length * 8);
  view.setUint16(13, ranges.length);
  ranges.forEach(({ number, first, end }, index) => {
    view.setUint32(15 + index * 8, number);
    view.setUint16(19 + index * 8, first);
    view.setUint16(21 + index * 8, end);
  });
  return new Uint8Array(view.buffer);
}
