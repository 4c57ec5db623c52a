// @ts-check
// Errors in plain words: what happened, and what to do.

import { ProtocolError } from "./protocol.js";

/** @type {Record<string, string>} */
const BY_CODE = {
  unauthenticated: "This server wants to know who you are. Open the link you were given again, or ask for a new one.",
  forbidden: "You are not allowed to do this here. Ask whoever runs the meeting.",
  over_quota: "The server has reached its quota. Try again in a few minutes.",
  not_found: "That is no longer there.",
  limit_exceeded: "The server's limit is reached. Stop sharing something else first.",
  unavailable: "The server cannot do this just now. Try again in a moment.",
  internal: "Something went wrong in the server. Try again; if it stays, tell whoever runs it.",
  timeout: "The server did not answer in time. Check your connection.",
  disconnected: "The connection was lost.",
};

/**
 * @param {unknown} error
 * @returns {string}
 */
export function plain(error) {
  if (error instanceof ProtocolError) return BY_CODE[error.code] ?? `The server said: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}

/**
 * Why the server did not let us in: its policy's words, and what to do.
 * @param {ProtocolError} error
 * @returns {string}
 */
export function refusal(error) {
  const advice = BY_CODE[error.code];
  if (error.message === "") return plain(error);
  return advice ? `${sentence(error.message)} ${advice}` : sentence(error.message);
}

/**
 * Why the connection went down, for the banner and the last screen.
 * @param {number} code close code of the WebSocket
 * @param {string} reason
 * @returns {string}
 */
export function plainClose(code, reason) {
  switch (code) {
    case 4000: // our own decision; the reason says it
      return sentence(reason);
    case 1001:
      return "The server is restarting.";
    case 4001:
      return reason ? `The server did not let you in: ${reason}` : BY_CODE.unauthenticated;
    case 4003:
      return removed(reason);
    case 4008:
      return "The server closed the connection because too much was sent at once.";
    case 4009:
      return "The server did not hear from you for too long.";
    case 4010:
      return "The server could not go on with this call.";
    case 4011:
      return "A part of the server failed.";
    case 4013:
      return "The server is full, or about to restart.";
    default:
      return navigator.onLine ? "The server cannot be reached." : "You are offline.";
  }
}

/** @param {unknown} reason */
export function removed(reason) {
  return typeof reason === "string" && reason !== "" ? sentence(`you were removed: ${reason}`) : "You were removed from the room.";
}

/** @param {string} text */
function sentence(text) {
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}

const WHAT = { camera: "camera", microphone: "microphone", devices: "camera and microphone", screen: "screen" };

/**
 * Why a device could not be used.
 * @param {"camera" | "microphone" | "devices" | "screen"} source
 * @param {unknown} error of getUserMedia or getDisplayMedia
 * @returns {string}
 */
export function plainMedia(source, error) {
  const what = WHAT[source];
  const name = error instanceof Error ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return source === "screen"
        ? "The screen is not shared: the browser or the system did not allow it."
        : `This page may not use the ${what}. Allow it with the sign beside the address, then switch it on.`;
    case "NotFoundError":
    case "DevicesNotFoundError":
      return `No ${what} was found. You can take part without.`;
    case "NotReadableError":
    case "AbortError":
      return `The browser could not start your ${what}. Perhaps another program has it: close that, then try again.`;
    case "NotSupportedError":
      return `This browser cannot share the ${what}.`;
    case "InsecureContextError":
      return `Browsers give the ${what} only to pages opened over https or on this computer (127.0.0.1).`;
    default:
      return `Your ${what} cannot be used (${name || "unknown reason"}).`;
  }
}
