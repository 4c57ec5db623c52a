// @ts-check
// The three selects for camera, microphone and speaker; used before and during the meeting.

import { el } from "./dom.js";

/** @typedef {import("./media.js").Choice} Choice */

/** @type {[Choice, string][]} */
const ROWS = [["camera", "Camera"], ["microphone", "Microphone"], ["speaker", "Speaker"]];
const DEFAULT = { camera: "Default camera", microphone: "Default microphone", speaker: "Default speaker" };

/**
 * Fills `holder` and keeps it up to date.
 * @param {HTMLElement} holder
 * @param {import("./media.js").LocalMedia} local
 * @param {(choice: Choice, id: string) => void} chosen
 */
export function showDevices(holder, local, chosen) {
  const canChooseSpeaker = "setSinkId" in HTMLMediaElement.prototype;
  const rows = ROWS.filter(([choice]) => choice !== "speaker" || canChooseSpeaker).map(([choice, title]) => {
    const select = el("select", { name: choice, onchange: () => chosen(choice, select.value) });
    holder.append(el("label", { class: "field" }, title, select));
    return { choice, select };
  });
  const fill = async () => {
    const found = await local.devices();
    for (const { choice, select } of rows) {
      const options = found[choice].filter(({ id }) => id !== "default");
      select.replaceChildren(
        el("option", { value: "" }, DEFAULT[choice]),
        ...options.map(({ id, label }) => el("option", { value: id }, label)),
      );
      select.value = local.chosen(choice);
      if (select.selectedIndex < 0) select.value = "";
      select.disabled = options.length === 0;
    }
  };
  local.on("devices", () => void fill());
  void fill();
}
