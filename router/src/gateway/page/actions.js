// @ts-check
// Everything the user can do, once: the bar, the menu, the keyboard and its help are made from this list.

/**
 * @typedef {object} Action
 * @property {string} id
 * @property {string | null} key one letter or sign; `null`: none
 * @property {string} help what the key does
 * @property {() => keyof typeof import("./icons.js").ICONS} icon
 * @property {() => string} label
 * @property {() => void} run
 * @property {() => boolean} [pressed] a toggle's state
 * @property {() => boolean} [off] shown in the colour of what is switched off
 * @property {() => boolean} [available]
 * @property {"bar" | "bar-wide" | "menu"} place `bar-wide`: in the menu where the window is narrow
 */

/**
 * @param {object} parts
 * @param {import("./media.js").LocalMedia} parts.local
 * @param {import("./session.js").Session} parts.session
 * @param {import("./panel.js").Panel} parts.panel
 * @param {{isOpen: boolean, toggle: () => void}} parts.stats
 * @param {{isOpen: () => boolean, toggle: () => void}} parts.board
 * @param {{copyLink: () => void, settings: () => void, help: () => void, leave: () => void}} parts.on
 * @returns {Action[]}
 */
export function actionsFor({ local, session, panel, stats, board, on }) {
  const may = (/** @type {import("./protocol.js").Source} */ source) => session.mayPublish(source);
  return [
    {
      id: "microphone", key: "m", help: "Microphone on or off", place: "bar", available: () => may("microphone"),
      icon: () => (local.isOn("microphone") ? "microphone" : "microphoneOff"),
      label: () => (local.isOn("microphone") ? "Switch the microphone off" : "Switch the microphone on"),
      run: () => void local.toggle("microphone"), off: () => !local.isOn("microphone"),
    },
    {
      id: "camera", key: "v", help: "Camera on or off", place: "bar", available: () => may("camera"),
      icon: () => (local.isOn("camera") ? "camera" : "cameraOff"),
      label: () => (local.isOn("camera") ? "Switch the camera off" : "Switch the camera on"),
      run: () => void local.toggle("camera"), off: () => !local.isOn("camera"),
    },
    {
      id: "screen", key: "s", help: "Share the screen, or stop", place: "bar",
      available: () => may("screen") && local.canShareScreen,
      icon: () => (local.isOn("screen") ? "screenOff" : "screen"),
      label: () => (local.isOn("screen") ? "Stop sharing the screen" : "Share the screen"),
      run: () => void (local.isOn("screen") ? local.stopScreen() : local.shareScreen()), pressed: () => local.isOn("screen"),
    },
    {
      id: "board", key: "w", help: "Whiteboard", place: "bar-wide", icon: () => "board", label: () => "Whiteboard",
      run: board.toggle, pressed: board.isOpen,
    },
    {
      id: "chat", key: "c", help: "Chat", place: "bar", icon: () => "chat", label: () => "Chat",
      run: () => panel.toggle("chat"), pressed: () => panel.open === "chat",
    },
    {
      id: "people", key: "p", help: "People in the room", place: "bar-wide", icon: () => "people", label: () => "People",
      run: () => panel.toggle("people"), pressed: () => panel.open === "people",
    },
    {
      id: "record", key: "r", help: "Record the meeting, or stop", place: "bar-wide", available: () => session.mayRecord,
      icon: () => (session.recording.active ? "recordStop" : "record"),
      label: () => (session.recording.active ? "Stop recording" : "Record"),
      run: () => void session.record(!session.recording.active), pressed: () => session.recording.active,
    },
    {
      id: "stats", key: "i", help: "Connection statistics", place: "menu", icon: () => "stats", label: () => "Connection statistics",
      run: () => stats.toggle(), pressed: () => stats.isOpen,
    },
    {
      id: "devices", key: "d", help: "Choose devices and appearance", place: "menu", icon: () => "settings",
      label: () => "Settings", run: on.settings,
    },
    {
      id: "link", key: "l", help: "Copy the invitation link", place: "menu", icon: () => "link", label: () => "Copy invitation link",
      run: on.copyLink,
    },
    {
      id: "fullscreen", key: "f", help: "Full screen", place: "menu", icon: () => "fullscreen", label: () => "Full screen",
      available: () => document.fullscreenEnabled === true, run: () => void toggleFullscreen(),
      pressed: () => document.fullscreenElement !== null,
    },
    { id: "help", key: "?", help: "This list", place: "menu", icon: () => "keyboard", label: () => "Keyboard shortcuts", run: on.help },
    { id: "leave", key: null, help: "Leave", place: "bar", icon: () => "leave", label: () => "Leave the room", run: on.leave },
  ];
}

async function toggleFullscreen() {
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await document.documentElement.requestFullscreen();
  } catch {
    // The browser refused; it tells the user by itself.
  }
}
