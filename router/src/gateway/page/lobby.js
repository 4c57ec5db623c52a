// @ts-check
// Before joining: preview, devices, name and room.

import { showDevices } from "./devices.js";
import { byId, dress, el, icon, play } from "./dom.js";
import { watchLevel } from "./level.js";
import { complaint, suggestRoom } from "./settings.js";
import { remember } from "./store.js";

/** Devices that are still not open after this: the browser is asking the user. */
const ASKING_AFTER_MS = 1_500;

/**
 * Shows the lobby; resolves when the user joins.
 * @param {import("./settings.js").Settings} settings
 * @param {import("./media.js").LocalMedia} local
 * @returns {Promise<{room: string, name: string}>}
 */
export function showLobby(settings, local) {
  const lobby = byId("lobby", HTMLElement);
  const form = byId("join-form", HTMLFormElement);
  const name = byId("join-name", HTMLInputElement);
  const room = byId("join-room", HTMLInputElement);
  name.value = settings.name;
  room.value = settings.room || suggestRoom();
  byId("join-title", HTMLElement).textContent = settings.room ? "Join the meeting" : "Start a meeting";
  byId("join-button", HTMLButtonElement).textContent = settings.room ? "Join" : "Start";
  lobby.hidden = false;
  (settings.name ? byId("join-button", HTMLButtonElement) : name).focus();

  const stopPreview = showPreview(local);
  showDevices(byId("lobby-devices", HTMLElement), local, (choice, id) => {
    remember({ [choice]: id });
    void local.choose(choice, id);
  });
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      const wrong = complaint("name", name.value) ?? complaint("room", room.value);
      const error = byId("join-error", HTMLElement);
      error.hidden = wrong === null;
      error.textContent = wrong;
      name.setAttribute("aria-invalid", String(complaint("name", name.value) !== null));
      room.setAttribute("aria-invalid", String(complaint("room", room.value) !== null));
      if (wrong !== null) {
        (complaint("name", name.value) ? name : room).focus();
        return;
      }
      stopPreview();
      lobby.hidden = true;
      remember({ name: name.value.trim() });
      resolve({ room: room.value.trim(), name: name.value.trim() });
    };
  });
}

/** @param {import("./media.js").LocalMedia} local */
function showPreview(local) {
  const video = byId("preview-video", HTMLVideoElement);
  const empty = byId("preview-empty", HTMLElement);
  const microphone = byId("preview-microphone", HTMLButtonElement);
  const camera = byId("preview-camera", HTMLButtonElement);
  const problem = byId("lobby-problem", HTMLElement);
  /** @type {Map<string, string>} */
  const problems = new Map();
  let stopMeter = () => {};
  /** @type {MediaStreamTrack | null} */
  let metered = null;
  microphone.onclick = () => void local.toggle("microphone");
  camera.onclick = () => void local.toggle("camera");

  const show = () => {
    problem.hidden = problems.size === 0;
    problem.textContent = [...problems.values()].join(" ");
    const picture = local.sending("camera");
    play(video, picture);
    video.hidden = picture === null;
    empty.hidden = picture !== null;
    const waitedMs = local.openingSinceMs === null ? null : performance.now() - local.openingSinceMs;
    showEmpty(empty, waitedMs);
    const sound = local.sending("microphone");
    toggleLook(camera, "camera", picture !== null, waitedMs !== null);
    toggleLook(microphone, "microphone", sound !== null, waitedMs !== null);
    if (sound !== metered) {
      stopMeter();
      metered = sound;
      stopMeter = sound ? watchLevel(sound, showLevel) : () => {};
      if (!sound) showLevel(0);
    }
  };
  const slow = setTimeout(() => show(), ASKING_AFTER_MS);
  const off = [
    () => clearTimeout(slow),
    local.on("asking", () => show()),
    local.on("change", (source) => {
      if (local.isOn(source)) problems.delete(source);
      show();
    }),
    local.on("problem", ({ source, text }) => {
      problems.set(source, text);
      show();
    }),
  ];
  show();
  return () => {
    for (const stop of off) stop();
    stopMeter();
    play(video, null);
  };
}

/**
 * What stands in place of the picture.
 * @param {HTMLElement} empty
 * @param {number | null} waitedMs for the devices; `null`: no longer
 */
function showEmpty(empty, waitedMs) {
  const asked = waitedMs !== null && waitedMs >= ASKING_AFTER_MS - 50;
  const text = asked
    ? "The browser asks whether this page may use camera and microphone. Allow it, so that others see and hear you."
    : waitedMs === null ? "Your camera is off" : "Starting camera and microphone…";
  if (empty.dataset.text === text) return;
  empty.dataset.text = text;
  empty.replaceChildren(icon(waitedMs === null ? "cameraOff" : "camera"), el("p", {}, text));
}

/** @param {number} level */
function showLevel(level) {
  byId("preview-level", HTMLElement).style.transform = `scaleX(${level.toFixed(2)})`;
  byId("preview-meter", HTMLElement).setAttribute("aria-valuenow", String(Math.round(level * 100)));
}

/**
 * @param {HTMLButtonElement} button
 * @param {"camera" | "microphone"} what
 * @param {boolean} on
 * @param {boolean} opening
 */
function toggleLook(button, what, on, opening) {
  const off = what === "camera" ? "cameraOff" : "microphoneOff";
  dress(button, { icon: on || opening ? what : off, label: `Switch the ${what} ${on ? "off" : "on"}` });
  button.classList.toggle("off", !on && !opening);
}
