// @ts-check
// Plays what others say: one audio element for each received sound track.

/** A sound that comes another way now is heard after this at the latest. */
const SWAP_MS = 1_500;

/** Autoplay rules may keep the page silent until the user does something; then `blocked` is called. */
export class Sound {
  /** @type {Map<string, HTMLAudioElement>} */
  #players = new Map();
  #sink = "";
  #blocked;
  /** Take the place of others soon. @type {Set<HTMLAudioElement>} */
  #next = new Set();

  /** @param {{blocked: () => void}} on */
  constructor({ blocked }) {
    this.#blocked = blocked;
  }

  /** @param {Map<string, MediaStreamTrack>} tracks to play now, by the router's name */
  update(tracks) {
    for (const [name, player] of this.#players) {
      if (tracks.has(name)) continue;
      player.srcObject = null;
      player.remove();
      this.#players.delete(name);
    }
    for (const [name, track] of tracks) {
      const before = this.#players.get(name) ?? null;
      const stream = before?.srcObject instanceof MediaStream ? before.srcObject : null;
      if (stream?.getTracks()[0] === track) continue;
      const player = this.#add(name);
      // What comes another way now is heard when it plays, and the old one until then: no gap, and never both.
      if (before) this.#follow(before, player);
      player.srcObject = new MediaStream([track]);
      void this.#play(player);
    }
  }

  /** Whether every sound is the one that is wanted, and none is still the one before. */
  get settled() {
    return this.#next.size === 0;
  }

  /**
   * @param {HTMLAudioElement} before
   * @param {HTMLAudioElement} player
   */
  #follow(before, player) {
    player.muted = true;
    this.#next.add(player);
    const swap = () => {
      clearTimeout(timer);
      this.#next.delete(player);
      player.removeEventListener("playing", swap);
      before.srcObject = null;
      before.remove();
      player.muted = false;
    };
    const timer = setTimeout(swap, SWAP_MS);
    player.addEventListener("playing", swap);
  }

  /** After a click of the user. */
  unblock() {
    for (const player of this.#players.values()) void this.#play(player);
  }

  /** @param {string} id of the speaker; empty: the system's choice */
  async choose(id) {
    this.#sink = id;
    await Promise.all([...this.#players.values()].map((player) => this.#route(player)));
  }

  /** @param {string} name */
  #add(name) {
    const player = document.createElement("audio");
    player.autoplay = true;
    player.dataset.track = name;
    this.#players.set(name, player);
    document.body.append(player);
    if (this.#sink) void this.#route(player);
    return player;
  }

  /** @param {HTMLAudioElement} player */
  async #play(player) {
    try {
      await player.play();
    } catch (error) {
      if (error instanceof Error && error.name === "NotAllowedError") this.#blocked();
    }
  }

  /** @param {HTMLAudioElement} player */
  async #route(player) {
    // A speaker that is gone leaves the sound where it was.
    if ("setSinkId" in player) await player.setSinkId(this.#sink).catch(() => {});
  }
}
