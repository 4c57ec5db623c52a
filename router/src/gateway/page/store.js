// @ts-check
// What is remembered between visits, in this browser only. Storage may be switched off: then nothing is.

const KEY = "rillway";

/** @typedef {{name?: string, camera?: string, microphone?: string, speaker?: string, keys?: boolean, appearance?: string}} Remembered */

/** @returns {Remembered} */
export function remembered() {
  try {
    const value = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return value !== null && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}

/** @param {Remembered} values */
export function remember(values) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...remembered(), ...values }));
  } catch {
    // Nothing to do: the next visit starts without.
  }
}
