// @ts-check
// Small helpers to find and build elements. Nothing here ever parses text as HTML.

import { ICONS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} “${id}”`);
  return element;
}

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * Makes an element. Members of `attributes` that are functions become listeners; `true` an empty attribute;
 * `false` and `null` none.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter(/** @returns {child is Node | string} */ (child) => !!child));
  return element;
}

/**
 * @param {keyof typeof ICONS} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Gives a button its picture, name and tooltip; `pressed` makes it a toggle.
 * @param {HTMLButtonElement} button
 * @param {{icon: keyof typeof ICONS, label: string, key?: string, pressed?: boolean, text?: string}} look
 */
export function dress(button, look) {
  const key = `${look.icon}|${look.text ?? ""}`;
  if (button.dataset.look !== key) {
    button.dataset.look = key;
    const children = [icon(look.icon), look.text ? el("span", { class: "button-text" }, look.text) : null];
    const badge = button.querySelector(".badge");
    button.replaceChildren(...children.filter((child) => child !== null), ...(badge ? [badge] : []));
  }
  button.setAttribute("aria-label", look.label);
  button.title = look.key ? `${look.label} (${look.key})` : look.label;
  if (look.key && look.key.length === 1) button.setAttribute("aria-keyshortcuts", look.key);
  if (look.pressed !== undefined) button.setAttribute("aria-pressed", String(look.pressed));
}

/**
 * The same picture on the element as before, or another.
 * @param {HTMLMediaElement} element
 * @param {MediaStreamTrack | null} track
 */
export function play(element, track) {
  const stream = element.srcObject instanceof MediaStream ? element.srcObject : null;
  if ((stream?.getTracks()[0] ?? null) === track) return;
  element.srcObject = track ? new MediaStream([track]) : null;
}

/**
 * Something with the focus in it was closed: the focus returns to where it was before.
 * @param {Element | null} before
 */
export function giveBack(before) {
  const now = document.activeElement;
  if (before instanceof HTMLElement && before.isConnected) before.focus();
  // Where it was nowhere, it must not stay in a hidden field and swallow keys.
  if (document.activeElement === now && now instanceof HTMLElement) now.blur();
}

/** Whether keys pressed now are meant for a field. @param {EventTarget | null} target */
export function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
}
