// @ts-check
// Small line plots on canvas.

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{values: (number | null)[], colour: string}[]} lines
 * @param {{points: number, least: number}} scale `points` across; the top is never below `least`
 */
export function plot(canvas, lines, { points, least }) {
  const scale = Math.min(3, devicePixelRatio || 1);
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  if (width === 0 || height === 0) return;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  if (!context) return;
  context.clearRect(0, 0, width, height);
  const all = lines.flatMap(({ values }) => values.slice(-points)).filter((value) => value !== null);
  const top = Math.max(least, ...all) * 1.1;
  grid(context, width, height, scale);
  for (const { values, colour } of lines) line(context, values.slice(-points), colour);

  /**
   * @param {CanvasRenderingContext2D} target
   * @param {(number | null)[]} values
   * @param {string} colour
   */
  function line(target, values, colour) {
    const step = width / (points - 1);
    const y = (/** @type {number} */ value) => height - scale - (value / top) * (height - 3 * scale);
    const start = width - (values.length - 1) * step;
    target.lineWidth = 1.5 * scale;
    target.lineJoin = "round";
    target.strokeStyle = colour;
    target.beginPath();
    values.forEach((value, index) => {
      if (value === null) return;
      const before = values[index - 1];
      if (before === null || before === undefined) target.moveTo(start + index * step, y(value));
      target.lineTo(start + index * step, y(value));
    });
    target.stroke();
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} width
 * @param {number} height
 * @param {number} scale
 */
function grid(context, width, height, scale) {
  context.strokeStyle = "rgba(255, 255, 255, 0.07)";
  context.lineWidth = scale;
  context.beginPath();
  for (const share of [0.33, 0.66]) {
    context.moveTo(0, Math.round(height * share) + scale / 2);
    context.lineTo(width, Math.round(height * share) + scale / 2);
  }
  context.stroke();
}
