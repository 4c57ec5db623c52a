// @ts-check
// Where one is, as the address says: #/rooms/NAME, #/rooms/NAME/why/PARTICIPANT/TRACK.

/**
 * @param {string} hash
 * @returns {{room: string, participant: string, track: string}} empty: none
 */
export function parse(hash) {
  const [, first, room = "", second, participant = "", track = ""] = hash.replace(/^#/, "").split("/").map(decoded);
  if (first !== "rooms") return { room: "", participant: "", track: "" };
  return second === "why" ? { room, participant, track } : { room, participant: "", track: "" };
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
