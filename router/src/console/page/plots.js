// @ts-check
// Plots on canvas: lines over time, and a histogram.

/** Colours of lines, readable on light and on dark. */
export const COLOURS = ["#2aa392", "#d08a1d", "#8d7be0", "#d9567a", "#4f93d8", "#7a9a2e", "#b06a4a", "#5d7f8c"];

/**
 * A canvas fitted to its place, in its own pixels; `null` while it is not shown.
 * @param {HTMLCanvasElement} canvas
 */
function sheet(canvas) {
  const scale = Math.min(3, devicePixelRatio || 1);
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  const context = canvas.getContext("2d");
  if (width === 0 || height === 0 || !context) return null;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  // The colour of text, for whatever scheme the page is in.
  const ink = getComputedStyle(canvas).color;
  context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  return { context, ink, width: canvas.clientWidth, height: canvas.clientHeight };
}

/**
 * The next round number: 1, 2 or 5 and zeros.
 * @param {number} value
 */
export function round(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999) ?? value;
}

/**
 * @typedef {{values: (number | null)[], colour: string, fill?: boolean}} Line
 * @typedef {{points: number, least: number, text?: (value: number) => string}} Scale `points` across, the top never
 *   below `least`; with `text`, there is an axis
 */

/**
 * Lines over time, the newest at the right.
 * @param {HTMLCanvasElement} canvas
 * @param {Line[]} lines
 * @param {Scale} scale
 */
export function plot(canvas, lines, { points, least, text }) {
  const paper = sheet(canvas);
  if (!paper) return;
  const { context, ink, width, height } = paper;
  const known = lines.flatMap(({ values }) => values.slice(-points)).filter((value) => value !== null);
  const top = text ? round(Math.max(least, ...known)) : Math.max(least, ...known);
  const [left, above, below] = text ? [0, 14, 1] : [0, 2, 1];
  const y = (/** @type {number} */ value) => height - below - (value / top) * (height - above - below);
  const x = (/** @type {number} */ back) => width - (back * (width - left)) / (points - 1);
  if (text) {
    context.strokeStyle = ink;
    context.fillStyle = ink;
    context.lineWidth = 1;
    for (const share of [0, 0.5, 1]) {
      context.globalAlpha = 0.18;
      context.beginPath();
      context.moveTo(left, Math.round(y(top * share)) + 0.5);
      context.lineTo(width, Math.round(y(top * share)) + 0.5);
      context.stroke();
      context.globalAlpha = 0.8;
      if (share > 0) context.fillText(text(top * share), left + 1, y(top * share) - 3);
    }
    context.globalAlpha = 1;
  }
  for (const line of lines) draw(context, line, points, x, y);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Line} line
 * @param {number} points
 * @param {(back: number) => number} x
 * @param {(value: number) => number} y
 */
function draw(context, line, points, x, y) {
  const values = line.values.slice(-points);
  /** @type {[number, number][][]} */
  const runs = [];
  /** @type {[number, number][] | null} */
  let run = null;
  values.forEach((value, index) => {
    if (value === null) run = null;
    else {
      if (!run) runs.push((run = []));
      run.push([x(values.length - 1 - index), y(value)]);
    }
  });
  context.strokeStyle = line.colour;
  context.fillStyle = line.colour;
  context.lineWidth = 1.8;
  context.lineJoin = "round";
  for (const points of runs) {
    const [first, last] = [points[0], points[points.length - 1]];
    context.beginPath();
    for (const [px, py] of points) context.lineTo(px, py);
    context.stroke();
    if (line.fill) {
      context.lineTo(last[0], y(0));
      context.lineTo(first[0], y(0));
      context.globalAlpha = 0.14;
      context.fill();
      context.globalAlpha = 1;
    }
    if (points.length === 1) context.fillRect(last[0] - 2, last[1] - 1, 2, 2);
  }
}

/**
 * A histogram, with marks where quantiles are.
 * @param {HTMLCanvasElement} canvas
 * @param {number[]} counts
 * @param {number[]} bounds upper bound of each bar
 * @param {{value: number, name: string, colour: string}[]} marks
 * @param {(value: number) => string} text
 */
export function histogram(canvas, counts, bounds, marks, text) {
  const paper = sheet(canvas);
  if (!paper) return;
  const { context, ink, width, height } = paper;
  const [floor, above, step] = [height - 18, 16, width / counts.length];
  const top = Math.max(1, ...counts);
  const at = (/** @type {number} */ value) => {
    const [low, high] = [Math.log(bounds[0]), Math.log(bounds[bounds.length - 1])];
    return (((Math.log(Math.max(value, bounds[0])) - low) / (high - low)) * (counts.length - 1) + 0.5) * step;
  };
  context.fillStyle = COLOURS[0];
  counts.forEach((count, index) => {
    // What is rare is what one looks for: it has a pixel at least.
    const tall = count > 0 ? Math.max(1.5, (count / top) * (floor - above)) : 0;
    context.fillRect(index * step + 0.5, floor - tall, Math.max(1, step - 1), tall);
  });
  context.fillStyle = ink;
  context.strokeStyle = ink;
  context.globalAlpha = 0.3;
  context.fillRect(0, floor, width, 1);
  context.globalAlpha = 0.8;
  context.textAlign = "center";
  for (const value of [10, 100, 1_000, 10_000, 100_000]) {
    if (value < bounds[0] || value > bounds[bounds.length - 1]) continue;
    context.fillRect(at(value), floor, 1, 4);
    context.fillText(text(value), Math.min(width - 24, Math.max(20, at(value))), height - 2);
  }
  context.globalAlpha = 1;
  marks.forEach(({ value, name, colour }, index) => {
    context.fillStyle = colour;
    context.fillRect(at(value), above - 4, 1.5, floor - above + 4);
    context.textAlign = index === 0 ? "right" : "left";
    context.fillText(`${name} ${text(value)}`, at(value) + (index === 0 ? -4 : 5), 10);
  });
  context.textAlign = "start";
}
