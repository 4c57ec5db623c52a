// @ts-check
// One tile: a picture, or the initials of whoever sends none, with name and microphone sign.

import { dress, el, icon, play } from "./dom.js";
import { hueOf, initials } from "./text.js";

/** A picture that comes another way now takes the place of the old one when it runs, or after this, milliseconds. */
const SWAP_MS = 2_500;
/** It runs with so many frames in a row, */
const RUN_FRAMES = 4;
/** none of which was longer in coming than this, milliseconds. What comes less often never runs by this. */
const RUN_MS = 150;

/**
 * @typedef {object} TileData
 * @property {string} key stays with the tile
 * @property {string} participant id
 * @property {string} name
 * @property {"camera" | "screen"} kind
 * @property {boolean} self
 * @property {MediaStreamTrack | null} media
 * @property {string | null} track the router's name of the picture, if it is received
 * @property {boolean} microphoneOff
 * @property {boolean} speaking
 * @property {number} spokeAt time of speaking last; 0: never
 * @property {boolean} stale the connection is lost: what is shown is old
 */

export class Tile {
  /** @type {TileData} */
  data;
  element;
  #video;
  #avatar;
  #name;
  #sign;
  #pin;
  #pinned = false;
  /** Takes the place of `#video` soon. @type {{video: HTMLVideoElement, timer: ReturnType<typeof setTimeout>} | null} */
  #next = null;

  /**
   * @param {TileData} data
   * @param {() => void} pin
   */
  constructor(data, pin) {
    this.data = data;
    this.#video = this.#screen();
    this.#avatar = el("div", { class: "avatar", "aria-hidden": "true" });
    this.#name = el("span", { class: "name" });
    this.#sign = el("span", { class: "sign" });
    this.#pin = el("button", { type: "button", class: "pin", onclick: pin });
    this.element = el(
      "article",
      { class: "tile", tabindex: 0, "data-participant": data.participant, "data-source": data.kind },
      this.#video, this.#avatar, el("div", { class: "plate" }, this.#sign, this.#name), this.#pin,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.target === this.element && event.key === "Enter") pin();
    });
    this.element.addEventListener("dblclick", pin);
    this.update(data, false);
  }

  /**
   * @param {TileData} data
   * @param {boolean} pinned
   */
  update(data, pinned) {
    this.data = data;
    this.#pinned = pinned;
    const { element } = this;
    const screen = data.kind === "screen";
    const title = screen ? (data.self ? "Your screen" : `${data.name}’s screen`) : data.name + (data.self ? " (you)" : "");
    this.#play(data.media);
    if (this.#name.textContent !== title) {
      this.#name.textContent = title;
      this.#avatar.textContent = screen ? "" : initials(data.name);
      if (screen) this.#avatar.append(icon("screen"));
      element.style.setProperty("--hue", String(hueOf(data.name)));
    }
    const muted = data.microphoneOff && !screen;
    if (muted !== this.#sign.hasChildNodes() || !this.#sign.dataset.set) {
      this.#sign.dataset.set = "1";
      this.#sign.replaceChildren(...(muted ? [icon("microphoneOff")] : []));
    }
    element.classList.toggle("speaking", data.speaking);
    element.classList.toggle("mirror", data.self && !screen);
    element.classList.toggle("whole", screen || pinned);
    element.classList.toggle("stale", data.stale);
    const does = pinned ? "Unpin" : "Pin";
    dress(this.#pin, { icon: pinned ? "unpin" : "pin", label: `${does} ${title}`, pressed: pinned });
    this.#showPicture();
  }

  /** Size of the picture on the page, CSS pixels: with what is cut off, without what is left empty. */
  get shown() {
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const { videoWidth, videoHeight } = this.#video;
    const shape = videoWidth > 0 && videoHeight > 0 ? videoWidth / videoHeight : 16 / 9;
    const wide = width > height * shape;
    const whole = this.element.classList.contains("whole");
    return wide === whole ? { width: height * shape, height } : { width, height: width / shape };
  }

  /**
   * @param {import("./layout.js").Rect | null} rect `null`: not shown
   * @param {"grid" | "stage" | "corner"} [where] `corner`: over another tile
   */
  place(rect, where = "grid") {
    const { style } = this.element;
    this.element.hidden = rect === null;
    this.element.classList.toggle("on-stage", where === "stage");
    this.element.classList.toggle("in-corner", where === "corner");
    if (!rect) return;
    style.transform = `translate(${rect.x}px, ${rect.y}px)`;
    style.width = `${rect.width}px`;
    style.height = `${rect.height}px`;
    this.element.classList.toggle("small", rect.width < 190);
  }

  remove() {
    this.#forgetNext();
    play(this.#video, null);
    this.element.remove();
  }

  #screen() {
    const video = el("video", { autoplay: true, playsinline: true, tabindex: -1, "aria-hidden": "true" });
    video.muted = true;
    for (const event of ["loadeddata", "emptied", "resize", "playing"]) {
      video.addEventListener(event, () => this.#showPicture());
    }
    return video;
  }

  /**
   * The picture in place of the one before, which stays until then.
   * @param {MediaStreamTrack | null} media
   */
  #play(media) {
    const wanted = this.#next?.video ?? this.#video;
    if (trackOf(wanted) === media) return;
    this.#forgetNext();
    const follows = media !== null && trackOf(this.#video) !== null && this.#video.videoWidth > 0;
    if (trackOf(this.#video) === media || !follows || !("requestVideoFrameCallback" in this.#video)) {
      play(this.#video, media);
      return;
    }
    const video = this.#screen();
    const timer = setTimeout(() => this.#swap(video), SWAP_MS);
    this.#next = { video, timer };
    video.classList.add("next");
    this.#video.before(video);
    onceRunning(video, () => this.#swap(video));
    play(video, media);
  }

  /** Whether the picture is the one that is wanted, and not the one before. */
  get settled() {
    return this.#next === null;
  }

  /** @param {HTMLVideoElement} video takes the place of the one before, if it is still to */
  #swap(video) {
    if (this.#next?.video !== video) return;
    const old = this.#video;
    clearTimeout(this.#next.timer);
    this.#video = video;
    this.#next = null;
    video.classList.remove("next");
    play(old, null);
    old.remove();
    this.#showPicture();
  }

  #forgetNext() {
    if (!this.#next) return;
    clearTimeout(this.#next.timer);
    play(this.#next.video, null);
    this.#next.video.remove();
    this.#next = null;
  }

  #showPicture() {
    const there = this.data.media !== null && this.#video.videoWidth > 0;
    this.element.classList.toggle("has-picture", there);
    const facts = [
      this.#name.textContent,
      this.data.kind === "camera" && !there ? "camera off" : "",
      this.data.microphoneOff && this.data.kind === "camera" ? "microphone off" : "",
      this.#pinned ? "pinned" : "",
    ];
    const label = facts.filter(Boolean).join(", ");
    if (this.element.getAttribute("aria-label") !== label) this.element.setAttribute("aria-label", label);
  }
}

/** @param {HTMLVideoElement} video */
function trackOf({ srcObject }) {
  return srcObject instanceof MediaStream ? (srcObject.getTracks()[0] ?? null) : null;
}

/**
 * The first frames of an element may come in a burst, or be the only ones for a while.
 * @param {HTMLVideoElement} video
 * @param {() => void} runs
 */
function onceRunning(video, runs) {
  let row = 0;
  let last = 0;
  const frame = (/** @type {number} */ now) => {
    row = now - last <= RUN_MS ? row + 1 : 1;
    last = now;
    if (row < RUN_FRAMES) video.requestVideoFrameCallback(frame);
    else runs();
  };
  video.requestVideoFrameCallback(frame);
}
