// @ts-check
// What comes from the router: a stream of events (text/event-stream), and answers.

/** @typedef {import("./model.js").Sample} Sample */
/** @typedef {{type: "sample", sample: Sample} | {type: "lost", count: number}} News */

/** The router wants a token. */
export class Locked extends Error {}

/**
 * Events in a text, and what is left of it.
 * @param {string} text
 * @returns {{news: News[], rest: string}}
 */
export function parse(text) {
  const blocks = text.split("\n\n");
  const rest = blocks.pop() ?? "";
  /** @type {News[]} */
  const news = [];
  for (const block of blocks) {
    const [, type] = /^event: (.*)$/m.exec(block) ?? [];
    const [, data] = /^data: (.*)$/m.exec(block) ?? [];
    if (type === "sample") news.push({ type, sample: JSON.parse(data) });
    else if (type === "lost") news.push({ type, count: Number(data) });
  }
  return { news, rest };
}

/** @param {Response} response */
async function accepted(response) {
  if (response.status === 401) throw new Locked();
  if (!response.ok) throw new Error((await response.text()).trim() || `HTTP ${response.status}`);
  return response;
}

/**
 * News as they come, of a room too if one is named, until the router is gone or `signal` ends it.
 * @param {string} room
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<News>}
 */
export async function* follow(room, signal) {
  const response = await accepted(await fetch(`/api/watch?room=${encodeURIComponent(room)}`, { signal, cache: "no-store" }));
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) return;
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const { news, rest } = parse(text + value);
    text = rest;
    yield* news;
  }
}

/**
 * Changes the token for a session, which is a cookie that scripts do not see.
 * @param {string} token
 */
export async function logIn(token) {
  await accepted(await fetch("/login", { method: "POST", body: token }));
}

export async function logOut() {
  await fetch("/logout", { method: "POST" });
}

/**
 * Why somebody gets what it gets of a track.
 * @param {string} room
 * @param {string} participant
 * @param {string} track
 * @returns {Promise<import("./model.js").Reason[]>}
 */
export async function why(room, participant, track) {
  const query = new URLSearchParams({ room, participant, track }).toString().replaceAll("+", "%20");
  const response = await fetch(`/api/why?${query}`, { cache: "no-store" });
  if (response.status === 401) throw new Locked();
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  return answer;
}
