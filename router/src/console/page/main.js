// @ts-check
// The console: log in, follow the router's samples, show the place that the address names.

import { make, say, the } from "./dom.js";
import { Locked, follow, logIn, logOut, why } from "./feed.js";
import { Histories, namesOf, numbers, subscriptionKey, sum } from "./model.js";
import { Overview } from "./overview.js";
import { parse } from "./place.js";
import { Room, showWhy } from "./room.js";
import { age, bytes } from "./text.js";

/** Time between attempts to reach a router that is gone. */
const AGAIN_MS = 1000;

const histories = new Histories();
/** @type {import("./model.js").Sample | null} */
let sample = null;
/** @type {AbortController | null} */
let following = null;
/** @type {import("./model.js").Reason | string} */
let reason = "asking …";

const here = () => parse(location.hash);
const go = (/** @type {string[]} */ ...parts) => {
  location.hash = `#/${parts.map(encodeURIComponent).join("/")}`;
};
const overview = new Overview(histories, (name) => go("rooms", name));
const room = new Room(histories, (participant, track) => go("rooms", here().room, "why", participant, track));

/** @param {string} text */
function banner(text) {
  the("banner").hidden = text === "";
  say(the("banner"), text);
}

/** @param {import("./model.js").Sample} now */
function head(now) {
  const phase = the("phase");
  say(phase, now.phase);
  phase.dataset.mood = now.phase === "serving" ? "" : "alarm";
  const facts = [
    ["Version", now.version],
    ["Up", age(now.uptime_ms)],
    ["Rooms", String(now.rooms_open)],
    ["People", String(sum(now.workers, (worker) => worker.participants))],
    ["Tracks", String(sum(now.workers, (worker) => worker.tracks))],
    ["Subscriptions", String(sum(now.workers, (worker) => worker.subscriptions))],
    ["Recorded", String(now.recording?.tracks ?? 0)],
    ["Memory", bytes(now.memory_bytes)],
  ];
  the("facts").replaceChildren(...facts.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text))));
}

function show() {
  const place = here();
  the("overview").hidden = place.room !== "";
  the("room").hidden = place.room === "";
  the("trail").hidden = place.room === "";
  the("trail").replaceChildren(make("a", { href: "#/" }, "Rooms"), make("span", {}, "/"), place.room);
  the("why").hidden = place.track === "";
  if (!sample) return;
  head(sample);
  if (sample.silent_workers.length > 0) banner(`no answer of worker ${sample.silent_workers.join(", ")}: its rooms are missing`);
  if (place.room) room.show(sample, place.room);
  else overview.show(sample);
  if (place.track) {
    const rates = histories.of(subscriptionKey(place.participant, place.track));
    showWhy(the("why"), reason, namesOf(sample.room), rates, () => go("rooms", place.room));
  }
}

async function ask() {
  const { room, participant, track } = here();
  if (!track) return;
  try {
    const found = await why(room, participant, track);
    reason = found[0] ?? "It does not receive this track any more.";
  } catch (error) {
    reason = error instanceof Error ? error.message : String(error);
  }
  if (here().track === track) show();
}

/** @param {AbortSignal} signal */
async function once(signal) {
  for await (const news of follow(here().room, signal)) {
    unlocked("");
    if (news.type === "lost") {
      histories.lost(news.count);
      continue;
    }
    sample = news.sample;
    if (sample.over_ms > 0) histories.note(numbers(sample));
    // A first sample has no rates: what is shown stays until the next one.
    if (sample.over_ms > 0 || !histories.of("out").length) show();
    void ask();
  }
}

/** Follows the router until the token is not accepted any more. */
async function run() {
  for (;;) {
    const own = new AbortController();
    following = own;
    try {
      await once(own.signal);
    } catch (error) {
      if (error instanceof Locked) return locked("");
      if (!own.signal.aborted) unlocked(`the router does not answer (${error instanceof Error ? error.message : error}): trying again`);
    }
    if (own.signal.aborted) continue;
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

/** @param {string} problem */
function unlocked(problem) {
  the("login").hidden = true;
  the("console").hidden = false;
  banner(problem);
}

/** Asks for the token; nothing of the router stays on the page. @param {string} problem */
function locked(problem) {
  sample = null;
  histories.note(new Map());
  the("console").hidden = true;
  the("login").hidden = false;
  the("login-problem").hidden = problem === "";
  say(the("login-problem"), problem);
  the("login-token").focus();
}

/** @param {string} token */
async function open(token) {
  try {
    await logIn(token);
  } catch (error) {
    return locked(error instanceof Locked ? "This is not the token." : String(error));
  }
  return run();
}

the("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = /** @type {HTMLInputElement} */ (the("login-token"));
  const token = field.value;
  field.value = "";
  void open(token);
});
the("leave").addEventListener("click", async () => {
  await logOut();
  location.hash = "#/";
  location.reload();
});
let shown = here();
window.addEventListener("hashchange", () => {
  const before = shown;
  shown = here();
  if (shown.track !== before.track || shown.participant !== before.participant) reason = "asking …";
  if (shown.room !== before.room) {
    // What is in the room comes with the next sample.
    following?.abort();
  }
  show();
  void ask();
});
window.addEventListener("resize", show);

// The address that `rillway dev` prints has the token, which goes into no history.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  history.replaceState(null, "", location.pathname);
  void open(token);
} else {
  void run();
}
