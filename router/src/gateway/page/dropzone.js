// @ts-check
// Files dragged from elsewhere onto the page.

import { byId } from "./dom.js";

/**
 * @param {() => boolean} allowed
 * @param {(files: File[]) => void} dropped
 */
export function acceptDrops(allowed, dropped) {
  const veil = byId("drop", HTMLElement);
  // Leaving one element for another inside the page also fires `dragleave`: count.
  let depth = 0;
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event) || !allowed()) return;
    depth++;
    veil.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) veil.hidden = true;
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    // Otherwise the browser would leave the meeting to show the file.
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    if (allowed()) dropped([...(event.dataTransfer?.files ?? [])]);
  });
}
