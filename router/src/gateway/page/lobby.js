// @ts-check
// Before joining: preview, devices, name and room.

import { showDevices } from "./devices.js";
import { byId, dress, icon, play } from "./dom.js";
import { watchLevel } from "./level.js";
import { complaint, suggestRoom } from "./settings.js";
import { remember } from "./store.js";

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
    if (empty.childElementCount === 0) empty.append(icon("cameraOff"), "Your camera is off");
    toggleLook(camera, "camera", picture !== null);
    const sound = local.sending("microphone");
    toggleLook(microphone, "microphone", sound !== null);
    if (sound !== metered) {
      stopMeter();
      metered = sound;
      stopMeter = sound ? watchLevel(sound, showLevel) : () => {};
      if (!sound) showLevel(0);
    }
  };
  const off = [
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

/** @param {number} level */
function showLevel(level) {
  byId("preview-level", HTMLElement).style.transform = `scaleX(${level.toFixed(2)})`;
  byId("preview-meter", HTMLElement).setAttribute("aria-valuenow", String(Math.round(level * 100)));
}

/**
 * @param {HTMLButtonElement} button
 * @param {"camera" | "microphone"} what
 * @param {boolean} on
 */
function toggleLook(button, what, on) {
  const off = what === "camera" ? "cameraOff" : "microphoneOff";
  dress(button, { icon: on ? what : off, label: `Switch the ${what} ${on ? "off" : "on"}` });
  button.classList.toggle("off", !on);
}
