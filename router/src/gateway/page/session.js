// @ts-check
// One stay in a room: joins, keeps the list of participants and tracks, publishes the local media, receives the
// others', and comes back by itself after the network was lost.

import { DataChannels } from "./datachannel.js";
import { Direct } from "./direct.js";
import { Emitter } from "./emitter.js";
import { plain, refusal, plainClose, removed } from "./errors.js";
import { Connection, ProtocolError } from "./protocol.js";
import { Publisher } from "./publish.js";
import { Subscriber } from "./subscribe.js";

/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./protocol.js").Participant} Participant */
/** @typedef {import("./protocol.js").Track} Track */
/** @typedef {import("./protocol.js").Message} Message */
/** @typedef {import("./protocol.js").Joined} Joined */

/** @typedef {"idle" | "joining" | "joined" | "reconnecting" | "ended"} Phase */
/** @typedef {{phase: Phase, text: string, retryAtMs: number | null, ended: "left" | "removed" | "refused" | null}} State `text`: in plain words; `retryAtMs`: of `performance.now()` */
/** @typedef {{level: "info" | "warning" | "error", text: string}} Notice */
/** @typedef {{spatial: number | null, temporal: number | null}} ForwardedLayer */
/** @typedef {{active: boolean, by: string | null, tracks: string[]}} Recording who asked for it, and what is recorded */

/** @type {Source[]} */
const SOURCES = ["microphone", "camera", "screen", "screen_audio"];
/**
 * Time for each restart of ICE to work once it is agreed on, before the next one, milliseconds. The first may be in vain:
 * browsers find interfaces that have only just come a moment later, and not for what was begun before.
 */
const RESTARTS_MS = [1_500, 4_000];
/** Errors of `join` that trying again cannot mend. */
const REFUSALS = ["unauthenticated", "forbidden", "bad_message", "invalid", "unknown_type"];

/**
 * Events: `state`; `change`: participants or tracks changed; `media`: what to play for a track changed;
 * `speakers`; `recording`: began or ended; `joined`: (again) in the room; `arrived`, `gone`: somebody else; `data`: a message that came through
 * signaling; `path`: media goes another way now; `notice`: to show to the user.
 * @extends {Emitter<{state: State, change: void, path: import("./direct.js").Path, media: string, speakers: void, recording: boolean, layer: string, joined: {again: boolean}, arrived: Participant, gone: Participant, data: {from: string, label: string, text: string}, notice: Notice}>}
 */
export class Session extends Emitter {
  /** @type {State} */
  state = { phase: "idle", text: "", retryAtMs: null, ended: null };
  /** @type {Participant | null} */
  me = null;
  /** Everybody else, by id. @type {Map<string, Participant>} */
  participants = new Map();
  /** Tracks of everybody else, by id. @type {Map<string, Track>} */
  tracks = new Map();
  /** Loudest first. @type {{participant: string, level: number}[]} */
  speakers = [];
  /** What the router forwards to us, by track. @type {Map<string, ForwardedLayer>} */
  layers = new Map();
  /** @type {Recording} */
  recording = { active: false, by: null, tracks: [] };
  /** @type {import("./protocol.js").Grant | null} */
  grant = null;
  /** @type {import("./protocol.js").Limits | null} */
  limits = null;
  /** @type {Publisher | null} */
  publisher = null;
  /** @type {Subscriber | null} */
  subscriber = null;
  channels = new DataChannels();
  /** @type {Direct} */
  direct;
  signal;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  #local;
  #settings;
  /** Own ids before reconnecting: they linger in the room for a moment. @type {Set<string>} */
  #formerIds = new Set();
  #lastDropNotice = 0;
  /** Bytes that had come back to what we publish when signaling was last lost or doubted. @type {Promise<number> | null} */
  #arrivedBefore = null;
  /** What looks for paths now; each replaces the one before. @type {object | null} */
  #search = null;
  /** The signaling session is in the room: a new one is not before it has joined. */
  #inside = false;

  /**
   * @param {object} options
   * @param {string} options.url of the signaling WebSocket
   * @param {import("./settings.js").Settings} options.settings
   * @param {import("./media.js").LocalMedia} options.local
   */
  constructor({ url, settings, local }) {
    super();
    this.#settings = settings;
    this.#local = local;
    this.signal = new Connection(url);
    this.signal.on("up", () => {
      this.#inside = false;
      void this.#join();
    });
    this.signal.on("resumed", () => void this.#resumed());
    this.signal.on("down", (event) => this.#down(event));
    this.signal.on("message", (message) => this.#receive(message));
    local.on("change", (source) => this.#apply(source));
    this.direct = this.#directCalls();
    addEventListener("online", () => this.#networkChanged());
    addEventListener("offline", () => void this.signal.probe(3_000));
    addEventListener("pagehide", () => this.signal.notify("leave"));
  }

  /**
   * @param {string} room
   * @param {string} name
   */
  join(room, name) {
    this.#settings.room = room;
    this.#settings.name = name;
    this.#setState("joining", "Joining…");
    this.signal.start();
  }

  async leave() {
    if (this.state.phase === "ended") return;
    this.#setState("ended", "You left the room.", null, "left");
    await this.signal.request("leave", {}, 800).catch(() => {});
    this.#end();
  }

  /** Tries to connect at once instead of waiting. */
  retryNow() {
    this.signal.retryNow();
  }

  /** @param {Source} source */
  mayPublish(source) {
    return this.grant?.publish.includes(source) ?? true;
  }

  get mayRecord() {
    return this.grant?.recordControl ?? false;
  }

  /**
   * What to play for a track of somebody else.
   * @param {Track} track
   */
  mediaOf(track) {
    return this.direct.sectionOf(track)?.receiver.track ?? this.subscriber?.mediaOf(track.id) ?? null;
  }

  /** @param {boolean} start */
  async record(start) {
    try {
      await this.signal.request("record", { start });
    } catch (error) {
      this.#problem(error);
    }
  }

  get mayChat() {
    return this.grant?.publishData ?? true;
  }

  /**
   * Tells the router how large a track is shown.
   * @param {string} track
   * @param {{width: number, height: number, priority: number, paused: boolean}} wish
   */
  wish(track, wish) {
    this.signal.notify("wish", { track, ...wish });
  }

  /** Whether the participant is an earlier self that has not timed out yet. */
  isFormerSelf(/** @type {string} */ id) {
    return this.#formerIds.has(id);
  }

  async #join() {
    const { room, name, token, direct } = this.#settings;
    try {
      const members = { room, name, direct, ...(token ? { token } : {}) };
      const joined = /** @type {Joined & Message} */ (await this.signal.request("join", members));
      this.#enter(joined);
    } catch (error) {
      if (error instanceof ProtocolError && REFUSALS.includes(error.code)) {
        this.#setState("ended", refusal(error), null, "refused");
        this.#end();
      } else if (!(error instanceof ProtocolError) || error.code !== "disconnected") {
        console.warn("join failed", error);
        this.signal.fail(plain(error));
      }
    }
  }

  /** @param {Joined} joined */
  #enter(joined) {
    const again = this.me !== null;
    this.#inside = true;
    if (this.me) this.#formerIds.add(this.me.id);
    this.me = joined.participant;
    this.grant = joined.grant;
    this.limits = joined.limits;
    const others = joined.participants.filter(({ id }) => id !== this.me?.id && !this.#formerIds.has(id));
    this.participants = new Map(others.map((participant) => [participant.id, participant]));
    const tracks = joined.tracks.filter(({ participant }) => this.participants.has(participant));
    this.tracks = new Map(tracks.map((track) => [track.id, track]));
    this.speakers = [];
    this.layers.clear();
    // Comes after this if anything is recorded.
    this.#recorded({ active: false, by: null, tracks: [] });
    this.signal.settled();
    this.channels.setLimits(joined.limits);
    this.#connectMedia(joined.iceServers ?? []);
    this.signal.notify("notify", { layers: true });
    this.#setState("joined", "");
    this.emit("joined", { again });
    this.emit("change", undefined);
    this.emit("speakers", undefined);
  }

  /** @param {RTCIceServer[]} iceServers */
  #connectMedia(iceServers) {
    this.#iceServers = iceServers;
    this.direct.drop();
    this.publisher?.close();
    this.subscriber?.close();
    const signal = this.signal;
    const maxBps = this.grant?.maxPublishBps ?? null;
    const publisher = new Publisher({ signal, iceServers, channels: this.channels, settings: this.#settings, maxBps });
    const subscriber = new Subscriber({ signal, iceServers });
    this.publisher = publisher;
    this.subscriber = subscriber;
    const problem = (/** @type {unknown} */ error) => this.#problem(error);
    // With the usual delay, for if this happens it may happen again.
    const lost = () => {
      if (this.state.phase !== "joined") return;
      if (!publisher.wasConnected) {
        const text = "Sound and pictures do not get through. Perhaps this network blocks UDP: try another one.";
        this.emit("notice", { level: "error", text });
      }
      this.signal.fail("The media connection was lost.");
    };
    publisher.on("problem", problem);
    publisher.on("lost", lost);
    // Whatever took the one path has most likely taken the other, and perhaps the one of signaling.
    publisher.on("doubt", () => {
      this.#arrivedBefore = publisher.arrived();
      void this.signal.doubt();
    });
    publisher.on("silent", () => {
      if (!this.#search) void this.#findPaths("no reports come of what is sent");
    });
    subscriber.on("problem", problem);
    subscriber.on("lost", lost);
    subscriber.on("media", ({ track }) => this.emit("media", track));
    for (const source of SOURCES) this.#apply(source);
    // Data channels are wanted even when there is nothing else to send.
    void publisher.negotiate();
  }

  #directCalls() {
    const direct = new Direct({
      signal: this.signal,
      iceServers: () => this.#iceServers,
      maxBps: () => this.grant?.maxPublishBps ?? null,
      sending: (source) => (this.mayPublish(source) ? this.#local.sending(source) : null),
      tracks: () => [...this.tracks.values()],
      arrivedByRouter: async (tracks) => this.subscriber?.arrivals(tracks) ?? tracks.map(() => 0),
      pause: (paused) => void this.publisher?.pause(paused).catch((error) => this.#problem(error)),
      channels: this.channels,
      me: () => this.me?.id ?? "",
    });
    /** @type {import("./direct.js").Path} */
    let path = "router";
    direct.on("change", () => {
      this.emit("change", undefined);
      if (direct.path === path) return;
      path = direct.path;
      this.emit("path", path);
    });
    direct.on("levels", (levels) => {
      this.speakers = levels;
      this.emit("speakers", undefined);
    });
    return direct;
  }

  /** @param {Source} source */
  #apply(source) {
    this.emit("change", undefined);
    const track = this.#local.sending(source);
    if (!this.publisher || !this.mayPublish(source)) return;
    this.direct.setTrack(source, track);
    const withdraw = track === null && (source === "screen" || source === "screen_audio");
    const done = withdraw ? this.publisher.remove(source) : this.publisher.setTrack(source, track);
    done.catch((error) => this.#problem(error));
  }

  /** @param {Message} message */
  #receive(message) {
    switch (message.type) {
      case "offer":
        this.subscriber?.handleOffer(/** @type {any} */ (message));
        break;
      case "participant-joined":
        this.#arrived(message.participant);
        break;
      case "participant-left":
        this.#gone(message.participant);
        break;
      case "track-published":
        if (message.track.participant === this.me?.id) break;
        this.tracks.set(message.track.id, message.track);
        this.emit("change", undefined);
        break;
      case "track-unpublished":
        this.tracks.delete(message.track);
        this.layers.delete(message.track);
        this.emit("change", undefined);
        break;
      case "muted": {
        const track = this.tracks.get(message.track);
        if (track) track.muted = message.muted;
        this.emit("change", undefined);
        break;
      }
      case "speakers":
        this.speakers = message.speakers;
        this.emit("speakers", undefined);
        break;
      case "layer":
        this.layers.set(message.track, { spatial: message.spatial, temporal: message.temporal });
        this.emit("layer", message.track);
        break;
      case "data":
        if (typeof message.text === "string") {
          this.emit("data", { from: message.from, label: message.label, text: message.text });
        }
        break;
      default:
        this.#receiveAboutUs(message);
    }
  }

  /** @param {Message} message */
  #receiveAboutUs(message) {
    if (this.direct.receive(message)) return;
    switch (message.type) {
      case "transport":
        if (message.state === "failed") {
          if (message.direction === "publish") this.publisher?.checkPath();
          else this.subscriber?.checkPath();
        }
        break;
      case "data-dropped":
        this.#dataDropped(message.outgoing, message.count);
        break;
      case "recording":
        this.#recorded({ active: message.active, by: message.by, tracks: message.tracks });
        break;
      case "draining": {
        // All clients of this node get the message at once; they must not all move in the same instant.
        const delay = Math.random() * Math.min(3_000, (message.deadlineMs ?? 0) / 3);
        this.emit("notice", { level: "info", text: "The server asks to connect again. That happens by itself." });
        setTimeout(() => this.#rejoin("The server asked to connect again."), delay);
        break;
      }
      case "removed":
        this.#setState("ended", removed(message.reason), null, "removed");
        this.#end();
        break;
      case "error":
        this.#problem(new ProtocolError(message.code, message.message, message.fatal));
        break;
    }
  }

  /** @param {Recording} recording */
  #recorded(recording) {
    const before = this.recording.active;
    this.recording = recording;
    this.emit("change", undefined);
    if (before !== recording.active) this.emit("recording", recording.active);
  }

  /** @param {Participant} participant */
  #arrived(participant) {
    if (participant.id === this.me?.id) return;
    this.participants.set(participant.id, participant);
    this.emit("change", undefined);
    this.emit("arrived", participant);
  }

  /** @param {string} id */
  #gone(id) {
    this.#formerIds.delete(id);
    this.direct.gone(id);
    const participant = this.participants.get(id);
    this.participants.delete(id);
    for (const track of [...this.tracks.values()]) {
      if (track.participant === id) this.tracks.delete(track.id);
    }
    this.emit("change", undefined);
    if (participant) this.emit("gone", participant);
  }

  /**
   * @param {boolean} outgoing
   * @param {number} count
   */
  #dataDropped(outgoing, count) {
    console.info(`${count} data messages ${outgoing ? "from" : "to"} us were dropped`);
    const now = performance.now();
    if (!outgoing || now - this.#lastDropNotice < 10_000) return;
    this.#lastDropNotice = now;
    this.emit("notice", { level: "warning", text: "You are sending faster than the server allows; it is slowed down." });
  }

  /** @param {{code: number, reason: string, retryMs: number | null}} event */
  #down({ code, reason, retryMs }) {
    if (this.state.phase === "ended") return;
    const text = plainClose(code, reason);
    if (retryMs === null) {
      this.#setState("ended", text, null, code === 4003 ? "removed" : "refused");
      this.#end();
      return;
    }
    this.#arrivedBefore = this.publisher?.arrived() ?? null;
    this.#setState(this.me ? "reconnecting" : "joining", text, performance.now() + retryMs);
  }

  /** Another WebSocket took over: whatever took the one before may have taken the paths of media too. */
  async #resumed() {
    if (this.state.phase === "reconnecting" && this.#inside) this.#setState("joined", "");
    const { publisher } = this;
    const before = await this.#arrivedBefore;
    this.#arrivedBefore = null;
    const alive = publisher?.isSending && (await publisher.arrived()) !== before;
    if (!alive) void this.#findPaths("signaling goes on over another connection");
  }

  /**
   * Restarts ICE until what we send is reported again.
   * @param {string} why
   */
  async #findPaths(why) {
    const search = {};
    this.#search = search;
    console.info(`${why}: looking for another path`);
    const { publisher } = this;
    for (const ms of RESTARTS_MS) {
      // Without signaling there is no restart; with its return another search begins.
      if (!publisher || this.state.phase !== "joined" || !this.signal.isOpen) break;
      const before = await publisher.arrived();
      this.subscriber?.restartIce();
      await publisher.restartIce();
      await new Promise((resolve) => setTimeout(resolve, Math.max(ms, 6 * (this.signal.roundTripMs ?? 0))));
      if (this.#search !== search) return;
      if (!publisher.isSending || (await publisher.arrived()) !== before) break;
    }
    if (this.#search === search) this.#search = null;
  }

  /** @param {string} text */
  #rejoin(text) {
    if (this.state.phase !== "joined") return;
    this.#setState("reconnecting", text);
    this.signal.notify("leave");
    this.signal.reconnect();
  }

  #networkChanged() {
    if (!this.signal.isOpen) {
      this.retryNow();
      return;
    }
    void this.signal.doubt();
    this.publisher?.checkPath();
    this.subscriber?.checkPath();
  }

  /** @param {unknown} error */
  #problem(error) {
    const gone = error instanceof ProtocolError && error.code === "disconnected";
    if (gone || this.state.phase !== "joined") return;
    console.warn("problem", error);
    this.emit("notice", { level: "error", text: plain(error) });
  }

  #end() {
    this.signal.stop();
    this.channels.detach();
    this.direct.drop();
    this.publisher?.close();
    this.subscriber?.close();
    this.#local.stop();
  }

  /**
   * @param {Phase} phase
   * @param {string} text
   * @param {number | null} [retryAtMs]
   * @param {State["ended"]} [ended]
   */
  #setState(phase, text, retryAtMs = null, ended = null) {
    this.state = { phase, text, retryAtMs, ended };
    this.emit("state", this.state);
  }
}
