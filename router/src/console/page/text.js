// @ts-check
// Numbers for people.

/**
 * @param {number} value
 * @param {string[]} units
 */
function scaled(value, units) {
  let unit = 0;
  while (value >= 999.5 && unit + 1 < units.length) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 9.95 ? 1 : 0;
  return `${value.toFixed(digits)}${units[unit]}`;
}

/** @param {number} bps */
export const bits = (bps) => `${scaled(bps, ["", " k", " M", " G", " T"])}bit/s`.replace(/^(\d+)bit/, "$1 bit");

/** @param {number} rate */
export const rate = (rate) => (rate > 0 && rate < 9.95 ? rate.toFixed(1) : scaled(rate, ["", "k", "M", "G"]));

/** @param {number} us */
export function micros(us) {
  if (us < 999.5) return `${us.toFixed(0)} µs`;
  if (us < 9_950) return `${(us / 1e3).toFixed(1)} ms`;
  if (us < 999_500) return `${(us / 1e3).toFixed(0)} ms`;
  return `${(us / 1e6).toFixed(1)} s`;
}

/** @param {number} share 0 to 1 */
export function percent(share) {
  const value = share * 100;
  return `${value > 0 && value < 9.95 ? value.toFixed(1) : value.toFixed(0)} %`;
}

/** @param {number} bytes */
export function bytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit + 1 < units.length) {
    bytes /= 1024;
    unit += 1;
  }
  return `${bytes.toFixed(unit > 0 && bytes < 9.95 ? 1 : 0)} ${units[unit]}`;
}

/** @param {number} ms */
export function age(ms) {
  const seconds = Math.floor(ms / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  if (days > 0) return `${days} d ${two(hours)} h`;
  if (hours > 0) return `${hours} h ${two(minutes)} min`;
  if (minutes > 0) return `${minutes} min ${two(seconds % 60)} s`;
  return `${seconds} s`;
}
