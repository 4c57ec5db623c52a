// @ts-check
// What this page puts into data-channel messages. The router carries the bytes unread; other clients that want
// to chat, to share files or to draw with this page follow the layout below. All integers are big-endian.
//
//   1  JSON, UTF-8: {"t": kind, …}                                     (channel `reliable`)
//   2  piece of a file: u32 transfer, u32 index, bytes                 (channel `reliable`)
//   3  points of a stroke, 4 digest of strokes, 5 wanted strokes: see boardmodel.js (channel `unreliable`)
//   6  of a direct call (docs/direct.md): u8 what (0: what follows comes directly, 1: came directly, perhaps), u32 call,
//      u32 number, bytes of the message                               (channel `reliable`)
//
// A first byte that is not known is ignored, so that kinds can be added.

export const JSON_MESSAGE = 1;
export const FILE_PIECE = 2;
export const STROKE_POINTS = 3;
export const STROKE_DIGEST = 4;
export const STROKE_WANTED = 5;
export const DIRECT = 6;

/** Bytes before the message that came directly, perhaps. */
export const DIRECT_HEADER_BYTES = 10;

/** Bytes before the bytes of the file in a piece. */
export const PIECE_HEADER_BYTES = 9;
/** Files are held in the memory of every participant's browser. */
export const MAX_FILE_BYTES = 64 * 1024 * 1024;
/** Bytes the router puts before every message: the sender's participant id. */
export const SENDER_BYTES = 8;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * @param {Record<string, unknown> & {t: string}} value
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeJson(value) {
  const text = encoder.encode(JSON.stringify(value));
  const bytes = new Uint8Array(1 + text.length);
  bytes[0] = JSON_MESSAGE;
  bytes.set(text, 1);
  return bytes;
}

/**
 * The JSON of a message, or `null` if it is not one.
 * @param {Uint8Array} bytes
 * @returns {(Record<string, any> & {t: string}) | null}
 */
export function decodeJson(bytes) {
  if (bytes[0] !== JSON_MESSAGE) return null;
  try {
    const value = JSON.parse(decoder.decode(bytes.subarray(1)));
    return value !== null && typeof value === "object" && typeof value.t === "string" ? value : null;
  } catch {
    return null;
  }
}

/**
 * @param {number} transfer
 * @param {number} index
 * @param {Uint8Array} piece
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodePiece(transfer, index, piece) {
  const bytes = new Uint8Array(PIECE_HEADER_BYTES + piece.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, FILE_PIECE);
  view.setUint32(1, transfer);
  view.setUint32(5, index);
  bytes.set(piece, PIECE_HEADER_BYTES);
  return bytes;
}

/**
 * @param {Uint8Array} bytes
 * @returns {{transfer: number, index: number, piece: Uint8Array} | null}
 */
export function decodePiece(bytes) {
  if (bytes[0] !== FILE_PIECE || bytes.length < PIECE_HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { transfer: view.getUint32(1), index: view.getUint32(5), piece: bytes.subarray(PIECE_HEADER_BYTES) };
}

/**
 * @param {{again: boolean, call: number, number: number, payload: Uint8Array}} message
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeDirect({ again, call, number, payload }) {
  const bytes = new Uint8Array(DIRECT_HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, DIRECT);
  view.setUint8(1, again ? 1 : 0);
  view.setUint32(2, call);
  view.setUint32(6, number);
  bytes.set(payload, DIRECT_HEADER_BYTES);
  return bytes;
}

/**
 * @param {Uint8Array} bytes
 * @returns {{again: boolean, call: number, number: number, payload: Uint8Array} | null}
 */
export function decodeDirect(bytes) {
  if (bytes[0] !== DIRECT || bytes.length < DIRECT_HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { again: view.getUint8(1) === 1, call: view.getUint32(2), number: view.getUint32(6), payload: bytes.subarray(DIRECT_HEADER_BYTES) };
}

/**
 * Splits what the router delivers into the sender's participant id, as signaling spells it, and the payload.
 * @param {ArrayBuffer} data
 * @returns {{from: string, payload: Uint8Array} | null}
 */
export function splitSender(data) {
  if (data.byteLength < SENDER_BYTES) return null;
  const from = new DataView(data).getBigUint64(0).toString(16);
  return { from, payload: new Uint8Array(data, SENDER_BYTES) };
}

/** @param {ArrayBuffer | Uint8Array<ArrayBuffer>} data */
export async function sha256Hex(data) {
  const hash = await crypto.subtle.digest("SHA-256", data);
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
