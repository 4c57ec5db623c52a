// @ts-check
// The bar at the bottom, and the menu behind its "more" button.

import { byId, dress, el, icon } from "./dom.js";

/** @typedef {import("./actions.js").Action} Action */

export class Bar {
  #bar = byId("bar", HTMLElement);
  #menu = byId("menu", HTMLElement);
  #more = el("button", { type: "button", class: "control", id: "control-more", "aria-haspopup": "menu", "aria-expanded": "false" });
  /** @type {Map<string, HTMLButtonElement>} */
  #buttons = new Map();
  #actions;

  /** @param {Action[]} actions */
  constructor(actions) {
    this.#actions = actions;
    for (const action of actions) {
      if (action.place === "menu") continue;
      if (action.id === "leave") this.#bar.append(this.#more);
      const button = el("button", { type: "button", class: `control ${action.place}`, id: `control-${action.id}` });
      button.addEventListener("click", action.run);
      this.#buttons.set(action.id, button);
      this.#bar.append(button);
    }
    dress(this.#more, { icon: "more", label: "More" });
    this.#more.addEventListener("click", () => this.#toggle(!this.menuOpen));
    this.#bar.addEventListener("keydown", (event) => this.#arrows(event));
    this.#menu.addEventListener("keydown", (event) => this.#menuKeys(event));
    addEventListener("pointerdown", (event) => {
      const target = /** @type {Node} */ (event.target);
      if (!this.#menu.contains(target) && !this.#more.contains(target)) this.closeMenu();
    });
    this.update();
  }

  /** Shows the present state of all actions. */
  update() {
    for (const action of this.#actions) {
      const button = this.#buttons.get(action.id);
      if (!button) continue;
      dress(button, {
        icon: action.icon(), label: action.label(), ...(action.key ? { key: action.key.toUpperCase() } : {}),
        ...(action.pressed ? { pressed: action.pressed() } : {}),
      });
      button.classList.toggle("off", action.off?.() ?? false);
      button.hidden = action.available?.() === false;
    }
  }

  /**
   * A small mark on a button: something new is behind it.
   * @param {string} id
   * @param {string} text empty: none
   */
  badge(id, text) {
    const button = this.#buttons.get(id);
    if (!button) return;
    const badge = button.querySelector(".badge");
    if (text === "") badge?.remove();
    else if (badge) badge.textContent = text;
    else button.append(el("span", { class: "badge" }, text));
  }

  get menuOpen() {
    return !this.#menu.hidden;
  }

  closeMenu() {
    if (this.menuOpen) this.#toggle(false);
  }

  /** @param {boolean} open */
  #toggle(open) {
    const inside = this.#menu.contains(document.activeElement);
    this.#menu.hidden = !open;
    this.#more.setAttribute("aria-expanded", String(open));
    if (open) {
      this.#menu.replaceChildren(...this.#actions.filter((action) => this.#inMenu(action)).map((action) => this.#item(action)));
      this.#items()[0]?.focus();
    } else if (inside) {
      this.#more.focus();
    }
  }

  /** Everything that has no button now. @param {Action} action */
  #inMenu(action) {
    if (action.available?.() === false || action.place === "bar") return false;
    return action.place === "menu" || this.#buttons.get(action.id)?.offsetParent === null;
  }

  /** @param {Action} action */
  #item(action) {
    const role = action.pressed ? "menuitemcheckbox" : "menuitem";
    const item = el(
      "button",
      { type: "button", role, tabindex: -1, "aria-checked": action.pressed ? String(action.pressed()) : null },
      icon(action.icon()), el("span", {}, action.label()), action.key && el("kbd", { "aria-hidden": "true" }, action.key.toUpperCase()),
    );
    item.addEventListener("click", () => {
      this.#toggle(false);
      action.run();
    });
    return item;
  }

  #items() {
    return [...this.#menu.querySelectorAll("button")];
  }

  /** @param {KeyboardEvent} event */
  #menuKeys(event) {
    const items = this.#items();
    const now = items.findIndex((item) => item === document.activeElement);
    const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: items.length - 1 }[event.key];
    if (next !== undefined) items[(next + items.length) % items.length]?.focus();
    else if (event.key === "Escape" || event.key === "Tab") this.#toggle(false);
    else return;
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
  }

  /** @param {KeyboardEvent} event */
  #arrows(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined) return;
    const buttons = [...this.#bar.querySelectorAll("button")].filter((button) => button.offsetParent !== null);
    const now = buttons.findIndex((button) => button === document.activeElement);
    buttons[(now + by + buttons.length) % buttons.length]?.focus();
    event.preventDefault();
  }
}
