// @ts-check
// The publishing connection: our tracks and the data channels. We offer, the router answers.

import { Emitter } from "./emitter.js";
import { watchIce, watchReports } from "./ice.js";
import { ProtocolError } from "./protocol.js";

/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./protocol.js").Published} Published */

/**
 * One source's place in the connection. It stays when the source is withdrawn, and is used again.
 * @typedef {object} Slot
 * @property {RTCRtpTransceiver} transceiver
 * @property {MediaStreamTrack | null} track what is sent; `null` while muted
 * @property {boolean} live whether it is published at all
 * @property {string | null} trackId the router's name of it, once known
 * @property {boolean} toldMuted what the router was told last
 */

/**
 * Layers of a 1280×720 camera, smallest first, as both Chromium and Firefox want them ordered; bit rates are
 * scaled to the actual picture.
 */
const LAYERS = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
];
/** Of a camera that sends a single layer, and of a screen. */
export const CAMERA_BPS = 2_000_000;
export const SCREEN_BPS = 2_500_000;

/** Firefox sends something once a second even without a track. */
const REPEATS = /Firefox/.test(globalThis.navigator?.userAgent ?? "");

/**
 * Events: `doubt`, `silent`: no reports come of what is sent, since a moment, and long enough that the path is gone.
 * @extends {Emitter<{state: RTCPeerConnectionState, published: void, problem: unknown, lost: void, doubt: void, silent: void}>}
 */
export class Publisher extends Emitter {
  /** @type {Map<Source, Slot>} */
  slots = new Map();
  wasConnected = false;
  #signal;
  #settings;
  #maxBps;
  #ice;
  #reports;
  #dirty = false;
  #restart = false;
  /** Nothing is sent, though everything is published: the other one gets it directly. */
  #paused = false;
  /** @type {Promise<void>} */
  #feeding = Promise.resolve();
  /** @type {Promise<void> | null} */
  #running = null;
  #closed = false;

  /**
   * @param {object} options
   * @param {import("./protocol.js").Connection} options.signal
   * @param {RTCIceServer[]} options.iceServers
   * @param {import("./datachannel.js").DataChannels} options.channels
   * @param {{simulcast: boolean, codec: string | null}} options.settings
   * @param {number | null} options.maxBps what we may send in all
   */
  constructor({ signal, iceServers, channels, settings, maxBps }) {
    super();
    this.#signal = signal;
    this.#settings = settings;
    this.#maxBps = maxBps;
    this.connection = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    channels.attach(this.connection);
    this.connection.addEventListener("connectionstatechange", () => {
      const state = this.connection.connectionState;
      this.wasConnected ||= state === "connected";
      this.emit("state", state);
    });
    this.#ice = watchIce(this.connection, {
      restart: () => void this.restartIce(),
      giveUp: () => this.emit("lost", undefined),
    });
    this.#reports = watchReports(this.connection, {
      doubt: () => this.emit("doubt", undefined),
      gone: () => this.emit("silent", undefined),
    });
  }

  /**
   * Sends `track` as `source`; `null` mutes it. Negotiates only where a section is added.
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   */
  async setTrack(source, track) {
    const slot = this.slots.get(source);
    if (!slot) {
      if (track) this.#add(source, track);
      return;
    }
    slot.track = track;
    await this.#feed(slot);
    if (!slot.live && track) {
      slot.live = true;
      slot.toldMuted = false;
      slot.transceiver.direction = "sendonly";
      this.negotiate();
    } else {
      this.#tellMuted(slot);
    }
  }

  /**
   * Withdraws a source: others no longer see it at all.
   * @param {Source} source
   */
  async remove(source) {
    const slot = this.slots.get(source);
    if (!slot?.live) return;
    slot.live = false;
    slot.track = null;
    slot.transceiver.direction = "inactive";
    await slot.transceiver.sender.replaceTrack(null);
    slot.trackId = null;
    slot.toldMuted = false;
    this.negotiate();
  }

  /**
   * Sends nothing more, or again what was set. Nobody is told: tracks are not muted by that.
   * @param {boolean} paused
   */
  async pause(paused) {
    this.#paused = paused;
    await Promise.all([...this.slots.values()].map((slot) => this.#feed(slot)));
  }

  /** Offers what there is now. Several calls in a row make one offer. */
  negotiate() {
    this.#dirty = true;
    this.#running ??= this.#negotiateAll().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** Looks for another path (RFC 8445 §2.4); resolves once both sides have agreed to. */
  restartIce() {
    this.#restart = true;
    return this.negotiate();
  }

  /** Something goes out, so that reports of it come back where there is a path. */
  get isSending() {
    return !this.#closed && !this.#paused && [...this.slots.values()].some(({ live, track }) => live && track !== null);
  }

  /** Bytes that have come back, of reports and all else. */
  async arrived() {
    if (this.#closed) return 0;
    let bytes = 0;
    for (const entry of (await this.connection.getStats()).values()) {
      if (entry.type === "transport") bytes += entry.bytesReceived ?? 0;
    }
    return bytes;
  }

  /** The network changed: look at the path now instead of waiting. */
  checkPath() {
    this.#ice.check();
  }

  close() {
    this.#closed = true;
    this.#ice.stop();
    this.#reports.stop();
    this.connection.close();
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack} track
   */
  #add(source, track) {
    const transceiver = this.#transceiver(source, track);
    if (track.kind === "video" && this.#settings.codec) {
      const codec = this.#settings.codec;
      if (!onlyCodec(transceiver, codec)) {
        this.emit("problem", new Error(`This browser cannot send ${codec}; it sends its own choice instead.`));
      }
    }
    const slot = { transceiver, track, live: true, trackId: null, toldMuted: false };
    this.slots.set(source, slot);
    if (this.#paused) this.#feed(slot).catch((error) => this.emit("problem", error));
    void this.negotiate();
  }

  /**
   * Gives a section its track, or none, one after another: what was said last holds.
   * @param {Slot} slot
   */
  #feed(slot) {
    const fed = this.#feeding.then(() => this.#put(slot));
    this.#feeding = fed.catch(() => {});
    return fed;
  }

  /** @param {Slot} slot */
  async #put({ transceiver, track }) {
    const { sender } = transceiver;
    const replaced = sender.replaceTrack(this.#paused ? null : track);
    const silent = sender.getParameters().encodings?.some(({ active }) => active === false) ?? false;
    if (REPEATS && silent !== this.#paused) await activate(sender, !this.#paused);
    await replaced;
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack} track
   */
  #transceiver(source, track) {
    /** @type {RTCRtpTransceiverInit} */
    const init = { direction: "sendonly", streams: [new MediaStream([track])] };
    if (source === "camera" && this.#settings.simulcast) {
      const layers = cameraLayers(track.getSettings(), this.#maxBps);
      // Without a scalability mode, Chromium makes one scalable stream of several VP9 or AV1 layers.
      const mode = ["VP9", "AV1"].includes(this.#settings.codec ?? "") ? { scalabilityMode: "L1T3" } : {};
      try {
        const sendEncodings = layers.map((layer) => ({ ...layer, ...mode }));
        return this.connection.addTransceiver(track, { ...init, sendEncodings });
      } catch {
        return this.connection.addTransceiver(track, { ...init, sendEncodings: layers });
      }
    }
    if (track.kind === "video") {
      const most = source === "screen" ? SCREEN_BPS : CAMERA_BPS;
      init.sendEncodings = [{ maxBitrate: Math.round(Math.min(most, (this.#maxBps ?? Infinity) * 0.75)) }];
    }
    return this.connection.addTransceiver(track, init);
  }

  async #negotiateAll() {
    while (this.#dirty && !this.#closed) {
      this.#dirty = false;
      try {
        await this.#offer();
      } catch (error) {
        if (this.#closed) return;
        if (error instanceof ProtocolError && error.code === "timeout") {
          // Nobody knows whether the router applied the offer: the two sides may differ from now on.
          this.emit("lost", undefined);
          return;
        }
        if (this.connection.signalingState === "have-local-offer") {
          await this.connection.setLocalDescription({ type: "rollback" }).catch(() => {});
        }
        this.emit("problem", error);
      }
    }
  }

  async #offer() {
    const connection = this.connection;
    const iceRestart = this.#restart;
    this.#restart = false;
    await connection.setLocalDescription(await connection.createOffer({ iceRestart }));
    const live = [...this.slots].filter(([, slot]) => slot.live && slot.transceiver.mid !== null);
    const tracks = live.map(([source, slot]) => ({ mid: slot.transceiver.mid, source }));
    const sdp = connection.localDescription?.sdp ?? "";
    const answer = /** @type {Published & {type: string}} */ (await this.#signal.request("publish", { sdp, tracks }));
    if (this.#closed) return;
    await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    for (const { mid, track } of answer.tracks) {
      const slot = live.find(([, candidate]) => candidate.transceiver.mid === mid)?.[1];
      if (!slot?.live) continue;
      slot.trackId = track;
      this.#tellMuted(slot);
    }
    this.emit("published", undefined);
  }

  /** @param {Slot} slot */
  #tellMuted(slot) {
    const muted = slot.track === null;
    if (!slot.trackId || slot.toldMuted === muted) return;
    slot.toldMuted = muted;
    this.#signal.request("mute", { track: slot.trackId, muted }).catch((error) => this.emit("problem", error));
  }
}

/**
 * @param {RTCRtpSender} sender
 * @param {boolean} active whether it sends anything
 */
async function activate(sender, active) {
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings ?? []) encoding.active = active;
  // One that is being negotiated takes none; it sends nothing without a track, or silence.
  await sender.setParameters(parameters).catch((error) => console.info("parameters are not taken", error));
}

/**
 * @param {{width?: number, height?: number}} picture
 * @param {number | null} maxBps of all that we send; the camera gets at most three quarters of it
 * @returns {RTCRtpEncodingParameters[]}
 */
export function cameraLayers({ width = 1280, height = 720 }, maxBps) {
  const all = LAYERS.reduce((sum, layer) => sum + layer.maxBitrate, 0);
  const allowed = maxBps === null ? Infinity : (maxBps * 0.75) / all;
  const share = Math.min(allowed, Math.max(0.15, (width * height) / (1280 * 720)));
  return LAYERS.map((layer) => ({ ...layer, active: true, maxBitrate: Math.round(layer.maxBitrate * share) }));
}

/**
 * Offers only `codec` (and what repairs it). False if the browser does not have it.
 * @param {RTCRtpTransceiver} transceiver
 * @param {string} codec
 */
function onlyCodec(transceiver, codec) {
  const all = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  const named = (/** @type {string} */ name) =>
    all.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${name.toLowerCase()}`);
  const wanted = named(codec);
  if (wanted.length === 0 || !transceiver.setCodecPreferences) return false;
  try {
    transceiver.setCodecPreferences([...wanted, ...named("rtx")]);
    return true;
  } catch {
    return false;
  }
}
