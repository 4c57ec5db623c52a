// @ts-check
// The keyboard: single keys for all actions, Space to talk, Escape to close, and the list that explains them.

import { byId, el, isTyping } from "./dom.js";
import { remember, remembered } from "./store.js";

/** @typedef {import("./actions.js").Action} Action */

/**
 * @param {Action[]} actions
 * @param {{talk: (pressed: boolean) => void, escape: () => boolean}} on `escape`: whether something was closed
 */
export function listenToKeys(actions, { talk, escape }) {
  // Single keys can be in the way of dictation software and the like: they can be switched off.
  let enabled = remembered().keys !== false;
  let talking = false;
  const stopTalking = () => {
    if (talking) talk(false);
    talking = false;
  };
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      if (escape()) event.preventDefault();
      return;
    }
    if (!enabled || isTyping(event.target) || event.ctrlKey || event.altKey || event.metaKey) return;
    const onControl = event.target instanceof HTMLElement && event.target.closest("button, a, summary, canvas");
    if (event.key === " " && !onControl) {
      event.preventDefault();
      if (!event.repeat && !talking) {
        talking = true;
        talk(true);
      }
      return;
    }
    const action = actions.find(({ key }) => key === event.key.toLowerCase());
    if (!action || event.repeat || action.available?.() === false) return;
    event.preventDefault();
    action.run();
  });
  addEventListener("keyup", (event) => {
    if (event.key === " ") stopTalking();
  });
  addEventListener("blur", stopTalking);
  fillHelp(actions, enabled, (value) => {
    enabled = value;
    remember({ keys: value });
  });
}

/**
 * @param {Action[]} actions
 * @param {boolean} enabled
 * @param {(enabled: boolean) => void} changed
 */
function fillHelp(actions, enabled, changed) {
  const rows = actions.flatMap(({ key, help }) => (key ? [[key.toUpperCase(), help]] : []));
  rows.push(
    ["Space", "Talk while it is held, when the microphone is off"],
    ["← ↑ ↓ →", "From tile to tile, from button to button, and the pen on the whiteboard"],
    ["Enter", "Pin or unpin the tile"],
    ["Esc", "Close what is open"],
  );
  const list = byId("help-list", HTMLElement);
  list.replaceChildren(...rows.map(([key, help]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, help))));
  const box = el("input", { type: "checkbox", checked: enabled, onchange: () => changed(box.checked) });
  list.after(el("label", { class: "check" }, box, "Single keys are on"));
}
