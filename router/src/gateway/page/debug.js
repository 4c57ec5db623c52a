// @ts-check
// `window.rillway`: for the console and for automatic tests.
//
//   await rillway.snapshot()   what the page knows, as plain data:
//     state          "idle" (before joining), "joining", "joined", "reconnecting" or "ended"
//     me             {id, name}, or null
//     participants   [{id, name}] of the others
//     publish        {connectionState, bytesSent, packetsSent, tracks: [{track, kind, source, mid, codec, bytesSent,
//                    layers: [{rid, bytesSent, frameWidth, frameHeight, framesPerSecond}]}]}; bytesSent is the sum
//                    over all outbound-rtp streams of the publishing connection
//     subscribe      {connectionState, tracks: [{track, participant, kind, source, mid, codec, framesDecoded,
//                    framesPerSecond, frameWidth, frameHeight, packetsReceived, packetsLost, bytesReceived,
//                    audioLevel, totalSamplesReceived, freezeCount, totalFreezesDuration, layer}]}
//     chat           [{from, text}], own lines included
//     files          [{from, name, size, direction, complete, ok, sha256, status}]; `complete` is true for a received
//                    file that is whole and has the announced hash, and for a sent one that was sent to its end
//     board          {strokes, points, from: {participant: strokes}}
//     path           "direct" or "router": which way the other one's media comes
//     paused         whether the router gets no media of ours
//     speakers       [participant], loudest first
//   rillway.sendChat(text), await rillway.sendFile(name, Uint8Array), rillway.drawStroke([{x, y}, …], colour?),
//   await rillway.toggleCamera(), .toggleMicrophone(), .toggleScreen(), rillway.restartIce(), rillway.openStats(),
//   rillway.leave()
//
// A point of a stroke may also be a pair [x, y]; both go from 0 to 1. A colour is an index into the palette.

import { nameFrom } from "./collab.js";
import { collect } from "./stats.js";

/** @typedef {{x: number, y: number} | [number, number]} Point */

/**
 * @param {object} parts
 * @param {import("./session.js").Session} parts.session
 * @param {import("./media.js").LocalMedia} parts.local
 * @param {() => import("./meeting.js").Meeting | null} parts.meeting `null` before joining
 */
export function exposeForDebugging({ session, local, meeting }) {
  const need = () => {
    const open = meeting();
    if (!open) throw new Error("not in a meeting yet");
    return open;
  };
  const handle = {
    snapshot: () => snapshot(session, meeting()),
    sendChat: (/** @type {string} */ text) => need().collab.say(text),
    sendFile: async (/** @type {string} */ name, /** @type {Uint8Array<ArrayBuffer>} */ bytes) => {
      const { files } = need().collab;
      const refusal = files.refusal({ name, size: bytes.length });
      if (refusal) throw new Error(refusal);
      await files.send(new Blob([bytes]), name);
    },
    drawStroke: (/** @type {Point[]} */ points, colour = 0) => {
      const pairs = points.map((point) => /** @type {[number, number]} */ (Array.isArray(point) ? point : [point.x, point.y]));
      return need().collab.drawStroke(pairs, colour, 9);
    },
    toggleCamera: () => local.toggle("camera"),
    toggleMicrophone: () => local.toggle("microphone"),
    toggleScreen: async () => {
      if (local.isOn("screen")) local.stopScreen();
      else await local.shareScreen();
      return local.isOn("screen");
    },
    restartIce: () => {
      session.publisher?.restartIce();
      session.subscriber?.restartIce();
    },
    openStats: () => need().stats.toggle(true),
    leave: () => session.leave(),
  };
  Object.assign(window, { rillway: Object.freeze(handle) });
}

/**
 * @param {import("./session.js").Session} session
 * @param {import("./meeting.js").Meeting | null} meeting
 */
async function snapshot(session, meeting) {
  const { publish, subscribe } = await collect(session);
  const { me, participants, speakers, state } = session;
  const board = meeting?.collab.board;
  const counts = board?.counts() ?? {};
  return {
    state: state.phase,
    text: state.text,
    me: me ? { id: me.id, name: nameFrom(me) } : null,
    participants: [...participants.values()].map((person) => ({ id: person.id, name: nameFrom(person) })),
    publish,
    subscribe,
    chat: meeting?.collab.chat.lines.map(({ from, text }) => ({ from, text })) ?? [],
    files: [...(meeting?.collab.files.entries.values() ?? [])].map((file) => {
      const { from, name, size, direction, ok, sha256, status } = file;
      return { from, name, size, direction, complete: status === "done", ok, sha256, status };
    }),
    board: {
      strokes: Object.values(counts).reduce((sum, count) => sum + count, 0),
      points: board?.pointCount ?? 0,
      from: counts,
    },
    path: session.direct.path,
    paused: session.direct.paused,
    speakers: speakers.map(({ participant }) => participant),
  };
}
