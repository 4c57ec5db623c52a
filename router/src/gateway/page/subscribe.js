// @ts-check
// The subscribing connection: everything we receive. The router offers, we answer.

import { arrivals } from "./arrivals.js";
import { Emitter } from "./emitter.js";
import { watchIce } from "./ice.js";

/** @typedef {import("./protocol.js").Offer} Offer */

/**
 * Events: `media`: the media of a router's track is another one now (`null`: none).
 * @extends {Emitter<{media: {track: string, media: MediaStreamTrack | null}, state: RTCPeerConnectionState, problem: unknown, lost: void}>}
 */
export class Subscriber extends Emitter {
  #signal;
  #iceServers;
  /** @type {RTCPeerConnection | null} */
  connection = null;
  /** Router's track → section. @type {Map<string, {mid: string, media: MediaStreamTrack}>} */
  sections = new Map();
  /** @type {Promise<void>} */
  #queue = Promise.resolve();
  /** @type {ReturnType<typeof watchIce> | null} */
  #ice = null;
  #closed = false;

  /**
   * @param {{signal: import("./protocol.js").Connection, iceServers: RTCIceServer[]}} options
   */
  constructor({ signal, iceServers }) {
    super();
    this.#signal = signal;
    this.#iceServers = iceServers;
  }

  /**
   * Applies offers one after another, in the order they came.
   * @param {Offer} offer
   */
  handleOffer(offer) {
    this.#queue = this.#queue.then(() => this.#apply(offer)).catch((error) => {
      if (this.#closed) return;
      console.warn("an offer could not be answered", error);
      // It would block all later ones: start afresh.
      this.emit("lost", undefined);
    });
  }

  restartIce() {
    this.#signal.request("restart", { direction: "subscribe" }).catch((error) => this.emit("problem", error));
  }

  checkPath() {
    this.#ice?.check();
  }

  /**
   * What to play for a router's track.
   * @param {string} track
   * @returns {MediaStreamTrack | null}
   */
  mediaOf(track) {
    return this.sections.get(track)?.media ?? null;
  }

  /**
   * What has arrived of each of the tracks.
   * @param {string[]} tracks
   */
  async arrivals(tracks) {
    if (!this.connection || this.connection.connectionState === "closed") return tracks.map(() => 0);
    const sections = tracks.map((track) => this.sections.get(track) ?? { mid: "", media: null });
    return arrivals(this.connection, sections);
  }

  close() {
    this.#closed = true;
    this.#ice?.stop();
    this.connection?.close();
  }

  #open() {
    const connection = new RTCPeerConnection({ iceServers: this.#iceServers, bundlePolicy: "max-bundle" });
    connection.addEventListener("connectionstatechange", () => this.emit("state", connection.connectionState));
    this.#ice = watchIce(connection, {
      restart: () => this.restartIce(),
      giveUp: () => this.emit("lost", undefined),
    });
    this.connection = connection;
    return connection;
  }

  /** @param {Offer} offer */
  async #apply({ offerId, sdp, tracks }) {
    if (this.#closed) return;
    const connection = this.connection ?? this.#open();
    await connection.setRemoteDescription({ type: "offer", sdp });
    await connection.setLocalDescription(await connection.createAnswer());
    this.#map(connection, tracks);
    await this.#signal.request("answer", { offerId, sdp: connection.localDescription?.sdp ?? "" });
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {Offer["tracks"]} tracks
   */
  #map(connection, tracks) {
    const before = this.sections;
    this.sections = new Map();
    for (const { mid, track } of tracks) {
      if (track === null) continue;
      const receiver = connection.getTransceivers().find((transceiver) => transceiver.mid === mid)?.receiver;
      if (receiver) this.sections.set(track, { mid, media: receiver.track });
    }
    for (const [track, { media }] of this.sections) {
      if (before.get(track)?.media !== media) this.emit("media", { track, media });
    }
    for (const track of before.keys()) {
      if (!this.sections.has(track)) this.emit("media", { track, media: null });
    }
  }
}
