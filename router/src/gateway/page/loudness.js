// @ts-check
// How loud the sound of a connection was between two looks at it: from the energy, so that nothing is missed in between.

/** @typedef {{energy: number, seconds: number}} Heard */

export class Loudness {
  /** By the name of the statistics. @type {Map<string, Heard>} */
  #before = new Map();

  /**
   * The loudest of what is received and of what is sent since the last time, of 1.
   * @param {Map<string, any>} report
   * @returns {{heard: number, said: number}}
   */
  take(report) {
    const before = this.#before;
    this.#before = new Map();
    const loudest = { heard: 0, said: 0 };
    for (const [id, { type, kind, totalAudioEnergy: energy = 0, totalSamplesDuration: seconds = 0 }] of report) {
      const way = type === "inbound-rtp" ? "heard" : type === "media-source" ? "said" : null;
      if (way === null || kind !== "audio") continue;
      this.#before.set(id, { energy, seconds });
      const last = before.get(id);
      if (last && seconds > last.seconds) loudest[way] = Math.max(loudest[way], Math.sqrt(Math.max(0, energy - last.energy) / (seconds - last.seconds)));
    }
    return loudest;
  }
}
