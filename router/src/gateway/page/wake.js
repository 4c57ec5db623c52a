// @ts-check
// Keeps the display on during the meeting: nobody touches a phone while listening.

/** @param {() => boolean} wanted */
export function keepAwake(wanted) {
  if (!("wakeLock" in navigator)) return;
  /** @type {WakeLockSentinel | null} */
  let lock = null;
  const check = async () => {
    // The browser takes the lock away when the page is hidden.
    if (document.hidden || !wanted() || (lock && !lock.released)) return;
    try {
      lock = await navigator.wakeLock.request("screen");
    } catch {
      // Low battery, or not allowed: the display goes dark as usual.
    }
  };
  document.addEventListener("visibilitychange", () => void check());
  void check();
}
