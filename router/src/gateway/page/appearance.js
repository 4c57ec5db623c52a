// @ts-check
// Light or dark: what the system says, unless the user chose one of them here.

import { el } from "./dom.js";
import { remember, remembered } from "./store.js";

/** @typedef {"system" | "light" | "dark"} Appearance */

/** @type {[Appearance, string][]} */
const CHOICES = [["system", "As the system"], ["light", "Light"], ["dark", "Dark"]];

/** Shows the page as remembered. */
export function applyAppearance() {
  const { appearance } = remembered();
  if (appearance === "light" || appearance === "dark") document.documentElement.dataset.theme = appearance;
  else delete document.documentElement.dataset.theme;
}

/**
 * The field that chooses it.
 * @param {HTMLElement} holder
 */
export function showAppearance(holder) {
  const chosen = document.documentElement.dataset.theme ?? "system";
  const options = CHOICES.map(([value, title]) => el("option", { value, selected: value === chosen }, title));
  const select = el("select", { id: "appearance", name: "appearance" }, ...options);
  select.addEventListener("change", () => {
    remember({ appearance: select.value });
    applyAppearance();
  });
  holder.append(el("label", { class: "field" }, "Appearance", select));
}
