// @ts-check
// Short messages: shown for a while, and read out by screen readers.

import { byId, el, icon } from "./dom.js";

/** @typedef {"info" | "warning" | "error"} Level */

const SHOWN_MS = { info: 4_000, warning: 7_000, error: 10_000 };
const MOST = 3;

/**
 * @param {string} text
 * @param {Level} [level]
 * @param {string} [about] lets `dismiss` find it
 */
export function toast(text, level = "info", about = "") {
  const holder = byId("toasts", HTMLElement);
  for (const other of holder.children) {
    if (other.getAttribute("data-text") === text) other.remove();
  }
  const close = el("button", { type: "button", class: "quiet", "aria-label": "Dismiss" }, icon("close"));
  const box = el("div", { class: `toast ${level}`, "data-text": text, "data-about": about }, el("p", {}, text), close);
  const remove = () => box.remove();
  close.addEventListener("click", remove);
  let timer = setTimeout(remove, SHOWN_MS[level]);
  // Somebody who is reading or about to press the button is not hurried.
  for (const begin of ["pointerenter", "focusin"]) box.addEventListener(begin, () => clearTimeout(timer));
  for (const end of ["pointerleave", "focusout"]) {
    box.addEventListener(end, () => {
      clearTimeout(timer);
      timer = setTimeout(remove, 2_000);
    });
  }
  holder.append(box);
  while (holder.children.length > MOST) holder.firstElementChild?.remove();
  announce(text, level === "error");
}

/**
 * What the messages about this said is seen now.
 * @param {string} about
 */
export function dismiss(about) {
  for (const box of document.querySelectorAll(".toast")) {
    if (box.getAttribute("data-about") === about) box.remove();
  }
}

/**
 * Lets screen readers say something that is not shown.
 * @param {string} text
 * @param {boolean} [urgent]
 */
export function announce(text, urgent = false) {
  const region = byId(urgent ? "assertive" : "polite", HTMLElement);
  // The same text twice is only read again when the region changed in between.
  region.textContent = "";
  setTimeout(() => {
    region.textContent = text;
  }, 60);
}
