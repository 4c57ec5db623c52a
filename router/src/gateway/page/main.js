// @ts-check
// Starts the page: lobby, then meeting.

import { applyAppearance } from "./appearance.js";
import { exposeForDebugging } from "./debug.js";
import { byId } from "./dom.js";
import { showLobby } from "./lobby.js";
import { LocalMedia } from "./media.js";
import { Meeting } from "./meeting.js";
import { Session } from "./session.js";
import { complaint, parseSettings } from "./settings.js";
import { remembered } from "./store.js";
import { toast } from "./toast.js";

async function start() {
  const memory = remembered();
  const settings = parseSettings(location.search, memory);
  const { camera = "", microphone = "", speaker = "" } = memory;
  const local = new LocalMedia(settings, { camera, microphone, speaker });
  const address = new URL("signal/rooms", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.search = address.hash = "";
  const session = new Session({ url: address.href, settings, local });
  /** @type {Meeting | null} */
  let meeting = null;
  exposeForDebugging({ session, local, meeting: () => meeting });
  if (!("RTCPeerConnection" in window)) {
    toast("This browser cannot make calls (it has no WebRTC). Use a current Firefox, Chromium, Edge or Safari.", "error");
  }

  const auto = settings.autojoin && !complaint("room", settings.room) && !complaint("name", settings.name);
  const opening = local.start({ camera: settings.camera, microphone: settings.microphone });
  if (auto) {
    // A device that still waits for the user's permission joins later.
    await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, 3_000))]);
  } else {
    Object.assign(settings, await showLobby(settings, local));
    rememberInAddress(settings.room);
  }
  meeting = new Meeting({ session, local, settings });
  session.join(settings.room, settings.name);
}

/**
 * Reloading, and copying the address by hand, leads to the same room.
 * @param {string} room
 */
function rememberInAddress(room) {
  const url = new URL(location.href);
  url.searchParams.set("room", room);
  history.replaceState(null, "", url);
}

applyAppearance();
start().catch((error) => {
  console.error(error);
  byId("assertive", HTMLElement).textContent = "The page could not start.";
  toast(`The page could not start: ${error instanceof Error ? error.message : error}`, "error");
});
