// @ts-check
// Notices when a connection's path is gone and asks for an ICE restart (RFC 8445 §2.4), a few times.

/** A path that is only shaky often heals by itself within this time, milliseconds. */
const PATIENCE_MS = 3_000;
/** Time for one restart to work before the next is tried, milliseconds. */
const RESTART_MS = 6_000;
const MAX_RESTARTS = 4;

/**
 * @param {RTCPeerConnection} connection
 * @param {{restart: () => void, giveUp: () => void}} on
 * @returns {{check: () => void, stop: () => void}} `check`: the network changed, look now
 */
export function watchIce(connection, on) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let restarts = 0;
  const healthy = () => ["connected", "completed", "closed", "new"].includes(connection.iceConnectionState);
  const act = () => {
    clearTimeout(timer);
    timer = undefined;
    if (healthy()) return;
    if (restarts++ >= MAX_RESTARTS) {
      on.giveUp();
      return;
    }
    on.restart();
    timer = setTimeout(act, RESTART_MS);
  };
  const changed = () => {
    const state = connection.iceConnectionState;
    if (state === "connected" || state === "completed") {
      clearTimeout(timer);
      timer = undefined;
      restarts = 0;
    } else if (state === "failed") {
      if (timer === undefined || restarts === 0) act();
    } else if (state === "disconnected" && timer === undefined) {
      timer = setTimeout(act, PATIENCE_MS);
    } else if (state === "checking" && timer === undefined) {
      timer = setTimeout(act, RESTART_MS * 2);
    }
  };
  connection.addEventListener("iceconnectionstatechange", changed);
  return {
    check: () => {
      if (!healthy()) act();
    },
    stop: () => {
      clearTimeout(timer);
      connection.removeEventListener("iceconnectionstatechange", changed);
    },
  };
}
