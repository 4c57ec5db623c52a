// @ts-check
// The People tab.

import { el, icon } from "./dom.js";
import { hueOf, initials } from "./text.js";

/** @typedef {{id: string, name: string, self: boolean, microphoneOff: boolean, cameraOff: boolean, sharing: boolean, speaking: boolean, recorded: boolean}} Person */

/**
 * @param {HTMLElement} holder
 * @returns {(people: Person[]) => void} shows them
 */
export function peopleView(holder) {
  const list = el("ul", { class: "people", "aria-label": "People in the room" });
  holder.append(list);
  let shown = "";
  return (people) => {
    const text = JSON.stringify(people);
    if (text === shown) return;
    shown = text;
    list.replaceChildren(...people.map(row));
  };
}

/** @param {Person} person */
function row(person) {
  const avatar = el("span", { class: "avatar-small", "aria-hidden": "true" }, initials(person.name));
  avatar.style.setProperty("--hue", String(hueOf(person.name)));
  const state = [
    person.sharing ? "shares the screen" : "",
    person.microphoneOff ? "microphone off" : "microphone on",
    person.cameraOff ? "camera off" : "camera on",
    person.recorded ? "recorded" : "",
  ].filter(Boolean).join(", ");
  const signs = el(
    "span",
    { class: "signs", role: "img", "aria-label": state, title: state },
    person.recorded && icon("record"),
    person.sharing && icon("screen"),
    icon(person.microphoneOff ? "microphoneOff" : "microphone"),
    icon(person.cameraOff ? "cameraOff" : "camera"),
  );
  const name = el("span", { class: "person-name" }, person.name, person.self && el("small", {}, " (you)"));
  return el("li", { class: person.speaking ? "speaking" : "" }, avatar, name, signs);
}
