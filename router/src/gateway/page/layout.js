// @ts-check
// Where tiles go: pure geometry.

/** @typedef {{x: number, y: number, width: number, height: number}} Rect */
/** @typedef {{rects: Rect[], perPage: number}} Layout `rects` of the first `perPage` tiles at most */

/** Tiles keep a shape between these, width by height. */
const WIDEST = 16 / 9;
const NARROWEST = 4 / 3;
const NARROWEST_ON_PHONES = 1;
/** A tile smaller than this shows nothing worth seeing: the rest goes to another page. */
const LEAST_WIDTH = 150;
const LEAST_WIDTH_ON_PHONES = 104;
const PHONE_WIDTH = 520;
const MOST_PER_PAGE = 49;

/**
 * Shows `count` tiles as large as the area allows; the last row is centred.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 * @param {number} [gap]
 * @returns {Layout}
 */
export function gridLayout(count, width, height, gap = 8) {
  if (count <= 0 || width <= 0 || height <= 0) return { rects: [], perPage: 0 };
  const phone = width < PHONE_WIDTH;
  const least = phone ? LEAST_WIDTH_ON_PHONES : LEAST_WIDTH;
  const narrowest = phone ? NARROWEST_ON_PHONES : NARROWEST;
  for (let shown = Math.min(count, MOST_PER_PAGE); shown >= 1; shown--) {
    const best = bestColumns(shown, width, height, gap, narrowest);
    if (best.tile.width >= least || shown === 1) {
      return { rects: place(shown, best.columns, best.tile, width, height, gap), perPage: shown };
    }
  }
  return { rects: [], perPage: 0 };
}

/**
 * @param {number} count
 * @param {number} width
 * @param {number} height
 * @param {number} gap
 * @param {number} narrowest
 */
function bestColumns(count, width, height, gap, narrowest) {
  let best = { columns: 1, tile: { width: 0, height: 0 }, area: -1 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cell = { width: (width - gap * (columns - 1)) / columns, height: (height - gap * (rows - 1)) / rows };
    if (cell.width <= 0 || cell.height <= 0) continue;
    const tile = fit(cell, narrowest);
    const area = worth(tile, narrowest < NARROWEST);
    if (area > best.area) best = { columns, tile, area };
  }
  return best;
}

/**
 * Cameras send 16:9, and a narrower tile cuts the sides off: only half of what it gains by height counts. On phones
 * faces matter more than what is beside them.
 * @param {{width: number, height: number}} tile
 * @param {boolean} phone
 */
export function worth({ width, height }, phone) {
  const uncut = Math.min(height, width / WIDEST);
  return width * (uncut + (height - uncut) * (phone ? 1 : 0.5));
}

/**
 * The largest tile of an allowed shape inside a cell.
 * @param {{width: number, height: number}} cell
 * @param {number} narrowest
 */
function fit(cell, narrowest) {
  const shape = cell.width / cell.height;
  if (shape > WIDEST) return { width: Math.floor(cell.height * WIDEST), height: Math.floor(cell.height) };
  if (shape < narrowest) return { width: Math.floor(cell.width), height: Math.floor(cell.width / narrowest) };
  return { width: Math.floor(cell.width), height: Math.floor(cell.height) };
}

/**
 * @param {number} count
 * @param {number} columns
 * @param {{width: number, height: number}} tile
 * @param {number} width
 * @param {number} height
 * @param {number} gap
 * @returns {Rect[]}
 */
function place(count, columns, tile, width, height, gap) {
  const rows = Math.ceil(count / columns);
  const top = Math.floor((height - rows * tile.height - (rows - 1) * gap) / 2);
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = Math.floor((width - inRow * tile.width - (inRow - 1) * gap) / 2);
    const column = index - row * columns;
    return { x: left + column * (tile.width + gap), y: top + row * (tile.height + gap), ...tile };
  });
}

/**
 * One large area, and a strip of small tiles beside it (or below it, where the area is taller than wide).
 * @param {number} count tiles for the strip
 * @param {number} width
 * @param {number} height
 * @param {number} [gap]
 * @param {number} [pager] height to keep free at the end of a strip that is beside
 * @returns {{stage: Rect, beside: boolean} & Layout}
 */
export function stageLayout(count, width, height, gap = 8, pager = 0) {
  const beside = width > height * 1.15 && width >= 640;
  if (count <= 0) return { stage: { x: 0, y: 0, width, height }, beside, rects: [], perPage: 0 };
  if (beside) {
    const tileWidth = Math.round(Math.min(240, Math.max(140, width * 0.17)));
    const tileHeight = Math.round((tileWidth * 9) / 16);
    const room = height - pager;
    const fits = Math.max(1, Math.floor((room + gap) / (tileHeight + gap)));
    const shown = Math.min(count, fits);
    const top = pager > 0 ? 0 : Math.floor((room - shown * tileHeight - (shown - 1) * gap) / 2);
    const rects = Array.from({ length: shown }, (_, index) => {
      return { x: width - tileWidth, y: top + index * (tileHeight + gap), width: tileWidth, height: tileHeight };
    });
    return { stage: { x: 0, y: 0, width: width - tileWidth - gap, height }, beside, rects, perPage: fits };
  }
  const tileHeight = Math.round(Math.min(130, Math.max(64, height * 0.17)));
  const wanted = Math.round((tileHeight * 4) / 3);
  const fits = Math.max(1, Math.round((width + gap) / (wanted + gap)));
  const shown = Math.min(count, fits);
  // As many as fit fill the width exactly; fewer keep their shape.
  const tileWidth = shown === fits ? Math.floor((width - (fits - 1) * gap) / fits) : Math.min(wanted, width);
  const left = Math.floor((width - shown * tileWidth - (shown - 1) * gap) / 2);
  const rects = Array.from({ length: shown }, (_, index) => {
    return { x: left + index * (tileWidth + gap), y: height - tileHeight, width: tileWidth, height: tileHeight };
  });
  return { stage: { x: 0, y: 0, width, height: height - tileHeight - gap }, beside, rects, perPage: fits };
}

/** Two people: the other's tile keeps a shape between these, so that little is cut off. */
const DUO_WIDEST = 2.05;
const DUO_NARROWEST = 3 / 4;

/**
 * Two people: the other as large as the area allows, we small in a corner of that.
 * @param {number} width
 * @param {number} height
 * @returns {{other: Rect, own: Rect}}
 */
export function duoLayout(width, height) {
  const shape = Math.min(DUO_WIDEST, Math.max(DUO_NARROWEST, width / height));
  const { x, y, width: wide, height: high } = contain(width, height, shape);
  const other = { x: Math.floor(x), y: Math.floor(y), width: Math.floor(wide), height: Math.floor(high) };
  const margin = width < PHONE_WIDTH ? 8 : 14;
  const ownWidth = Math.round(Math.min(256, Math.max(96, other.width * 0.2), other.width / 2));
  const ownHeight = Math.round(ownWidth / (width < PHONE_WIDTH ? NARROWEST : WIDEST));
  const own = {
    x: other.x + other.width - ownWidth - margin, y: other.y + other.height - ownHeight - margin, width: ownWidth, height: ownHeight,
  };
  return { other, own };
}

/**
 * What fits of `shape` (width by height) into the box, centred.
 * @param {number} width
 * @param {number} height
 * @param {number} shape
 * @returns {Rect}
 */
export function contain(width, height, shape) {
  const fitted = width / height > shape ? { width: height * shape, height } : { width, height: width / shape };
  return { x: (width - fitted.width) / 2, y: (height - fitted.height) / 2, ...fitted };
}

/**
 * The order of tiles when not all fit on a page: whoever spoke lately and would be hidden takes the place of the
 * visible one that has been silent longest. Everybody else stays where they are.
 * @template {{key: string}} T
 * @param {T[]} tiles in their usual order
 * @param {number} visible
 * @param {(tile: T) => number} spokeAt time of speaking last; 0: never
 * @returns {T[]}
 */
export function promoteSpeakers(tiles, visible, spokeAt) {
  const order = [...tiles];
  for (let index = visible; index < order.length; index++) {
    const spoke = spokeAt(order[index]);
    if (spoke === 0) continue;
    let silent = 0;
    for (let other = 1; other < visible; other++) {
      // Among equals, the later one gives way, so that the first places stay calm.
      if (spokeAt(order[other]) <= spokeAt(order[silent])) silent = other;
    }
    if (spokeAt(order[silent]) < spoke) [order[silent], order[index]] = [order[index], order[silent]];
  }
  return order;
}
