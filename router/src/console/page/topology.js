// @ts-check
// The picture of a room: tracks, receivers, and what goes from one to the other.

import { shape } from "./dom.js";
import { topology } from "./model.js";
import { bits } from "./text.js";

const WIDTH = 900;
const BOX = 210;

/**
 * Width of a thread: a bit wider for each factor of two.
 * @param {number} rate
 */
const wide = (rate) => (rate > 0 ? Math.min(9, Math.max(1.2, Math.log2(rate / 8_000))) : 1.2);

/** @param {string} text */
const short = (text) => (text.length > 22 ? `${text.slice(0, 21)}…` : text);

/**
 * @param {import("./model.js").Knot} knot
 * @param {number} x
 * @param {string} side
 */
function box(knot, x, side) {
  const about = knot.rate > 0 ? `${knot.about} · ${bits(knot.rate)}` : knot.about;
  return shape(
    "g",
    { class: `knot ${side}`, "data-knot": knot.id, transform: `translate(${x} ${knot.y - knot.height / 2})` },
    shape("rect", { width: BOX, height: knot.height, rx: 9 }),
    shape("text", { class: "name", x: 12, y: 15 }, short(knot.name)),
    shape("text", { class: "about", x: 12, y: 29 }, short(about)),
    shape("title", {}, `${knot.name}: ${about}`),
  );
}

/**
 * Draws a room anew.
 * @param {Element} place
 * @param {import("./model.js").RoomDetail} room
 * @param {(participant: string, track: string) => void} open
 */
export function draw(place, room, open) {
  const { tracks, people, threads, height, more } = topology(room);
  const from = new Map(tracks.map((knot) => [knot.id, knot]));
  const to = new Map(people.map((knot) => [knot.id, knot]));
  const lines = threads.flatMap((thread) => {
    const [left, right] = [from.get(thread.from), to.get(thread.to)];
    if (!left || !right) return [];
    const [a, b, middle] = [BOX, WIDTH - BOX, WIDTH / 2];
    const path = `M${a} ${left.y}C${middle} ${left.y} ${middle} ${right.y} ${b} ${right.y}`;
    const about = `${left.name} → ${right.name}: ${thread.kind}, ${thread.state}, ${bits(thread.rate)}`;
    return [shape(
      "g",
      { class: "thread", "data-state": thread.state, "data-kind": thread.kind, click: () => open(thread.to, thread.track) },
      // A wider one below, for pointers.
      shape("path", { class: "reach", d: path }),
      shape("path", { class: "line", d: path, "stroke-width": wide(thread.rate) }),
      shape("title", {}, about),
    )];
  });
  const all = height + (more > 0 ? 24 : 0);
  place.replaceChildren(shape(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${all}`, role: "img", "aria-label": "Who publishes, and who receives it" },
    ...lines,
    ...tracks.map((knot) => box(knot, 0, "track")),
    ...people.map((knot) => box(knot, WIDTH - BOX, "person")),
    more > 0 ? shape("text", { class: "about", x: 12, y: all - 6 }, `and ${more} more participants`) : null,
  ));
}
