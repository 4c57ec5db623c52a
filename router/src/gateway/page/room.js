// @ts-check
// From the session's state to what is shown: tiles, people, sound.

import { nameFrom } from "./collab.js";

/** @typedef {import("./tile.js").TileData} TileData */
/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./media.js").LocalMedia} LocalMedia */
/** @typedef {import("./protocol.js").Track} Track */

/**
 * @param {Session} session
 * @param {string} participant
 * @returns {Track[]}
 */
function tracksOf(session, participant) {
  return [...session.tracks.values()].filter((track) => track.participant === participant);
}

/**
 * @param {Session} session
 * @param {Track | undefined} track
 * @returns {MediaStreamTrack | null}
 */
function mediaOf(session, track) {
  return track && !track.muted ? session.mediaOf(track) : null;
}

/**
 * Everybody's tiles: the others in the order they came, then ourselves.
 * @param {Session} session
 * @param {LocalMedia} local
 * @param {Map<string, number>} spokeAt
 * @param {string} ownName for the time before the router has answered
 * @returns {TileData[]}
 */
export function tilesOf(session, local, spokeAt, ownName) {
  const stale = session.state.phase !== "joined";
  const speaking = new Set(stale ? [] : session.speakers.map(({ participant }) => participant));
  /** @type {TileData[]} */
  const tiles = [];
  const others = [...session.participants.values()].sort((a, b) => a.joinedAtMs - b.joinedAtMs);
  for (const person of others) {
    const tracks = tracksOf(session, person.id);
    const camera = tracks.find(({ kind, source }) => kind === "video" && source === "camera");
    const microphone = tracks.find(({ source }) => source === "microphone");
    const common = { participant: person.id, name: nameFrom(person), self: false, stale };
    tiles.push({
      ...common, key: person.id, kind: "camera", media: mediaOf(session, camera), track: camera?.id ?? null,
      microphoneOff: !microphone || microphone.muted, speaking: speaking.has(person.id), spokeAt: spokeAt.get(person.id) ?? 0,
    });
    for (const screen of tracks) {
      if (screen.kind !== "video" || screen.source === "camera") continue;
      tiles.push({
        ...common, key: `${person.id}/${screen.id}`, kind: "screen", media: mediaOf(session, screen), track: screen.id,
        microphoneOff: false, speaking: false, spokeAt: 0,
      });
    }
  }
  const { me } = session;
  const id = me?.id ?? "";
  const own = { participant: id, name: me ? nameFrom(me) : ownName, self: true, track: null, stale: false };
  tiles.push({
    ...own, key: "me", kind: "camera", media: local.sending("camera"), microphoneOff: !local.sending("microphone"),
    speaking: speaking.has(id), spokeAt: spokeAt.get(id) ?? 0,
  });
  const screen = local.sending("screen");
  if (screen) {
    tiles.push({ ...own, key: "me/screen", kind: "screen", media: screen, microphoneOff: false, speaking: false, spokeAt: 0 });
  }
  return tiles;
}

/**
 * Everybody by name, ourselves first.
 * @param {Session} session
 * @param {LocalMedia} local
 * @returns {import("./people.js").Person[]}
 */
export function peopleOf(session, local) {
  const speaking = new Set(session.speakers.map(({ participant }) => participant));
  const recorded = recordedPeople(session);
  const others = [...session.participants.values()].map((person) => {
    const tracks = tracksOf(session, person.id).filter(({ muted }) => !muted);
    const has = (/** @type {string} */ source) => tracks.some((track) => track.source === source);
    return {
      id: person.id, name: nameFrom(person), self: false, microphoneOff: !has("microphone"), cameraOff: !has("camera"),
      sharing: has("screen"), speaking: speaking.has(person.id), recorded: recorded.has(person.id),
    };
  });
  others.sort((a, b) => a.name.localeCompare(b.name));
  const { me } = session;
  if (!me) return others;
  const self = {
    id: me.id, name: nameFrom(me), self: true, microphoneOff: !local.sending("microphone"), cameraOff: !local.sending("camera"),
    sharing: local.isOn("screen"), speaking: speaking.has(me.id), recorded: recorded.has(me.id),
  };
  return [self, ...others];
}

/**
 * Participants of whom something is recorded.
 * @param {Session} session
 * @returns {Set<string>}
 */
function recordedPeople(session) {
  // The tracks of others are known; what is left is our own.
  const owner = (/** @type {string} */ track) => session.tracks.get(track)?.participant ?? session.me?.id ?? "";
  return new Set(session.recording.tracks.map(owner));
}

/**
 * Who is recorded and who asked for it, in words.
 * @param {Session} session
 */
export function recordedText(session) {
  const { me, participants, recording } = session;
  const name = (/** @type {string} */ id) => {
    if (id === me?.id) return "you";
    const person = participants.get(id);
    return person ? nameFrom(person) : "somebody who left";
  };
  const names = [...recordedPeople(session)].map(name);
  const few = names.length > 3 ? `${names.length} people` : names.join(", ");
  const by = recording.by === null ? "" : ` (asked for by ${name(recording.by)})`;
  return `Recording ${few}${by}`;
}

/**
 * The sound to play, by the router's track.
 * @param {Session} session
 * @returns {Map<string, MediaStreamTrack>}
 */
export function soundsOf(session) {
  const sounds = new Map();
  for (const track of session.tracks.values()) {
    const media = track.kind === "audio" ? session.mediaOf(track) : null;
    if (media) sounds.set(track.id, media);
  }
  return sounds;
}
