// @ts-check
// A small typed event emitter.

/**
 * `E` maps each event name to the value that its listeners are given.
 * @template {Record<string, any>} E
 */
export class Emitter {
  /** @type {Map<keyof E, Set<(value: any) => void>>} */
  #listeners = new Map();

  /**
   * Calls `listener` on every event `name`; the returned function takes it off again.
   * @template {keyof E} K
   * @param {K} name
   * @param {(value: E[K]) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    let set = this.#listeners.get(name);
    if (!set) this.#listeners.set(name, (set = new Set()));
    set.add(listener);
    return () => void set.delete(listener);
  }

  /**
   * One listener's failure never keeps the others from hearing the event.
   * @template {keyof E} K
   * @param {K} name
   * @param {E[K]} value
   */
  emit(name, value) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        console.error(`listener of ${String(name)} failed`, error);
      }
    }
  }
}
