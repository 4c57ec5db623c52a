// @ts-check
// The panel at the side with its two tabs, Chat and People.

import { byId, dress, el, giveBack } from "./dom.js";
import { Emitter } from "./emitter.js";

/** @typedef {"chat" | "people"} Tab */

/** @extends {Emitter<{change: void}>} */
export class Panel extends Emitter {
  /** @type {Tab | null} */
  open = null;
  #element = byId("panel", HTMLElement);
  /** @type {Record<Tab, HTMLElement>} */
  pages = {
    chat: el("section", { id: "chat-page", role: "tabpanel", "aria-labelledby": "chat-tab", class: "page" }),
    people: el("section", { id: "people-page", role: "tabpanel", "aria-labelledby": "people-tab", class: "page" }),
  };
  #tabs = {
    chat: this.#tab("chat", "Chat"),
    people: this.#tab("people", "People"),
  };
  /** @type {Element | null} */
  #before = null;

  constructor() {
    super();
    const close = el("button", { type: "button", class: "quiet", onclick: () => this.close() });
    dress(close, { icon: "close", label: "Close the panel", key: "Esc" });
    const list = el("div", { role: "tablist", class: "tabs" }, this.#tabs.chat, this.#tabs.people);
    this.#element.append(el("div", { class: "panel-head" }, list, close), this.pages.chat, this.pages.people);
    list.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      this.show(this.open === "chat" ? "people" : "chat");
      this.#tabs[this.open ?? "chat"].focus();
    });
  }

  /** @param {Tab} tab */
  toggle(tab) {
    if (this.open === tab) this.close();
    else this.show(tab, true);
  }

  /**
   * @param {Tab} tab
   * @param {boolean} [focus] go into it with the keyboard
   */
  show(tab, focus = false) {
    if (this.open === null) this.#before = document.activeElement;
    this.open = tab;
    this.#element.hidden = false;
    for (const name of /** @type {Tab[]} */ (["chat", "people"])) {
      this.pages[name].hidden = name !== tab;
      this.#tabs[name].setAttribute("aria-selected", String(name === tab));
      this.#tabs[name].tabIndex = name === tab ? 0 : -1;
    }
    if (focus) {
      const field = this.pages[tab].querySelector("textarea");
      (field && !field.disabled ? field : this.#tabs[tab]).focus();
    }
    this.emit("change", undefined);
  }

  close() {
    if (this.open === null) return;
    const inside = this.#element.contains(document.activeElement);
    this.open = null;
    this.#element.hidden = true;
    if (inside) giveBack(this.#before);
    this.emit("change", undefined);
  }

  /**
   * @param {Tab} name
   * @param {string} text
   */
  setTitle(name, text) {
    this.#tabs[name].textContent = text;
  }

  /**
   * @param {Tab} name
   * @param {string} title
   */
  #tab(name, title) {
    return el("button", {
      type: "button", role: "tab", id: `${name}-tab`, "aria-controls": `${name}-page`, onclick: () => this.show(name),
    }, title);
  }
}
