// @ts-check
// How far the media of a connection has come.

/** @typedef {{mid: string, media: MediaStreamTrack | null}} Section */

/**
 * The statistics of what is received in a section. One that went idle and came back may leave an older stream behind:
 * the busier one is meant.
 * @param {Map<string, any>} report
 * @param {Section} section
 * @returns {any} `undefined` while nothing has come
 */
export function inboundOf(report, { mid, media }) {
  return [...report.values()]
    .filter((one) => one.type === "inbound-rtp")
    .filter((one) => one.mid === mid || (one.mid === undefined && one.trackIdentifier === media?.id))
    .sort((a, b) => (b.lastPacketReceivedTimestamp ?? 0) - (a.lastPacketReceivedTimestamp ?? 0))[0];
}

/**
 * What has arrived in each section: frames decoded of a picture, packets of a sound.
 * @param {RTCPeerConnection} connection
 * @param {Section[]} sections
 */
export async function arrivals(connection, sections) {
  return arrivedIn(reportOf(await connection.getStats()), sections);
}

/**
 * @param {Map<string, any>} report
 * @param {Section[]} sections
 * @returns {number[]}
 */
export function arrivedIn(report, sections) {
  return sections.map((section) => {
    const stats = inboundOf(report, section);
    return (stats?.kind === "video" ? stats.framesDecoded : stats?.packetsReceived) ?? 0;
  });
}

/**
 * @param {RTCStatsReport} report
 * @returns {Map<string, any>}
 */
export function reportOf(report) {
  const map = new Map();
  report.forEach((stats, id) => map.set(id, stats));
  return map;
}
