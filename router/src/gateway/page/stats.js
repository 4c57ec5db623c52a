// @ts-check
// Figures about both connections: one reading (`collect`), and their course over the last minutes (`History`).

import { inboundOf, reportOf } from "./arrivals.js";

/**
 * @typedef {object} SentLayer
 * @property {string} rid empty without simulcast
 * @property {number} bytesSent
 * @property {number} frameWidth
 * @property {number} frameHeight
 * @property {number} framesPerSecond
 */

/**
 * @typedef {object} SentTrack
 * @property {string | null} track
 * @property {"audio" | "video"} kind
 * @property {string} source
 * @property {string | null} mid
 * @property {string} codec
 * @property {number} bytesSent
 * @property {number} packetsSent
 * @property {number | null} lossShare of what was sent, as the router reports it
 * @property {number | null} roundTripMs
 * @property {number | null} jitterMs
 * @property {string} limitation why the browser sends less than it might: "none", "cpu", "bandwidth", "other"
 * @property {SentLayer[]} layers
 */

/**
 * @typedef {object} ReceivedTrack
 * @property {string} track
 * @property {string} participant
 * @property {"audio" | "video"} kind
 * @property {string} source
 * @property {string} mid
 * @property {string} codec
 * @property {number} framesDecoded
 * @property {number} framesPerSecond
 * @property {number} frameWidth
 * @property {number} frameHeight
 * @property {number} packetsReceived
 * @property {number} packetsLost
 * @property {number} bytesReceived
 * @property {number} jitterMs
 * @property {number} audioLevel
 * @property {number} totalAudioEnergy
 * @property {number} totalSamplesReceived
 * @property {number} freezeCount
 * @property {number} totalFreezesDuration seconds
 * @property {{spatial: number | null, temporal: number | null} | null} layer what the router says it forwards
 */

/** @typedef {{connectionState: string, roundTripMs: number | null, bytesSent: number, packetsSent: number, tracks: SentTrack[]}} PublishStats */
/** @typedef {{connectionState: string, roundTripMs: number | null, tracks: ReceivedTrack[]}} SubscribeStats */
/** @typedef {{atMs: number, publish: PublishStats, subscribe: SubscribeStats}} Reading */

/**
 * @param {import("./session.js").Session} session
 * @returns {Promise<Reading>}
 */
export async function collect(session) {
  const [publish, subscribe] = await Promise.all([collectSent(session), collectReceived(session)]);
  return { atMs: performance.now(), publish, subscribe };
}

/**
 * @param {import("./session.js").Session} session
 * @returns {Promise<PublishStats>}
 */
async function collectSent({ publisher, direct }) {
  /** @type {PublishStats} */
  const result = { connectionState: "closed", roundTripMs: null, bytesSent: 0, packetsSent: 0, tracks: [] };
  if (!publisher) return result;
  result.connectionState = publisher.connection.connectionState;
  if (result.connectionState === "closed") return result;
  const report = reportOf(await publisher.connection.getStats());
  result.roundTripMs = pathRoundTrip(report);
  for (const stats of report.values()) {
    if (stats.type !== "outbound-rtp") continue;
    result.bytesSent += stats.bytesSent ?? 0;
    result.packetsSent += stats.packetsSent ?? 0;
  }
  const live = [...publisher.slots].filter(([, slot]) => slot.live);
  result.tracks = await Promise.all(live.map(async ([source, slot]) => {
    const sender = direct.senderOf(source) ?? slot.transceiver.sender;
    const own = reportOf(await sender.getStats());
    return sentTrack(source, slot, own);
  }));
  return result;
}

/**
 * @param {string} source
 * @param {import("./publish.js").Slot} slot
 * @param {Map<string, any>} report
 * @returns {SentTrack}
 */
function sentTrack(source, slot, report) {
  const outbound = [...report.values()].filter((stats) => stats.type === "outbound-rtp");
  const remote = [...report.values()].filter((stats) => stats.type === "remote-inbound-rtp");
  const order = ["q", "h", "f"];
  outbound.sort((a, b) => order.indexOf(a.rid) - order.indexOf(b.rid));
  const worst = (/** @type {string} */ member) => {
    const values = remote.map((stats) => stats[member]).filter((value) => typeof value === "number");
    return values.length > 0 ? Math.max(...values) : null;
  };
  const sum = (/** @type {string} */ member) => outbound.reduce((total, stats) => total + (stats[member] ?? 0), 0);
  return {
    track: slot.trackId,
    kind: source === "microphone" || source === "screen_audio" ? "audio" : "video",
    source,
    mid: slot.transceiver.mid,
    codec: codecOf(report, outbound[0]),
    bytesSent: sum("bytesSent"),
    packetsSent: sum("packetsSent"),
    lossShare: worst("fractionLost"),
    roundTripMs: milliseconds(worst("roundTripTime")),
    jitterMs: milliseconds(worst("jitter")),
    limitation: outbound.map((stats) => stats.qualityLimitationReason).find((reason) => reason && reason !== "none") ?? "none",
    layers: outbound.map((stats) => ({
      rid: stats.rid ?? "",
      bytesSent: stats.bytesSent ?? 0,
      frameWidth: stats.frameWidth ?? 0,
      frameHeight: stats.frameHeight ?? 0,
      framesPerSecond: stats.framesPerSecond ?? 0,
    })),
  };
}

/**
 * @param {import("./session.js").Session} session
 * @returns {Promise<SubscribeStats>}
 */
async function collectReceived(session) {
  const { subscriber } = session;
  const connection = subscriber?.connection;
  /** @type {SubscribeStats} */
  const result = { connectionState: connection?.connectionState ?? "new", roundTripMs: null, tracks: [] };
  if (!subscriber || !connection || result.connectionState === "closed") return result;
  const report = reportOf(await connection.getStats());
  result.roundTripMs = pathRoundTrip(report);
  const { direct } = session;
  const past = direct.path === "direct" && direct.connection ? reportOf(await direct.connection.getStats()) : null;
  if (past) result.roundTripMs = pathRoundTrip(past);
  for (const [track, routed] of subscriber.sections) {
    const info = session.tracks.get(track);
    const section = past ? direct.sectionOf(info) : null;
    const { mid, media } = section ? { mid: section.mid ?? "", media: section.receiver.track } : routed;
    const from = section && past ? past : report;
    const layer = section ? undefined : session.layers.get(track);
    result.tracks.push(receivedTrack(track, mid, media, info, inboundOf(from, { mid, media }) ?? {}, from, layer));
  }
  return result;
}

/**
 * @param {string} track
 * @param {string} mid
 * @param {MediaStreamTrack} media
 * @param {import("./protocol.js").Track | undefined} info
 * @param {any} stats
 * @param {Map<string, any>} report
 * @param {import("./session.js").ForwardedLayer | undefined} layer
 * @returns {ReceivedTrack}
 */
function receivedTrack(track, mid, media, info, stats, report, layer) {
  return {
    track,
    mid,
    participant: info?.participant ?? "",
    kind: media.kind === "audio" ? "audio" : "video",
    source: info?.source ?? "other",
    codec: codecOf(report, stats),
    framesDecoded: stats.framesDecoded ?? 0,
    framesPerSecond: stats.framesPerSecond ?? 0,
    frameWidth: stats.frameWidth ?? 0,
    frameHeight: stats.frameHeight ?? 0,
    packetsReceived: stats.packetsReceived ?? 0,
    packetsLost: stats.packetsLost ?? 0,
    bytesReceived: stats.bytesReceived ?? 0,
    jitterMs: milliseconds(stats.jitter) ?? 0,
    audioLevel: stats.audioLevel ?? 0,
    totalAudioEnergy: stats.totalAudioEnergy ?? 0,
    totalSamplesReceived: stats.totalSamplesReceived ?? 0,
    freezeCount: stats.freezeCount ?? 0,
    totalFreezesDuration: stats.totalFreezesDuration ?? 0,
    layer: layer ?? null,
  };
}

/** @param {Map<string, any>} report */
function pathRoundTrip(report) {
  for (const stats of report.values()) {
    if (stats.type === "candidate-pair" && stats.nominated && stats.state === "succeeded") {
      return milliseconds(stats.currentRoundTripTime);
    }
  }
  return null;
}

/**
 * @param {Map<string, any>} report
 * @param {any} stream
 */
function codecOf(report, stream) {
  const mime = report.get(stream?.codecId)?.mimeType ?? "";
  return mime.split("/")[1] ?? "";
}

/** @param {number | null | undefined} seconds */
function milliseconds(seconds) {
  return typeof seconds === "number" ? seconds * 1000 : null;
}
