// @ts-check
// What the address of the page says, and the address that invites somebody else.
//
// Parameters: `room`, `name`, `token`; for automation also `autojoin=1`, `camera=0`, `microphone=0`,
// `simulcast=0|1`, `codec=VP8|VP9|H264|AV1`, `width`, `height`, `fps`; `direct=0` for no direct calls.

/**
 * @typedef {object} Settings
 * @property {string} room empty when the address names none
 * @property {string} name
 * @property {string | null} token what the server's authentication policy asks for, if anything
 * @property {boolean} autojoin join at once, without the preview
 * @property {boolean} camera
 * @property {boolean} microphone
 * @property {boolean} simulcast
 * @property {boolean} direct whether a call of two may go past the router, where the server wants that
 * @property {string | null} codec video codec to send, as in SDP; `null` leaves it to the browser
 * @property {number} width of the camera picture, pixels
 * @property {number} height of the camera picture, pixels
 * @property {number} fps frames per second of the camera
 */

/** Bounds of the protocol: bytes of UTF-8. */
export const MAX_ROOM_BYTES = 128;
export const MAX_NAME_BYTES = 128;

const CODECS = ["VP8", "VP9", "H264", "AV1"];

/**
 * @param {string} search the query of the address, with or without `?`
 * @param {{name?: string}} [remembered] values of the last visit
 * @returns {Settings}
 */
export function parseSettings(search, remembered = {}) {
  const query = new URLSearchParams(search);
  const codec = (query.get("codec") ?? "").toUpperCase();
  return {
    room: (query.get("room") ?? "").trim(),
    name: (query.get("name") ?? remembered.name ?? "").trim(),
    token: query.get("token"),
    autojoin: flag(query.get("autojoin"), false),
    camera: flag(query.get("camera"), true),
    microphone: flag(query.get("microphone"), true),
    simulcast: flag(query.get("simulcast"), true),
    direct: flag(query.get("direct"), true),
    codec: CODECS.includes(codec) ? codec : null,
    width: number(query.get("width"), 1280, 160, 3840),
    height: number(query.get("height"), 720, 90, 2160),
    fps: number(query.get("fps"), 30, 1, 60),
  };
}

/**
 * The address to give to others: same page, same room, nothing personal (no name, no token).
 * @param {string} href
 * @param {string} room
 */
export function inviteLink(href, room) {
  const url = new URL(href);
  url.search = "";
  url.hash = "";
  url.searchParams.set("room", room);
  return url.href;
}

/**
 * Why `text` cannot be a room or a name, in plain words; `null` if it can.
 * @param {"room" | "name"} what
 * @param {string} text
 * @returns {string | null}
 */
export function complaint(what, text) {
  const bytes = new TextEncoder().encode(text.trim()).length;
  if (what === "room") {
    if (bytes === 0) return "Give the room a name, for example “standup”.";
    if (bytes > MAX_ROOM_BYTES) return "That room name is too long. Use at most 128 letters.";
  } else {
    if (bytes === 0) return "Enter a name, so that others know who you are.";
    if (bytes > MAX_NAME_BYTES) return "That name is too long. Use at most 128 letters.";
  }
  return null;
}

const FIRST = ["amber", "calm", "clear", "early", "gentle", "green", "light", "quiet", "silver", "slow", "warm", "wide"];
const SECOND = ["brook", "delta", "ferry", "ford", "harbour", "lagoon", "lake", "meadow", "mill", "reed", "river", "shore"];

/**
 * A room name that is easy to say and hard to meet by chance.
 * @param {() => number} [random] from 0 to below 1
 */
export function suggestRoom(random = Math.random) {
  const pick = (/** @type {string[]} */ words) => words[Math.floor(random() * words.length)];
  return `${pick(FIRST)}-${pick(SECOND)}-${100 + Math.floor(random() * 900)}`;
}

/**
 * @param {string | null} value
 * @param {boolean} otherwise
 */
function flag(value, otherwise) {
  if (value === null) return otherwise;
  return !["0", "false", "no", "off"].includes(value.toLowerCase());
}

/**
 * @param {string | null} value
 * @param {number} otherwise
 * @param {number} least
 * @param {number} most
 */
function number(value, otherwise, least, most) {
  const parsed = Number(value);
  if (value === null || !Number.isFinite(parsed) || parsed <= 0) return otherwise;
  return Math.min(most, Math.max(least, Math.round(parsed)));
}
