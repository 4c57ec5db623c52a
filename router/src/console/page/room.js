// @ts-check
// One room: who is in it, who receives what, and why.

import { make, say, the } from "./dom.js";
import { called, namesOf, subscriptionKey } from "./model.js";
import { POINTS, canvas, lossMood, time } from "./overview.js";
import { COLOURS, plot } from "./plots.js";
import { Table } from "./table.js";
import { bits, micros, percent } from "./text.js";
import { draw } from "./topology.js";

/**
 * @typedef {import("./model.js").Sample} Sample
 * @typedef {import("./model.js").ParticipantSample} ParticipantSample
 * @typedef {import("./model.js").Reason} Reason
 * @typedef {import("./model.js").SubscriptionSample & {from: string, to: string, source: string}} Row
 */

/** @param {ParticipantSample} one */
const network = (one) => one.participant.subscribe?.network ?? null;

/** @param {ParticipantSample} one */
const state = (one) => (one.participant.subscribe ?? one.participant.publish)?.state ?? "-";

/** @param {import("./model.js").Subscription} one */
function layer(one) {
  if (one.kind !== "video" || one.spatial === null) return "-";
  return one.target === null || one.target === one.spatial ? String(one.spatial) : `${one.spatial} → ${one.target}`;
}

/** @param {import("./model.js").Subscription} one */
function wish({ kind, wish }) {
  if (kind !== "video" || !wish) return "-";
  if (wish.paused) return "nothing";
  return wish.width && wish.height ? `${wish.width} × ${wish.height}` : "the best";
}

export class Room {
  #histories;
  #participants;
  #subscriptions;
  #open;

  /**
   * @param {import("./model.js").Histories} histories
   * @param {(participant: string, track: string) => void} open
   */
  constructor(histories, open) {
    this.#histories = histories;
    this.#open = open;
    /** @type {import("./table.js").Column<ParticipantSample>[]} */
    const participants = [
      { title: "Participant", text: (p) => called(p.participant), order: (p) => called(p.participant), mood: () => "name" },
      { title: "Id", text: (p) => p.participant.id, order: (p) => p.participant.id, mood: () => "dim" },
      { title: "State", text: state, order: state, mood: (p) => (/disconnected|failed/.test(state(p)) ? "alarm" : "") },
      { title: "Round trip", text: (p) => (network(p)?.round_trip_time_ms == null ? "-" : `${network(p)?.round_trip_time_ms} ms`), order: (p) => network(p)?.round_trip_time_ms ?? null },
      { title: "Network carries", text: (p) => (network(p)?.available_outgoing_bps == null ? "-" : bits(network(p)?.available_outgoing_bps ?? 0)), order: (p) => network(p)?.available_outgoing_bps ?? null },
      { title: "To it", text: (p) => bits(p.sent_bps), order: (p) => p.sent_bps },
      { title: "From it", text: (p) => bits(p.received_bps), order: (p) => p.received_bps },
      { title: "Loss", text: (p) => percent(p.loss_permille / 1000), order: (p) => p.loss_permille, mood: (p) => lossMood(p.loss_permille / 1000) },
      { title: "Subs", text: (p) => String(p.participant.subscriptions), order: (p) => p.participant.subscriptions },
    ];
    this.#participants = new Table(the("participants"), participants, { key: (p) => p.participant.id, sort: 0, empty: "Nobody is in it." });
    /** @type {import("./table.js").Column<Row>[]} */
    const subscriptions = [
      { title: "To", text: (s) => s.to, order: (s) => s.to, mood: () => "name" },
      { title: "From", text: (s) => s.from, order: (s) => s.from },
      { title: "Track", text: (s) => s.source, order: (s) => s.source },
      { title: "State", text: (s) => s.subscription.state, order: (s) => s.subscription.state, mood: (s) => (s.subscription.state === "held" ? "warn" : s.subscription.state === "forwarding" ? "" : "dim") },
      { title: "Layer", text: (s) => layer(s.subscription), order: (s) => s.subscription.spatial },
      { title: "Wish", text: (s) => wish(s.subscription), order: (s) => s.subscription.wish?.height ?? null },
      { title: "", draw: (place, s) => plot(place, [{ values: histories.of(subscriptionKey(s.subscription.participant, s.subscription.track)), colour: COLOURS[s.subscription.kind === "video" ? 0 : 2], fill: true }], { points: 60, least: 1_000 }) },
      { title: "Rate", text: (s) => bits(s.forwarded_bps), order: (s) => s.forwarded_bps },
    ];
    this.#subscriptions = new Table(the("subscriptions"), subscriptions, {
      key: (s) => `${s.subscription.participant} ${s.subscription.track}`,
      sort: 7,
      empty: "Nobody receives anything.",
      open: (s) => open(s.subscription.participant, s.subscription.track),
    });
  }

  /** @param {Sample} sample @param {string} name */
  show(sample, name) {
    const detail = sample.room?.name === name ? sample.room : null;
    the("room-gone").hidden = detail !== null;
    the("room-open").hidden = detail === null;
    if (!detail) return;
    const histories = this.#histories;
    const room = sample.rooms.find((one) => one.name === name);
    const worker = sample.workers.find((one) => one.id === room?.worker);
    say(the("room-out"), bits(room?.sent_bps ?? 0));
    say(the("room-in"), bits(room?.received_bps ?? 0));
    say(the("room-loss"), percent((room?.loss_permille ?? 0) / 1000));
    say(the("room-busy"), percent(worker?.busy ?? 0));
    say(the("room-p99"), time(worker?.forwarding?.count ? worker.forwarding.p99_us : null));
    plot(canvas("plot-room-rate"), [
      { values: histories.of(`room ${name} out`), colour: COLOURS[0], fill: true },
      { values: histories.of(`room ${name} in`), colour: COLOURS[1] },
    ], { points: POINTS, least: 10_000, text: bits });
    plot(canvas("plot-room-loss"), [{ values: histories.of(`room ${name} loss`), colour: COLOURS[3], fill: true }], { points: POINTS, least: 0.02, text: percent });
    plot(canvas("plot-room-busy"), [{ values: histories.of(`worker ${room?.worker} p99`), colour: COLOURS[1], fill: true }], { points: POINTS, least: 100, text: micros });
    draw(the("topology"), detail, this.#open);
    this.#participants.show(detail.participants);
    const names = namesOf(detail);
    const sources = new Map(detail.tracks.map((track) => [track.id, track.source]));
    this.#subscriptions.show(detail.subscriptions.map((one) => ({
      ...one,
      to: names.get(one.subscription.participant) ?? one.subscription.participant,
      from: names.get(one.subscription.publisher) ?? one.subscription.publisher_identity,
      source: sources.get(one.subscription.track) ?? one.subscription.kind,
    })));
  }
}

/** @param {Reason} reason */
function estimate({ network, audio_bps }) {
  if (network?.available_outgoing_bps == null) return "not measured: everything is sent";
  const bounds = [["delay", network.delay_bps], ["loss", network.loss_bps], ["probe", network.probe_bps], ["REMB", network.remb_bps]];
  const by = bounds.flatMap(([name, bps]) => (typeof bps === "number" ? [`${name} ${bits(bps)}`] : [])).join(", ");
  return `${bits(network.available_outgoing_bps)}${by ? ` by ${by}` : ""}; sound takes ${bits(audio_bps)}`;
}

/** @param {Reason} reason */
function layers({ track }) {
  const each = (track?.layers ?? []).map((one) => {
    const size = one.width ? ` ${one.width} × ${one.height}` : "";
    return `${one.spatial}${size} ${one.active ? bits(one.bitrate_bps) : "silent"}`;
  });
  return each.join(", ") || "-";
}

/**
 * Shows why somebody gets what it gets.
 * @param {HTMLElement} place
 * @param {Reason | string} answer or what is in the way
 * @param {Map<string, string>} names of the people, by id
 * @param {(number | null)[]} rates
 * @param {() => void} close
 */
export function showWhy(place, answer, names, rates, close) {
  const head = (/** @type {string} */ text) => make("header", {}, make("h1", {}, text), make("button", { type: "button", class: "quiet", click: close }, "Close"));
  if (typeof answer === "string") return place.replaceChildren(head("Why"), make("p", { class: "soft" }, answer));
  const { subscription, track, decisions } = answer;
  if (!subscription) return;
  const facts = [
    ["State", `${subscription.state}${layer(subscription) === "-" ? "" : `, layer ${layer(subscription)}`}`],
    ["Wish", subscription.kind === "video" ? `${wish(subscription)}, priority ${subscription.wish?.priority ?? 0}` : "-"],
    ["Estimate", estimate(answer)],
    ["Layers", layers(answer)],
  ];
  const shown = make("canvas", { class: "plot", id: "plot-why" });
  const steps = [...decisions].reverse().map((decision) => make(
    "li", {},
    make("time", {}, `${(decision.age_ms / 1000).toFixed(1)} s ago`),
    make("b", {}, decision.policy), `: ${decision.reason}`,
    make("div", { class: "soft" }, decision.outcome),
  ));
  const to = names.get(subscription.participant) ?? subscription.participant;
  const from = names.get(subscription.publisher) ?? subscription.publisher_identity;
  const none = subscription.kind === "audio" ? "Sound needs no decision: all of it is forwarded." : "Nothing was decided yet.";
  place.replaceChildren(
    head(`Why ${to} gets what it gets of the ${track?.source ?? "track"} of ${from}`),
    make("dl", {}, ...facts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])),
    make("h2", {}, "Rate"),
    shown,
    make("h2", {}, "Decisions, newest first"),
    steps.length ? make("ol", {}, ...steps) : make("p", { class: "soft" }, none),
  );
  plot(shown, [{ values: rates, colour: COLOURS[0], fill: true }], { points: POINTS, least: 10_000, text: bits });
}
