// @ts-check
// The course of the figures over the last minutes, as rates, ready to be plotted.

import { Emitter } from "./emitter.js";
import { collect } from "./stats.js";

/** @typedef {import("./stats.js").Reading} Reading */

/** Points kept: three minutes of seconds. */
const KEPT = 180;
const EVERY_MS = 1_000;

/**
 * The figures of one track. A value that is not known is `null`, and a gap in its plot.
 * @typedef {object} Course
 * @property {string} key
 * @property {"in" | "out"} direction
 * @property {"audio" | "video"} kind
 * @property {string} source
 * @property {string} participant empty: ourselves
 * @property {string} codec
 * @property {string} layer in words
 * @property {string} resolution in words
 * @property {string} remark
 * @property {Record<Figure, (number | null)[]>} series
 * @property {Record<string, (number | null)[]>} layerBitrates of our layers, bit/s
 */
/** @typedef {"bitrate" | "loss" | "roundTrip" | "jitter" | "fps" | "height" | "layer"} Figure bit/s, percent, ms, ms, 1/s, pixels, spatial index */

/** @extends {Emitter<{reading: Reading}>} */
export class History extends Emitter {
  /** @type {Map<string, Course>} */
  courses = new Map();
  /** @type {Reading | null} */
  last = null;
  #session;

  /** @param {import("./session.js").Session} session */
  constructor(session) {
    super();
    this.#session = session;
    setInterval(() => void this.#read(), EVERY_MS);
  }

  async #read() {
    if (this.#session.state.phase !== "joined") return;
    try {
      this.add(await collect(this.#session));
    } catch (error) {
      console.warn("no statistics", error);
    }
  }

  /** @param {Reading} reading */
  add(reading) {
    const before = this.last;
    this.last = reading;
    const seconds = before ? (reading.atMs - before.atMs) / 1000 : 0;
    /** @type {Set<string>} */
    const seen = new Set();
    for (const track of reading.publish.tracks) {
      const old = before?.publish.tracks.find((other) => other.source === track.source);
      seen.add(this.#sent(track, old, seconds));
    }
    for (const track of reading.subscribe.tracks) {
      const old = before?.subscribe.tracks.find((other) => other.track === track.track);
      seen.add(this.#received(track, old, seconds, reading.subscribe.roundTripMs));
    }
    for (const key of this.courses.keys()) {
      if (!seen.has(key)) this.courses.delete(key);
    }
    this.emit("reading", reading);
  }

  /**
   * @param {import("./stats.js").SentTrack} track
   * @param {import("./stats.js").SentTrack | undefined} old
   * @param {number} seconds
   */
  #sent(track, old, seconds) {
    const course = this.#course("out", track.source, track.kind, track.source, "");
    const top = [...track.layers].reverse().find((layer) => layer.framesPerSecond > 0) ?? track.layers.at(-1);
    course.codec = track.codec;
    course.resolution = top?.frameWidth ? `${top.frameWidth}×${top.frameHeight}` : "";
    course.layer = track.layers.filter((layer) => layer.rid && layer.framesPerSecond > 0).map(({ rid }) => rid).join(" ");
    course.remark = { cpu: "limited by this computer", bandwidth: "limited by the network" }[track.limitation] ?? "";
    for (const layer of track.layers) {
      if (!layer.rid) continue;
      const oldLayer = old?.layers.find(({ rid }) => rid === layer.rid);
      push((course.layerBitrates[layer.rid] ??= []), rate(layer.bytesSent, oldLayer?.bytesSent, seconds));
    }
    push(course.series.bitrate, rate(track.bytesSent, old?.bytesSent, seconds));
    push(course.series.loss, track.lossShare === null ? null : track.lossShare * 100);
    push(course.series.roundTrip, track.roundTripMs);
    push(course.series.jitter, track.jitterMs);
    push(course.series.fps, top?.framesPerSecond ?? null);
    push(course.series.height, top?.frameHeight ?? null);
    push(course.series.layer, track.layers.filter((layer) => layer.framesPerSecond > 0).length);
    return course.key;
  }

  /**
   * @param {import("./stats.js").ReceivedTrack} track
   * @param {import("./stats.js").ReceivedTrack | undefined} old
   * @param {number} seconds
   * @param {number | null} roundTripMs
   */
  #received(track, old, seconds, roundTripMs) {
    const course = this.#course("in", track.track, track.kind, track.source, track.participant);
    course.codec = track.codec;
    course.resolution = track.frameWidth ? `${track.frameWidth}×${track.frameHeight}` : "";
    const spatial = track.layer?.spatial ?? null;
    course.layer = track.layer ? (spatial === null ? "paused" : `S${spatial} T${track.layer.temporal ?? 0}`) : "";
    course.remark = track.freezeCount > 0 ? `frozen ${track.freezeCount}×` : "";
    const received = track.packetsReceived - (old?.packetsReceived ?? 0);
    const lost = Math.max(0, track.packetsLost - (old?.packetsLost ?? 0));
    push(course.series.bitrate, rate(track.bytesReceived, old?.bytesReceived, seconds));
    push(course.series.loss, old && received + lost > 0 ? (lost / (received + lost)) * 100 : null);
    push(course.series.roundTrip, roundTripMs);
    push(course.series.jitter, track.jitterMs);
    push(course.series.fps, track.framesPerSecond);
    push(course.series.height, track.frameHeight || null);
    push(course.series.layer, spatial);
    return course.key;
  }

  /**
   * @param {"in" | "out"} direction
   * @param {string} name
   * @param {"audio" | "video"} kind
   * @param {string} source
   * @param {string} participant
   * @returns {Course}
   */
  #course(direction, name, kind, source, participant) {
    const key = `${direction}:${name}`;
    let course = this.courses.get(key);
    if (!course) {
      /** @type {Course["series"]} */
      const series = { bitrate: [], loss: [], roundTrip: [], jitter: [], fps: [], height: [], layer: [] };
      course = {
        key, direction, kind, source, participant, codec: "", layer: "", resolution: "", remark: "", series, layerBitrates: {},
      };
      this.courses.set(key, course);
    }
    return course;
  }
}

/**
 * @param {number} bytes
 * @param {number | undefined} before
 * @param {number} seconds
 * @returns {number | null} bit/s
 */
export function rate(bytes, before, seconds) {
  return before === undefined || seconds <= 0 || bytes < before ? null : ((bytes - before) * 8) / seconds;
}

/**
 * @param {(number | null)[]} series
 * @param {number | null} value
 */
function push(series, value) {
  series.push(value);
  if (series.length > KEPT) series.shift();
}

/**
 * How good the connection is, from what was measured last.
 * @param {Reading | null} reading
 * @param {Map<string, Course>} courses
 * @returns {{level: 0 | 1 | 2 | 3, text: string}} 0: nothing known
 */
export function quality(reading, courses) {
  if (!reading) return { level: 0, text: "Connecting" };
  const recent = (/** @type {Figure} */ figure) => {
    const values = [...courses.values()].flatMap(({ series }) => series[figure].slice(-4)).filter((value) => value !== null);
    return values.length > 0 ? Math.max(...values) : 0;
  };
  const loss = recent("loss");
  const trip = Math.max(reading.publish.roundTripMs ?? 0, reading.subscribe.roundTripMs ?? 0);
  const figures = `${Math.round(trip)} ms there and back, ${loss.toFixed(loss < 10 ? 1 : 0)} % lost`;
  if (reading.publish.connectionState !== "connected") return { level: 0, text: "Connecting" };
  if (loss > 8 || trip > 500) return { level: 1, text: `Poor connection: ${figures}` };
  if (loss > 2 || trip > 250) return { level: 2, text: `Fair connection: ${figures}` };
  return { level: 3, text: `Good connection: ${figures}` };
}
