// @ts-check
// The router as a whole.

import { say, the } from "./dom.js";
import { BARS, bars, loss, merged, quantile, sum } from "./model.js";
import { COLOURS, histogram, plot } from "./plots.js";
import { Table } from "./table.js";
import { bits, bytes, micros, percent, rate } from "./text.js";

/**
 * @typedef {import("./model.js").WorkerSample} WorkerSample
 * @typedef {import("./model.js").RoomSample} RoomSample
 * @typedef {import("./model.js").PluginSample} PluginSample
 */

/** Samples across a plot: two minutes. */
export const POINTS = 120;
/** And across one in a table. */
const FEW = 60;

/** @param {string} id */
export const canvas = (id) => /** @type {HTMLCanvasElement} */ (the(id));

/** @param {number} share */
export const lossMood = (share) => (share >= 0.1 ? "alarm" : share >= 0.02 ? "warn" : share > 0 ? "" : "dim");

/** @param {number | null} us */
export const time = (us) => (us === null ? "-" : micros(us));

/** @param {WorkerSample} worker */
const p99 = (worker) => ((worker.forwarding?.count ?? 0) > 0 ? worker.forwarding?.p99_us ?? null : null);

/** @param {WorkerSample} worker */
const drops = (worker) => sum(worker.drops, (drop) => drop.per_second);

export class Overview {
  #histories;
  #workers;
  #rooms;
  #plugins;

  /**
   * @param {import("./model.js").Histories} histories
   * @param {(room: string) => void} open
   */
  constructor(histories, open) {
    this.#histories = histories;
    /** @param {string} name @param {string} colour @param {number} least */
    const spark = (name, colour, least) => (/** @type {HTMLCanvasElement} */ place) => (
      plot(place, [{ values: histories.of(name), colour, fill: true }], { points: FEW, least }));

    /** @type {import("./table.js").Column<WorkerSample>[]} */
    const workers = [
      { title: "Worker", text: (w) => String(w.id), order: (w) => w.id, mood: () => "name" },
      { title: "Driver", text: (w) => w.driver, order: (w) => w.driver },
      { title: "", draw: (place, w) => spark(`worker ${w.id} busy`, COLOURS[w.id % COLOURS.length], 0.1)(place) },
      { title: "Busy", text: (w) => percent(w.busy), order: (w) => w.busy, share: (w) => w.busy, mood: (w) => (w.busy >= 0.9 ? "alarm" : w.busy >= 0.7 ? "warn" : "") },
      { title: "Subs", text: (w) => String(w.subscriptions), order: (w) => w.subscriptions },
      { title: "Turn", text: (w) => micros(w.turn_mean_us), order: (w) => w.turn_mean_us },
      { title: "Batch", text: (w) => rate(w.batch_mean), order: (w) => w.batch_mean },
      { title: "Queue", text: (w) => String(w.queue_depth), order: (w) => w.queue_depth, mood: (w) => (w.queue_depth ? "" : "dim") },
      { title: "In", text: (w) => bits(w.received_bps), order: (w) => w.received_bps },
      { title: "Out", text: (w) => bits(w.sent_bps), order: (w) => w.sent_bps },
      { title: "P99", text: (w) => time(p99(w)), order: p99 },
      { title: "Drops/s", text: (w) => rate(drops(w)), order: drops, mood: (w) => (drops(w) > 0 ? "warn" : "dim") },
    ];
    this.#workers = new Table(the("workers"), workers, { key: (w) => String(w.id), sort: 3, empty: "There is none." });

    /** @type {import("./table.js").Column<RoomSample>[]} */
    const rooms = [
      { title: "Room", text: (r) => r.name, order: (r) => r.name, mood: () => "name" },
      { title: "Worker", text: (r) => [r.worker, ...r.other_workers].join("+"), order: (r) => r.worker },
      { title: "People", text: (r) => String(r.participants), order: (r) => r.participants },
      { title: "Tracks", text: (r) => String(r.tracks), order: (r) => r.tracks },
      { title: "Subs", text: (r) => String(r.subscriptions), order: (r) => r.subscriptions },
      { title: "", draw: (place, r) => spark(`room ${r.name} out`, COLOURS[0], 1_000)(place) },
      { title: "Out", text: (r) => bits(r.sent_bps), order: (r) => r.sent_bps },
      { title: "In", text: (r) => bits(r.received_bps), order: (r) => r.received_bps },
      { title: "", draw: (place, r) => spark(`room ${r.name} loss`, COLOURS[3], 0.02)(place) },
      { title: "Loss", text: (r) => percent(r.loss_permille / 1000), order: (r) => r.loss_permille, mood: (r) => lossMood(r.loss_permille / 1000) },
    ];
    this.#rooms = new Table(the("rooms"), rooms, { key: (r) => r.name, sort: 6, empty: "No room is open: nobody has joined one.", open: (r) => open(r.name) });

    /** @type {import("./table.js").Column<PluginSample>[]} */
    const plugins = [
      { title: "Plugin", text: (p) => p.name, order: (p) => p.name, mood: () => "name" },
      { title: "Kind", text: (p) => p.kind, order: (p) => p.kind },
      { title: "Version", text: (p) => p.version, order: (p) => p.version, mood: () => "dim" },
      { title: "Breaker", text: (p) => p.breaker, order: (p) => p.breaker, mood: (p) => (p.breaker === "closed" ? "dim" : "alarm") },
      { title: "Calls/s", text: (p) => rate(p.calls_per_second), order: (p) => p.calls_per_second },
      { title: "Mean", text: (p) => (p.call_mean_us > 0 ? micros(p.call_mean_us) : "-"), order: (p) => p.call_mean_us },
      { title: "P99 of the budget", text: (p) => (p.call_p99_us > 0 ? `${micros(p.call_p99_us)} of ${micros(p.budget_us)}` : `- of ${micros(p.budget_us)}`), order: (p) => p.call_p99_us / Math.max(1, p.budget_us), share: (p) => p.call_p99_us / Math.max(1, p.budget_us) },
      { title: "Of a core", text: (p) => percent((p.calls_per_second * p.call_mean_us) / 1e6), order: (p) => p.calls_per_second * p.call_mean_us },
      { title: "Faults", text: (p) => String(p.faults), order: (p) => p.faults, mood: (p) => (p.faults_per_second > 0 ? "alarm" : p.faults > 0 ? "warn" : "dim") },
      { title: "Instances", text: (p) => String(p.instances), order: (p) => p.instances },
      { title: "Memory", text: (p) => bytes(p.memory_bytes), order: (p) => p.memory_bytes },
    ];
    this.#plugins = new Table(the("plugins"), plugins, { key: (p) => `${p.name} ${p.kind}`, sort: 7, empty: "There is none." });
  }

  /** @param {import("./model.js").Sample} sample */
  show(sample) {
    const histories = this.#histories;
    const buckets = merged(sample.workers);
    const [p50, p99] = [quantile(buckets, 0.5), quantile(buckets, 0.99)];
    say(the("figure-out"), bits(sum(sample.workers, (worker) => worker.sent_bps)));
    say(the("figure-in"), bits(sum(sample.workers, (worker) => worker.received_bps)));
    say(the("figure-p50"), time(p50));
    say(the("figure-p99"), time(p99));
    say(the("figure-busy"), percent(Math.max(0, ...sample.workers.map((worker) => worker.busy))));
    say(the("figure-loss"), percent(loss(sample.rooms)));
    const lines = (/** @type {string[]} */ ...names) => names.map((name, index) => (
      { values: histories.of(name), colour: COLOURS[index % COLOURS.length], fill: index === 0 }));
    plot(canvas("plot-rate"), lines("out", "in"), { points: POINTS, least: 10_000, text: bits });
    plot(canvas("plot-latency"), lines("p50", "p99"), { points: POINTS, least: 100, text: micros });
    plot(canvas("plot-busy"), lines(...sample.workers.map((worker) => `worker ${worker.id} busy`)), { points: POINTS, least: 0.1, text: percent });
    plot(canvas("plot-loss"), [{ values: histories.of("loss"), colour: COLOURS[3], fill: true }], { points: POINTS, least: 0.02, text: percent });
    const marks = p50 === null || p99 === null ? [] : [{ name: "p50", value: p50, colour: COLOURS[4] }, { name: "p99", value: p99, colour: COLOURS[1] }];
    histogram(canvas("histogram"), bars(buckets), BARS, marks, micros);
    this.#workers.show(sample.workers);
    this.#rooms.show(sample.rooms);
    this.#plugins.show(sample.plugins);
    const cut = sample.rooms_open > sample.rooms.length;
    say(the("rooms-more"), cut ? `${sample.rooms.length} of ${sample.rooms_open}` : "");
  }
}
