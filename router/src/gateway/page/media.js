// @ts-check
// The devices of this computer: camera, microphone, screen. Nothing here sends anything.

import { Emitter } from "./emitter.js";
import { plainMedia } from "./errors.js";

/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {"camera" | "microphone"} Device */
/** @typedef {"camera" | "microphone" | "speaker"} Choice */

/** @type {Record<Choice, MediaDeviceKind>} */
const KIND = { camera: "videoinput", microphone: "audioinput", speaker: "audiooutput" };

/**
 * Events: `change`: the track to send for a source is another one (or none). `devices`: devices came or went.
 * `asking`: whether the user is being asked has changed. `problem`: something could not be used, in plain words.
 * @extends {Emitter<{change: Source, devices: void, asking: void, problem: {source: Source, text: string}}>}
 */
export class LocalMedia extends Emitter {
  /** @type {Partial<Record<Source, MediaStreamTrack>>} */
  #tracks = {};
  /** Since when a device is being opened, of `performance.now()`; the browser may be asking the user. @type {number | null} */
  openingSinceMs = null;
  /** What the user wants; a device that fails keeps it false. */
  #on = { camera: false, microphone: false };
  /** @type {Record<Choice, string>} device ids; empty: the system's choice */
  #chosen;
  #shape;

  /**
   * @param {{width: number, height: number, fps: number}} shape of the camera picture
   * @param {Partial<Record<Choice, string>>} [remembered] devices of the last visit
   */
  constructor(shape, remembered = {}) {
    super();
    this.#shape = shape;
    this.#chosen = { camera: "", microphone: "", speaker: "", ...remembered };
    navigator.mediaDevices?.addEventListener("devicechange", () => this.emit("devices", undefined));
  }

  /**
   * Whether the source is meant to be sent.
   * @param {Source} source
   */
  isOn(source) {
    if (source === "camera" || source === "microphone") return this.#on[source];
    return this.#tracks[source] !== undefined;
  }

  /**
   * What to send for `source` now.
   * @param {Source} source
   * @returns {MediaStreamTrack | null}
   */
  sending(source) {
    return this.isOn(source) ? (this.#tracks[source] ?? null) : null;
  }

  /** The microphone's track even while it is off, to notice somebody speaking into a muted microphone. */
  get microphoneTrack() {
    return this.#tracks.microphone ?? null;
  }

  /** @param {Choice} choice */
  chosen(choice) {
    return this.#chosen[choice];
  }

  get canShareScreen() {
    return typeof navigator.mediaDevices?.getDisplayMedia === "function";
  }

  /**
   * Opens both devices with a single question to the user where possible.
   * @param {{camera: boolean, microphone: boolean}} wanted
   */
  async start(wanted) {
    this.openingSinceMs = performance.now();
    this.emit("asking", undefined);
    await this.#openBoth(wanted);
    this.openingSinceMs = null;
    this.emit("asking", undefined);
  }

  /** @param {{camera: boolean, microphone: boolean}} wanted */
  async #openBoth(wanted) {
    if (wanted.camera && wanted.microphone && navigator.mediaDevices) {
      try {
        const stream = await navigator.mediaDevices.getUserMedia({
          video: this.#constraints("camera", true),
          audio: this.#constraints("microphone", true),
        });
        this.#take("camera", stream.getVideoTracks()[0]);
        this.#take("microphone", stream.getAudioTracks()[0]);
        return;
      } catch {
        // One of the two failed; find out which, and use the other.
      }
    }
    /** @type {Map<Device, unknown>} */
    const errors = new Map();
    for (const device of /** @type {Device[]} */ (["microphone", "camera"])) {
      if (!wanted[device]) continue;
      const error = await this.#tryOn(device);
      if (error) errors.set(device, error);
    }
    const names = new Set([...errors.values()].map((error) => (error instanceof Error ? error.name : "")));
    if (errors.size === 2 && names.size === 1) {
      this.emit("problem", { source: "camera", text: plainMedia("devices", errors.get("camera")) });
    } else {
      for (const [source, error] of errors) this.emit("problem", { source, text: plainMedia(source, error) });
    }
  }

  /**
   * @param {Device} device
   * @returns {Promise<boolean>} whether it is on now
   */
  async turnOn(device) {
    const error = await this.#tryOn(device);
    if (error) this.emit("problem", { source: device, text: plainMedia(device, error) });
    return !error;
  }

  /**
   * Stops sending. The camera is closed, so that its light goes out; the microphone stays open, unsent.
   * @param {Device} device
   */
  turnOff(device) {
    this.#on[device] = false;
    if (device === "camera") this.#release("camera");
    this.emit("change", device);
  }

  /** @param {Device} device */
  toggle(device) {
    if (!this.#on[device]) return this.turnOn(device);
    this.turnOff(device);
    return Promise.resolve(false);
  }

  /**
   * Uses another device from now on.
   * @param {Choice} choice
   * @param {string} id empty: the system's choice
   */
  async choose(choice, id) {
    this.#chosen[choice] = id;
    if (choice === "speaker") {
      this.emit("devices", undefined);
    } else if (this.#tracks[choice]) {
      const wasOn = this.#on[choice];
      this.#release(choice);
      if (await this.turnOn(choice)) {
        if (!wasOn) this.turnOff(choice);
      }
    }
  }

  /**
   * The devices that can be chosen. Labels are empty until the user has allowed a device of that kind.
   * @returns {Promise<Record<Choice, {id: string, label: string}[]>>}
   */
  async devices() {
    /** @type {Record<Choice, {id: string, label: string}[]>} */
    const found = { camera: [], microphone: [], speaker: [] };
    const all = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    for (const choice of /** @type {Choice[]} */ (Object.keys(found))) {
      const kind = all.filter((device) => device.kind === KIND[choice] && device.deviceId !== "");
      found[choice] = kind.map((device, index) => ({
        id: device.deviceId,
        label: device.label || `${choice[0].toUpperCase()}${choice.slice(1)} ${index + 1}`,
      }));
    }
    return found;
  }

  /** @returns {Promise<boolean>} whether the screen is shared now */
  async shareScreen() {
    let stream;
    try {
      if (!navigator.mediaDevices) throw insecure();
      stream = await navigator.mediaDevices.getDisplayMedia({
        video: { frameRate: { ideal: 15, max: 30 } },
        audio: true,
      });
    } catch (error) {
      // Closing the browser's chooser is a decision, not a problem.
      const cancelled = error instanceof Error && error.name === "NotAllowedError";
      if (!cancelled) this.emit("problem", { source: "screen", text: plainMedia("screen", error) });
      return false;
    }
    const [picture] = stream.getVideoTracks();
    const [sound] = stream.getAudioTracks();
    picture.contentHint = "detail";
    picture.addEventListener("ended", () => this.stopScreen());
    this.#tracks.screen = picture;
    this.emit("change", "screen");
    if (sound) {
      this.#tracks.screen_audio = sound;
      this.emit("change", "screen_audio");
    }
    return true;
  }

  stopScreen() {
    for (const source of /** @type {Source[]} */ (["screen", "screen_audio"])) {
      if (!this.#tracks[source]) continue;
      this.#release(source);
      this.emit("change", source);
    }
  }

  /** Closes everything; the devices' lights go out. */
  stop() {
    this.#on.camera = this.#on.microphone = false;
    for (const source of /** @type {Source[]} */ (Object.keys(this.#tracks))) this.#release(source);
  }

  /**
   * @param {Device} device
   * @returns {Promise<unknown>} why it could not be switched on
   */
  async #tryOn(device) {
    if (this.#tracks[device]?.readyState === "live") {
      this.#on[device] = true;
      this.emit("change", device);
      return null;
    }
    try {
      this.#take(device, await this.#open(device));
      return null;
    } catch (error) {
      this.#on[device] = false;
      this.emit("change", device);
      return error;
    }
  }

  /** @param {Device} device */
  async #open(device) {
    const media = navigator.mediaDevices;
    if (!media) throw insecure();
    const ask = async (/** @type {boolean} */ exact) => {
      const constraints = this.#constraints(device, exact);
      const stream = await media.getUserMedia(device === "camera" ? { video: constraints } : { audio: constraints });
      return stream.getTracks()[0];
    };
    try {
      return await ask(true);
    } catch (error) {
      // The remembered device may be gone: any other is better than none.
      const gone = error instanceof Error && ["OverconstrainedError", "NotFoundError"].includes(error.name);
      if (gone && this.#chosen[device]) return ask(false);
      throw error;
    }
  }

  /**
   * @param {Device} device
   * @param {boolean} exact insist on the chosen device
   * @returns {MediaTrackConstraints}
   */
  #constraints(device, exact) {
    const id = this.#chosen[device];
    const deviceId = exact && id ? { deviceId: { exact: id } } : {};
    if (device === "microphone") {
      return { ...deviceId, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    }
    const { width, height, fps } = this.#shape;
    return { ...deviceId, width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: fps, max: fps } };
  }

  /**
   * @param {Device} device
   * @param {MediaStreamTrack} track
   */
  #take(device, track) {
    this.#release(device);
    if (device === "camera") track.contentHint = "motion";
    this.#tracks[device] = track;
    this.#on[device] = true;
    track.addEventListener("ended", () => void this.#unplugged(device, track));
    this.emit("change", device);
    this.emit("devices", undefined);
  }

  /**
   * @param {Device} device
   * @param {MediaStreamTrack} track
   */
  async #unplugged(device, track) {
    if (this.#tracks[device] !== track) return;
    const wasOn = this.#on[device];
    this.#release(device);
    this.#chosen[device] = "";
    if (!wasOn) return;
    if (await this.turnOn(device)) {
      this.emit("problem", { source: device, text: `Your ${device} stopped. Another one is used now.` });
    }
  }

  /** @param {Source} source */
  #release(source) {
    const track = this.#tracks[source];
    delete this.#tracks[source];
    track?.stop();
  }
}

function insecure() {
  const error = new Error("not a secure context");
  error.name = "InsecureContextError";
  return error;
}
