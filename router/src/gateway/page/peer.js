// @ts-check
// The connection of a direct call: straight to the other participant. It has one section for each source from the
// beginning, so that nothing is negotiated again when somebody shares a screen or changes the camera.

import { arrivedIn, reportOf } from "./arrivals.js";
import { Emitter } from "./emitter.js";
import { Loudness } from "./loudness.js";
import { CAMERA_BPS, SCREEN_BPS } from "./publish.js";

/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {{kind: "offer" | "answer", sdp: string}} Description */

/** The sections in their order. @type {Source[]} */
export const SECTIONS = ["microphone", "camera", "screen", "screen_audio"];

/**
 * Events: `candidate`: one of ours, empty at the end; `state`.
 * @extends {Emitter<{candidate: {candidate: string, mid: string | null}, state: RTCPeerConnectionState}>}
 */
export class Peer extends Emitter {
  /** @type {Map<Source, RTCRtpTransceiver>} */
  sections = new Map();
  /** @type {Partial<Record<Source, MediaStreamTrack | null>>} */
  #tracks = {};
  #maxBps;
  /** Candidates that came before the description they belong to. @type {RTCIceCandidateInit[]} */
  #early = [];
  #loudness = new Loudness();

  /**
   * @param {object} options
   * @param {RTCIceServer[]} options.iceServers
   * @param {number | null} options.maxBps what we may send in all
   */
  constructor({ iceServers, maxBps }) {
    super();
    this.#maxBps = maxBps;
    this.connection = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.connection.addEventListener("icecandidate", ({ candidate }) => {
      this.emit("candidate", { candidate: candidate?.candidate ?? "", mid: candidate?.sdpMid ?? null });
    });
    this.connection.addEventListener("connectionstatechange", () => this.emit("state", this.connection.connectionState));
  }

  /**
   * Our offer.
   * @returns {Promise<Description>}
   */
  async offer() {
    for (const source of SECTIONS) {
      const kind = isSound(source) ? "audio" : "video";
      const sendEncodings = kind === "video" ? { sendEncodings: [{ maxBitrate: this.#most(source) }] } : {};
      this.sections.set(source, this.connection.addTransceiver(kind, { direction: "sendrecv", ...sendEncodings }));
    }
    await this.#sendAll();
    await this.connection.setLocalDescription();
    return { kind: "offer", sdp: this.connection.localDescription?.sdp ?? "" };
  }

  /**
   * Applies the other one's description.
   * @param {Description} description
   * @returns {Promise<Description | null>} the answer to an offer
   */
  async accept({ kind, sdp }) {
    const { connection } = this;
    await connection.setRemoteDescription({ type: kind, sdp });
    if (kind === "offer") {
      for (const [index, transceiver] of connection.getTransceivers().entries()) {
        if (!SECTIONS[index]) continue;
        transceiver.direction = "sendrecv";
        this.sections.set(SECTIONS[index], transceiver);
      }
      await this.#sendAll();
      await connection.setLocalDescription();
      await Promise.all([...this.sections].map(([source, { sender }]) => this.#bound(source, sender)));
    }
    for (const candidate of this.#early.splice(0)) await this.#add(candidate);
    return kind === "offer" ? { kind: "answer", sdp: connection.localDescription?.sdp ?? "" } : null;
  }

  /**
   * @param {string} candidate empty: no more
   * @param {string | null} mid
   */
  async addCandidate(candidate, mid) {
    const init = { candidate, ...(mid === null ? { sdpMLineIndex: 0 } : { sdpMid: mid }) };
    if (this.connection.remoteDescription) await this.#add(init);
    else this.#early.push(init);
  }

  /**
   * Sends `track` as `source`; `null`: nothing.
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   */
  async setTrack(source, track) {
    this.#tracks[source] = track;
    await this.sections.get(source)?.sender.replaceTrack(track);
  }

  /**
   * What the other one sends as `source`.
   * @param {Source} source
   */
  mediaOf(source) {
    return this.sections.get(source)?.receiver.track ?? null;
  }

  /**
   * What has arrived of each of the sources, and how loud it was since it was looked at last, here and there.
   * @param {Source[]} sources
   */
  async look(sources) {
    const report = reportOf(await this.connection.getStats());
    const counts = arrivedIn(report, sources.map((source) => {
      const section = this.sections.get(source);
      return { mid: section?.mid ?? "", media: section?.receiver.track ?? null };
    }));
    return { counts, ...this.#loudness.take(report) };
  }

  close() {
    this.connection.close();
  }

  async #sendAll() {
    await Promise.all([...this.sections].map(([source, { sender }]) => sender.replaceTrack(this.#tracks[source] ?? null)));
  }

  /** @param {RTCIceCandidateInit} candidate */
  async #add(candidate) {
    // One that this browser cannot use is no harm: there are others.
    await this.connection.addIceCandidate(candidate).catch((error) => console.info("a candidate is not used", error));
  }

  /**
   * @param {Source} source
   * @param {RTCRtpSender} sender
   */
  async #bound(source, sender) {
    if (isSound(source)) return;
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings ?? []) encoding.maxBitrate = this.#most(source);
    await sender.setParameters(parameters).catch(() => {});
  }

  /** @param {Source} source */
  #most(source) {
    return Math.round(Math.min(source === "screen" ? SCREEN_BPS : CAMERA_BPS, (this.#maxBps ?? Infinity) * 0.75));
  }
}

/** @param {Source} source */
function isSound(source) {
  return source === "microphone" || source === "screen_audio";
}
