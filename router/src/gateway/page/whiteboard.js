// @ts-check
// The shared whiteboard: canvas, tools, pen and keyboard. What travels between participants is in boardmodel.js.

import { dress, el } from "./dom.js";
import { contain } from "./layout.js";
import { toast } from "./toast.js";

/** @typedef {import("./boardmodel.js").Stroke} Stroke */

const SHAPE = 16 / 9;
/** Order matters: strokes carry the index. @type {[string, string][]} */
const COLOURS = [
  ["#22282c", "Black"], ["#c8372d", "Red"], ["#1c6fb8", "Blue"], ["#1f8a5b", "Green"], ["#b8740f", "Amber"], ["#7a4bb0", "Violet"],
];
/** In 1600ths of the board's width. @type {[number, string][]} */
const WIDTHS = [[4, "Thin"], [9, "Medium"], [20, "Thick"]];
const KEY_STEP = 0.01;

export class Whiteboard {
  #canvas = el("canvas", { tabindex: 0, role: "application", "aria-roledescription": "drawing area" });
  #cursor = el("div", { class: "board-cursor", hidden: true, "aria-hidden": "true" });
  #paper = el("div", { class: "paper" }, this.#canvas, this.#cursor);
  #colour = 0;
  #width = WIDTHS[1][0];
  /** @type {Stroke | null} */
  #current = null;
  /** Points drawn so far of each stroke. @type {WeakMap<Stroke, number>} */
  #drawn = new WeakMap();
  #drawnVersion = -1;
  #dirty = false;
  #keyboard = { a: 0.5, b: 0.5, down: false };

  /**
   * @param {HTMLElement} element
   * @param {import("./boardmodel.js").BoardModel} model
   * @param {{close: () => void}} on
   */
  constructor(element, model, on) {
    this.element = element;
    this.model = model;
    element.append(this.#tools(on.close), this.#paper);
    new ResizeObserver(() => this.#resize()).observe(element);
    this.#canvas.addEventListener("pointerdown", (event) => this.#down(event));
    this.#canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) this.#canvas.addEventListener(end, () => this.#up());
    this.#canvas.addEventListener("keydown", (event) => this.#key(event));
    this.#canvas.addEventListener("blur", () => this.#showCursor(false));
    this.refresh();
  }

  focus() {
    this.#canvas.focus();
  }

  /** Draws what is new, with the next frame. */
  refresh() {
    const { strokes } = this.model;
    const count = [...strokes.values()].filter(({ known }) => known > 0).length;
    this.#canvas.setAttribute("aria-label", `Whiteboard with ${count} strokes. Arrow keys move the pen, Space puts it down.`);
    if (this.#dirty) return;
    this.#dirty = true;
    requestAnimationFrame(() => this.#draw());
  }

  /**
   * Draws a whole stroke of our own, as with the pen.
   * @param {[number, number][]} points each from 0 to 1
   * @param {number} [colour]
   */
  stroke(points, colour = this.#colour) {
    let stroke = this.model.begin(colour, this.#width);
    for (const point of points) {
      if (stroke && !this.model.extend(stroke, point, performance.now())) {
        stroke = this.model.begin(colour, this.#width);
        if (stroke) this.model.extend(stroke, point, performance.now());
      }
    }
    this.refresh();
    return stroke !== null;
  }

  /** @param {() => void} close */
  #tools(close) {
    const colours = COLOURS.map(([value, name], index) => {
      const button = el("button", { type: "button", class: "swatch", role: "radio", "aria-label": name, title: name });
      button.style.setProperty("--swatch", value);
      button.addEventListener("click", () => {
        this.#colour = index;
        select(colours, index);
      });
      return button;
    });
    const widths = WIDTHS.map(([value, name], index) => {
      const button = el("button", { type: "button", class: "swatch width", role: "radio", "aria-label": name, title: name });
      button.style.setProperty("--dot", `${4 + index * 5}px`);
      button.addEventListener("click", () => {
        this.#width = value;
        select(widths, index);
      });
      return button;
    });
    select(colours, 0);
    select(widths, 1);
    const [undo, save, shut] = [0, 1, 2].map(() => el("button", { type: "button", class: "quiet" }));
    dress(undo, { icon: "undo", label: "Take back my last stroke" });
    dress(save, { icon: "download", label: "Save as picture" });
    dress(shut, { icon: "close", label: "Close the whiteboard", key: "W" });
    undo.onclick = () => {
      if (this.model.undo(performance.now())) this.refresh();
      else toast("There is no stroke of yours to take back.");
    };
    save.onclick = () => this.#save();
    shut.onclick = close;
    return el(
      "div",
      { class: "board-tools", role: "toolbar", "aria-label": "Drawing tools" },
      radioGroup("Colour", colours), radioGroup("Width", widths), el("span", { class: "spacer" }), undo, this.#clearButton(), save, shut,
    );
  }

  /** Clearing is for everybody, so it takes two presses. */
  #clearButton() {
    const button = el("button", { type: "button", class: "quiet clear" });
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const rest = () => {
      timer = undefined;
      dress(button, { icon: "bin", label: "Clear the whiteboard" });
    };
    button.addEventListener("click", () => {
      if (timer === undefined) {
        dress(button, { icon: "bin", label: "Clear for everybody", text: "Clear for everybody?" });
        timer = setTimeout(rest, 4_000);
        return;
      }
      clearTimeout(timer);
      rest();
      this.model.clear(performance.now());
      this.refresh();
    });
    rest();
    return button;
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    this.#showCursor(false);
    this.#begin();
    this.#extend(this.#position(event));
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.#current) return;
    const events = event.getCoalescedEvents?.() ?? [];
    this.#extend((events.length > 0 ? events : [event]).flatMap((one) => this.#position(one)));
  }

  #up() {
    this.#current = null;
  }

  #begin() {
    this.#current = this.model.begin(this.#colour, this.#width);
    if (!this.#current) toast("The whiteboard is full. Clear it to go on.", "warning");
  }

  /** @param {number[]} coordinates */
  #extend(coordinates) {
    if (!this.#current) return;
    const last = coordinates.slice(-2);
    if (!this.model.extend(this.#current, coordinates, performance.now())) {
      this.#begin();
      if (this.#current) this.model.extend(this.#current, last, performance.now());
    }
    this.refresh();
  }

  /** @param {MouseEvent} event */
  #position(event) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const pen = this.#keyboard;
    if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) {
        this.#begin();
        this.#extend([pen.a, pen.b]);
      } else {
        this.#up();
      }
    } else if (step) {
      const size = KEY_STEP * (event.shiftKey ? 5 : 1);
      pen.a = Math.min(1, Math.max(0, pen.a + step[0] * size));
      pen.b = Math.min(1, Math.max(0, pen.b + step[1] * size * SHAPE));
      if (pen.down) this.#extend([pen.a, pen.b]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.#showCursor(true);
  }

  /** @param {boolean} shown */
  #showCursor(shown) {
    this.#cursor.hidden = !shown;
    this.#cursor.classList.toggle("down", this.#keyboard.down);
    if (!shown && this.#keyboard.down) {
      this.#keyboard.down = false;
      this.#up();
    }
    this.#cursor.style.left = `${this.#keyboard.a * 100}%`;
    this.#cursor.style.top = `${this.#keyboard.b * 100}%`;
  }

  #resize() {
    const tools = this.element.querySelector(".board-tools")?.clientHeight ?? 0;
    const { width, height } = contain(this.element.clientWidth, Math.max(1, this.element.clientHeight - tools), SHAPE);
    if (width < 1 || height < 1) return;
    this.#paper.style.width = `${Math.floor(width)}px`;
    this.#paper.style.height = `${Math.floor(height)}px`;
    const scale = Math.min(3, devicePixelRatio || 1);
    this.#canvas.width = Math.floor(width * scale);
    this.#canvas.height = Math.floor(height * scale);
    this.#drawnVersion = -1;
    this.refresh();
  }

  #draw() {
    this.#dirty = false;
    const context = this.#canvas.getContext("2d");
    if (!context) return;
    const everything = this.#drawnVersion !== this.model.version;
    this.#drawnVersion = this.model.version;
    if (everything) context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    for (const stroke of this.model.strokes.values()) {
      if (!everything && this.#drawn.get(stroke) === stroke.known) continue;
      this.#drawn.set(stroke, stroke.known);
      drawStroke(context, stroke, this.#canvas.width, this.#canvas.height);
    }
  }

  #save() {
    const copy = el("canvas", { width: 1920, height: 1080 });
    const context = copy.getContext("2d");
    if (!context) return;
    context.fillStyle = "#f6f4ee";
    context.fillRect(0, 0, copy.width, copy.height);
    for (const stroke of this.model.strokes.values()) drawStroke(context, stroke, copy.width, copy.height);
    copy.toBlob((blob) => {
      if (!blob) return;
      const url = URL.createObjectURL(blob);
      el("a", { href: url, download: "whiteboard.png" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    });
  }
}

/**
 * Draws a stroke anew: it covers itself, so nothing needs to be erased.
 * @param {CanvasRenderingContext2D} context
 * @param {Stroke} stroke
 * @param {number} width
 * @param {number} height
 */
function drawStroke(context, { points, colour, width: penWidth }, width, height) {
  const at = (/** @type {number} */ index) => {
    const [a, b] = [points[index], points[index + 1]];
    return a === undefined || b === undefined ? null : { x: (a / 65535) * width, y: (b / 65535) * height };
  };
  context.strokeStyle = (COLOURS[colour] ?? COLOURS[0])[0];
  context.lineWidth = Math.max(1, (Math.min(60, penWidth) / 1600) * width);
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  let before = null;
  for (let index = 0; index < points.length; index += 2) {
    const point = at(index);
    if (point && before) {
      // Through the middles, so that fast strokes are round.
      context.quadraticCurveTo(before.x, before.y, (before.x + point.x) / 2, (before.y + point.y) / 2);
    } else if (point) {
      context.moveTo(point.x, point.y);
      context.lineTo(point.x, point.y);
    } else if (before) {
      context.lineTo(before.x, before.y);
    }
    before = point;
  }
  if (before) context.lineTo(before.x, before.y);
  context.stroke();
}

/**
 * @param {string} label
 * @param {HTMLButtonElement[]} buttons
 */
function radioGroup(label, buttons) {
  const group = el("div", { class: "swatches", role: "radiogroup", "aria-label": label }, ...buttons);
  group.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const now = buttons.findIndex((button) => button === document.activeElement);
    if (by === undefined || now < 0) return;
    event.preventDefault();
    const next = buttons[(now + by + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
  return group;
}

/**
 * @param {HTMLButtonElement[]} buttons
 * @param {number} chosen
 */
function select(buttons, chosen) {
  buttons.forEach((button, index) => {
    button.setAttribute("aria-checked", String(index === chosen));
    button.tabIndex = index === chosen ? 0 : -1;
  });
}
