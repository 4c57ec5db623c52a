// @ts-check
// A call of two that goes from one to the other instead of through the router. The router says when it begins and
// when it ends; what is shown and heard moves over only once the new way carries it, and the old way is left only
// once the other side has moved. See docs/direct.md.

import { DirectData } from "./directdata.js";
import { Emitter } from "./emitter.js";
import { Peer, SECTIONS } from "./peer.js";

/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./protocol.js").Track} Track */
/** @typedef {import("./protocol.js").Message} Message */
/** @typedef {"direct" | "router"} Path */

/**
 * @typedef {object} Call
 * @property {number} number
 * @property {string} participant the other one
 * @property {Peer} peer
 * @property {DirectData} data
 * @property {Promise<unknown>} queue of descriptions and candidates, one after another
 * @property {Path} taken which way we show and play
 * @property {number | null} endedMs when the router called us back, of `performance.now()`
 * @property {Map<string, number> | null} before what had arrived through the router then, by its track; `null`: not known yet
 * @property {boolean} failed that it was given up
 * @property {number | null} turnedMs when it was moved, as long as nobody has been told
 * @property {boolean} toldRouter that we take the router's
 * @property {number} lookedMs when we looked at what arrives last
 * @property {boolean} theirsRouter that the other one said so since it ended
 * @property {number} movedMs when anything arrived last
 * @property {number} arrived how much had by then
 */

/** The connection is given up if nothing was carried by it for this long, milliseconds. */
const CONNECT_MS = 10_000;
/** How often we look at what arrives, while the call moves. */
const LOOK_MS = 100;
/** The same while it stays: statistics of a connection cost time of the page. */
const OVERSEE_MS = 1_000;
/** From moving until the other side is told to leave the old way, at least, */
const SETTLE_MS = 300;
/** and at most, where what came the new way is not yet shown. */
const SHOW_MS = 3_000;
/** The other side, or the router's media, is not waited for longer than this. */
const RETURN_MS = 8_000;
/** A direct connection that was seen to be silent for so long is given up. */
const STALL_MS = 2_000;
/** Sound that is shown as speaking, of 1. */
const SPEAKING = 0.02;

/**
 * Events: `change`: what to play, or the way in use, is another; `levels`: who speaks, as the router says otherwise.
 * @extends {Emitter<{change: void, levels: {participant: string, level: number}[]}>}
 */
export class Direct extends Emitter {
  /** @type {Call | null} */
  #call = null;
  #on;
  /** Whether the router has called for a direct call in this stay. */
  offered = false;
  /** Whether all that comes is shown and heard, and nothing else any more. Whoever shows it says so. */
  shown = () => true;

  /**
   * @param {object} on what it needs of the session
   * @param {import("./protocol.js").Connection} on.signal
   * @param {() => RTCIceServer[]} on.iceServers
   * @param {() => number | null} on.maxBps
   * @param {(source: Source) => MediaStreamTrack | null} on.sending
   * @param {() => Track[]} on.tracks of everybody else
   * @param {(tracks: string[]) => Promise<number[]>} on.arrivedByRouter
   * @param {(paused: boolean) => void} on.pause what is sent to the router
   * @param {import("./datachannel.js").DataChannels} on.channels
   * @param {() => string} on.me
   */
  constructor(on) {
    super();
    this.#on = on;
  }

  /** Which way the other one's media comes. @returns {Path} */
  get path() {
    return this.#call?.taken ?? "router";
  }

  /** The connection, while there is one. */
  get connection() {
    return this.#call?.peer.connection ?? null;
  }

  /**
   * The section that carries a track of the other one; `null` where it comes through the router.
   * @param {Track | undefined} track
   */
  sectionOf(track) {
    const call = this.#call;
    if (!track || call?.taken !== "direct" || track.participant !== call.participant) return null;
    return call.peer.sections.get(track.source) ?? null;
  }

  /**
   * What sends a source of ours to the other one; `null` where the router gets it.
   * @param {Source} source
   */
  senderOf(source) {
    const call = this.#call;
    return call && this.paused ? (call.peer.sections.get(source)?.sender ?? null) : null;
  }

  /** Whether the router gets no media of ours. */
  paused = false;

  /**
   * What to send is another.
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   */
  setTrack(source, track) {
    this.#call?.peer.setTrack(source, track).catch((error) => this.#trouble(error));
  }

  /**
   * @param {Message} message
   * @returns {boolean} whether it was about direct calls
   */
  receive(message) {
    if (message.type === "direct") {
      this.#begin(message.call, message.participant, message.offer);
      return true;
    }
    const call = this.#call?.number === message.call ? this.#call : null;
    switch (message.type) {
      case "direct-description":
        if (call) this.#enqueue(call, () => this.#accept(call, { kind: message.kind, sdp: message.sdp }));
        return true;
      case "direct-candidate":
        if (call) this.#enqueue(call, () => call.peer.addCandidate(message.candidate, message.mid ?? null));
        return true;
      case "direct-path":
        if (call) this.#theirs(call, message.path);
        return true;
      case "direct-end":
        if (call) this.#end(call, message.reason);
        return true;
    }
    return false;
  }

  /** @param {string} participant who left */
  gone(participant) {
    if (this.#call?.participant === participant) this.drop();
  }

  /** Leaves the direct connection at once. */
  drop() {
    const call = this.#call;
    this.#pause(false);
    if (!call) return;
    this.#call = null;
    call.peer.close();
    this.emit("change", undefined);
  }

  /**
   * @param {number} number
   * @param {string} participant
   * @param {boolean} offer whether it is us who offers
   */
  #begin(number, participant, offer) {
    this.drop();
    this.offered = true;
    const peer = new Peer({ iceServers: this.#on.iceServers(), maxBps: this.#on.maxBps() });
    const data = new DirectData(number, participant);
    /** @type {Call} */
    const call = {
      number, participant, peer, data, queue: Promise.resolve(), taken: "router", turnedMs: null, endedMs: null,
      before: null, failed: false, toldRouter: false, theirsRouter: false, lookedMs: 0, movedMs: performance.now(), arrived: 0,
    };
    this.#call = call;
    data.attach(peer.connection);
    this.#on.channels.listen(data);
    for (const source of SECTIONS) void peer.setTrack(source, this.#on.sending(source));
    peer.on("candidate", (candidate) => this.#on.signal.notify("direct-candidate", { call: number, ...candidate }));
    peer.on("state", (state) => {
      if (this.#call === call && (state === "failed" || state === "disconnected")) this.#fail(call);
    });
    if (offer) {
      this.#enqueue(call, async () => this.#describe(call, await peer.offer()));
    }
    void this.#watch(call);
    this.emit("change", undefined);
  }

  /**
   * @param {Call} call
   * @param {() => Promise<unknown>} step
   */
  #enqueue(call, step) {
    call.queue = call.queue.then(() => (this.#call === call ? step() : null)).catch((error) => {
      if (this.#call !== call) return;
      this.#trouble(error);
      this.#fail(call);
    });
  }

  /**
   * @param {Call} call
   * @param {import("./peer.js").Description} description
   */
  async #accept(call, description) {
    const answer = await call.peer.accept(description);
    if (answer) await this.#describe(call, answer);
  }

  /**
   * @param {Call} call
   * @param {import("./peer.js").Description} description
   */
  async #describe(call, { kind, sdp }) {
    this.#on.signal.notify("direct-description", { call: call.number, kind, sdp });
  }

  /**
   * The other one says how it gets what we send.
   * @param {Call} call
   * @param {Path} path
   */
  #theirs(call, path) {
    if (call.endedMs === null) {
      this.#pause(path === "direct");
    } else if (path === "router") {
      call.theirsRouter = true;
      this.#close(call);
    }
  }

  /**
   * The router calls us back.
   * @param {Call} call
   * @param {string} reason
   */
  #end(call, reason) {
    if (reason === "left") {
      this.drop();
      return;
    }
    this.#pause(false);
    if (call.endedMs !== null) return;
    console.info(`the direct call ends: ${reason}`);
    call.endedMs = performance.now();
    if (call.taken === "router") {
      this.#tellRouter(call);
      return;
    }
    const tracks = this.#expected(call).map(({ id }) => id);
    void this.#on.arrivedByRouter(tracks).then((counts) => {
      call.before = new Map(tracks.map((id, index) => [id, counts[index]]));
    });
  }

  /** @param {Call} call */
  #fail(call) {
    this.#pause(false);
    if (call.endedMs !== null || call.failed) return;
    call.failed = true;
    this.#on.signal.notify("direct-path", { call: call.number, path: "failed" });
  }

  /** @param {boolean} paused */
  #pause(paused) {
    if (this.paused === paused) return;
    this.paused = paused;
    this.#on.pause(paused);
    this.#on.channels.divert(paused);
  }

  /** @param {Call} call */
  async #watch(call) {
    const begun = performance.now();
    while (this.#call === call) {
      await sleep(LOOK_MS);
      if (this.#call !== call) return;
      const now = performance.now();
      const stays = call.taken === "direct" && call.turnedMs === null && call.endedMs === null;
      if (stays && now - call.lookedMs < OVERSEE_MS) continue;
      call.lookedMs = now;
      try {
        if (call.turnedMs !== null) this.#settle(call, now - call.turnedMs);
        if (this.#call === call) await this.#look(call, now - begun);
      } catch (error) {
        this.#trouble(error);
      }
    }
  }

  /**
   * @param {Call} call
   * @param {number} ageMs
   */
  async #look(call, ageMs) {
    if (call.endedMs !== null) {
      const late = performance.now() - call.endedMs > RETURN_MS;
      if (call.taken === "direct" && (late || await this.#comesByRouter(call))) this.#move(call, "router");
      if (late && this.#call === call) this.drop();
    } else if (call.taken === "router") {
      if (await this.#comesDirectly(call)) this.#move(call, "direct");
      else if (ageMs > CONNECT_MS) this.#fail(call);
    } else {
      await this.#oversee(call);
    }
  }

  /**
   * Shows and plays what comes the other way from now on.
   * @param {Call} call
   * @param {Path} path
   */
  #move(call, path) {
    if (this.#call !== call || (path === "direct" && call.endedMs !== null)) return;
    call.taken = path;
    call.movedMs = call.turnedMs = performance.now();
    this.emit("change", undefined);
  }

  /**
   * The other side may leave the old way once nothing of it is shown any more.
   * @param {Call} call
   * @param {number} sinceMs since it was moved
   */
  #settle(call, sinceMs) {
    if (sinceMs < SETTLE_MS || (sinceMs < SHOW_MS && !this.shown())) return;
    call.turnedMs = null;
    if (call.taken === "router") this.#tellRouter(call);
    else if (call.endedMs === null) this.#on.signal.notify("direct-path", { call: call.number, path: "direct" });
  }

  /** @param {Call} call */
  #tellRouter(call) {
    call.toldRouter = true;
    this.#on.signal.notify("direct-path", { call: call.number, path: "router" });
    this.#close(call);
  }

  /** Nobody takes anything of the direct connection any more. @param {Call} call */
  #close(call) {
    if (call.toldRouter && call.theirsRouter && this.#call === call) this.drop();
  }

  /** What the other one sends now. @param {Call} call */
  #expected(call) {
    return this.#on.tracks().filter(({ participant, muted, source }) => participant === call.participant && !muted && SECTIONS.includes(source));
  }

  /** @param {Call} call */
  async #comesDirectly(call) {
    if (call.peer.connection.connectionState !== "connected") return false;
    const { counts } = await call.peer.look(this.#expected(call).map(({ source }) => source));
    return counts.every((count) => count > 0);
  }

  /** @param {Call} call */
  async #comesByRouter(call) {
    const { before } = call;
    if (before === null) return false;
    const tracks = this.#expected(call).map(({ id }) => id);
    const counts = await this.#on.arrivedByRouter(tracks);
    return counts.every((count, index) => count > (before.get(tracks[index]) ?? 0));
  }

  /** Sees that it still carries something, and who speaks. @param {Call} call */
  async #oversee(call) {
    const sources = this.#expected(call).map(({ source }) => source);
    const { counts, heard, said } = await call.peer.look(sources);
    const arrived = counts.reduce((sum, count) => sum + count, 0);
    const now = performance.now();
    if (sources.length === 0 || arrived !== call.arrived) call.movedMs = now;
    else call.lookedMs = 0;
    call.arrived = arrived;
    if (now - call.movedMs > STALL_MS) this.#fail(call);
    if (!this.paused) return;
    const levels = [{ participant: call.participant, level: heard }, { participant: this.#on.me(), level: said }];
    this.emit("levels", levels.filter(({ level }) => level > SPEAKING).sort((a, b) => b.level - a.level));
  }

  /** @param {unknown} error */
  #trouble(error) {
    console.warn("the direct connection", error);
  }
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
