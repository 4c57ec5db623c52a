// @ts-check
// The line at the top while the connection is lost, and the screen at the end.

import { byId } from "./dom.js";
import { announce } from "./toast.js";

/** @typedef {import("./session.js").Session} Session */

/** @param {Session} session */
export function showConnection(session) {
  const banner = byId("banner", HTMLElement);
  const text = byId("banner-text", HTMLElement);
  const button = byId("banner-button", HTMLButtonElement);
  const show = () => {
    const { phase, text: why, retryAtMs } = session.state;
    banner.hidden = phase !== "reconnecting" && phase !== "joining";
    const seconds = retryAtMs === null ? 0 : Math.ceil((retryAtMs - performance.now()) / 1000);
    const waiting = retryAtMs !== null && seconds > 0;
    const what = waiting ? `${why} Trying again in ${seconds} s.` : `${why}${retryAtMs === null ? "" : " Trying again…"}`;
    // The countdown is not for screen readers: the reason once is enough.
    if (!banner.hidden && text.dataset.why !== why) announce(why, true);
    text.dataset.why = why;
    text.textContent = what;
    button.hidden = !waiting;
  };
  button.onclick = () => session.retryNow();
  session.on("state", show);
  setInterval(() => {
    if (!banner.hidden) show();
  }, 500);
  show();
}

/**
 * The last screen, once the session has ended.
 * @param {Session} session
 * @param {{again: () => void, facts: () => string}} on `facts`: where it was, and for how long
 */
export function showEnd(session, { again, facts }) {
  session.on("state", ({ phase, text, ended }) => {
    if (phase !== "ended") return;
    byId("meeting", HTMLElement).hidden = true;
    const end = byId("ended", HTMLElement);
    end.hidden = false;
    const title = byId("ended-text", HTMLElement);
    title.textContent = text;
    byId("ended-facts", HTMLElement).textContent = facts();
    const button = byId("ended-again", HTMLButtonElement);
    button.textContent = ended === "refused" ? "Try again" : "Join again";
    button.onclick = again;
    document.title = "Rillway";
    title.focus();
  });
}
