// @ts-check
// Notices when a connection's path is gone and asks for an ICE restart (RFC 8445 §2.4), a few times.
//
// Browsers call a path disconnected after five seconds or more. A connection that sends media gets reports of it back
// many times a second, so that their absence tells much sooner: see `watchReports`.

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

/** How often reports are looked for, milliseconds. */
const LOOK_MS = 300;
/** Looks in a row with reports before their absence means anything, and without them before the path counts as gone. */
const LOOKS_BUSY = 4;
const LOOKS_SILENT = 3;

/**
 * Reads a connection's counters: what its tracks sent, and what came back on any of its paths.
 * @param {RTCPeerConnection} connection
 */
async function counters(connection) {
  let sent = 0;
  let received = 0;
  for (const entry of (await connection.getStats()).values()) {
    if (entry.type === "outbound-rtp") sent += entry.packetsSent ?? 0;
    else if (entry.type === "candidate-pair") received += entry.bytesReceived ?? 0;
  }
  return { sent, received };
}

/**
 * The state of `watchReports`, without a clock.
 * @returns {(now: {sent: number, received: number}) => "moving" | "doubtful" | "gone" | "idle"} to be asked with each
 *   look's counters; `doubtful`: sent, but no report since the last look; `gone`: for the first time in a row too many
 */
export function reportJudge() {
  /** @type {{sent: number, received: number} | null} */
  let last = null;
  let busy = 0;
  let silent = 0;
  return (now) => {
    const before = last;
    last = now;
    if (!before) return "idle";
    // Paths come and go, and take their counters along: less than before says nothing.
    if (now.received !== before.received) {
      busy += 1;
      silent = 0;
      return "moving";
    }
    if (now.sent <= before.sent || busy < LOOKS_BUSY) {
      silent = 0;
      return "idle";
    }
    silent += 1;
    if (silent < LOOKS_SILENT) return "doubtful";
    busy = 0;
    silent = 0;
    return "gone";
  };
}

/**
 * Watches a connection that sends media for the absence of what comes back.
 * @param {RTCPeerConnection} connection
 * @param {{doubt: () => void, gone: () => void}} on `doubt`: something is odd, at the first look that shows it
 * @returns {{stop: () => void}}
 */
export function watchReports(connection, on) {
  const judge = reportJudge();
  let stopped = false;
  let doubted = false;
  const timer = setInterval(async () => {
    if (connection.connectionState !== "connected") return;
    const now = await counters(connection).catch(() => null);
    if (!now || stopped) return;
    const verdict = judge(now);
    if (verdict === "gone") on.gone();
    if (verdict === "doubtful" && !doubted) on.doubt();
    doubted = verdict === "doubtful";
  }, LOOK_MS);
  return {
    stop: () => {
      stopped = true;
      clearInterval(timer);
    },
  };
}
