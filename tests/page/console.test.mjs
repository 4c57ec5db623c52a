// What the console shows, without a browser: numbers, distributions, plots' memories, topologies, the feed.

import assert from "node:assert/strict";
import test from "node:test";

import { parse } from "../../router/src/console/page/feed.js";
import { BARS, Histories, PEOPLE_MAX, bars, loss, merged, numbers, quantile, topology } from "../../router/src/console/page/model.js";
import { parse as place } from "../../router/src/console/page/place.js";
import { round } from "../../router/src/console/page/plots.js";
import { compare } from "../../router/src/console/page/table.js";
import { age, bits, bytes, micros, percent, rate } from "../../router/src/console/page/text.js";

const worker = (id, buckets) => ({
  id, busy: 0.25, received_bps: 1_000, sent_bps: 5_000, drops: [],
  forwarding: { count: buckets.length, p50_us: 50, p99_us: 90, buckets: buckets.map(([up_to_us, count]) => ({ up_to_us, count })) },
});

const room = (people) => ({
  name: "standup",
  cut: false,
  participants: Array.from({ length: people }, (_, n) => ({
    participant: { id: `p${n}`, name: n === 0 ? "" : `Name ${n}`, identity: `id${n}`, subscribe: { state: "connected", network: null }, publish: null },
    received_bps: 0, sent_bps: n, loss_permille: 0,
  })),
  tracks: [{ id: "c", participant: "p0", identity: "id0", kind: "video", source: "camera", muted_by_publisher: false, muted_by_operator: true,
    layers: [{ active: true, bitrate_bps: 150_000 }, { active: false, bitrate_bps: 600_000 }] }],
  subscriptions: [{ subscription: { participant: "p1", track: "c", publisher: "p0", kind: "video", state: "held" }, forwarded_bps: 7 }],
});

test("numbers are short and have their unit", () => {
  assert.deepEqual([0, 999, 9_940, 1_250_000, 98e9].map(bits), ["0 bit/s", "999 bit/s", "9.9 kbit/s", "1.3 Mbit/s", "98 Gbit/s"]);
  assert.deepEqual([45.4, 1_234, 25_000, 1.5e6].map(micros), ["45 µs", "1.2 ms", "25 ms", "1.5 s"]);
  assert.deepEqual([0, 0.004, 0.5].map(percent), ["0 %", "0.4 %", "50 %"]);
  assert.deepEqual([0, 0.25, 12, 4_500].map(rate), ["0", "0.3", "12", "4.5k"]);
  assert.deepEqual([1_023, 1_536, 120 * 2 ** 20].map(bytes), ["1023 B", "1.5 KiB", "120 MiB"]);
  assert.deepEqual([5_000, 65_000, 3_725_000, 180_000_000].map(age), ["5 s", "1 min 05 s", "1 h 02 min", "2 d 02 h"]);
  assert.deepEqual([0, 3, 5, 70, 0.11].map(round), [1, 5, 5, 100, 0.2]);
});

test("the workers' distributions become one", () => {
  const all = merged([worker(0, [[50, 98], [90, 1]]), worker(1, [[50, 0], [4_000, 1]])]);
  assert.deepEqual(all.map((bucket) => bucket.count), [98, 1, 1]);
  assert.equal(quantile(all, 0.5), 50);
  assert.equal(quantile(all, 0.99), 90);
  assert.equal(quantile(all, 1), 4_000);
  assert.equal(quantile([], 0.99), null);
  const counts = bars([...all, { up_to_us: 10_000_000, count: 3 }]);
  assert.equal(counts.reduce((a, b) => a + b), 103);
  assert.equal(counts.at(-1), 3, "what is beyond the last bar is in it");
  assert.equal(counts[BARS.findIndex((bound) => bound >= 50)], 98);
});

test("loss is of all packets, not of all rooms", () => {
  const of = (packets_sent_per_second, loss_permille) => ({ packets_sent_per_second, loss_permille });
  assert.equal(loss([of(1_000, 0), of(10, 500)]).toFixed(4), "0.0050");
  assert.equal(loss([]), 0);
});

test("plots remember so much, have gaps where samples were lost, and forget what is gone", () => {
  const histories = new Histories(3);
  for (const value of [1, 2]) histories.note(new Map([["a", value], ["b", value]]));
  histories.lost(1);
  assert.deepEqual(histories.of("a"), [1, 2, null]);
  histories.note(new Map([["a", 4]]));
  assert.deepEqual(histories.of("a"), [2, null, 4]);
  assert.deepEqual(histories.of("b"), []);
  histories.lost(1_000_000);
  assert.deepEqual(histories.of("a"), [null, null, null]);
});

test("every plot has a number in a sample", () => {
  const all = numbers({
    workers: [worker(0, [[50, 10]]), worker(1, [])],
    rooms: [{ name: "standup", received_bps: 3, sent_bps: 4, loss_permille: 20, packets_sent_per_second: 1 }],
    room: room(2),
  });
  assert.equal(all.get("out"), 10_000);
  assert.equal(all.get("p99"), 50);
  assert.equal(all.get("worker 1 p99"), null, "nothing was forwarded");
  assert.equal(all.get("room standup loss"), 0.02);
  assert.equal(all.get("sub p1 c"), 7);
});

test("a topology names people and what they send, and is bounded", () => {
  const small = topology(room(2));
  assert.deepEqual(small.tracks.map(({ name, about, rate }) => [name, about, rate]), [["id0", "camera, muted", 150_000]]);
  assert.deepEqual(small.threads.map(({ from, to, state }) => [from, to, state]), [["c", "p1", "held"]]);
  assert.equal(small.more, 0);
  const large = topology(room(100));
  assert.equal(large.people.length, PEOPLE_MAX);
  assert.equal(large.more, 100 - PEOPLE_MAX);
  assert.deepEqual([large.tracks, large.threads], [[], []], "those of people who are not shown are not either");
});

test("events are found wherever the text is cut", () => {
  const text = 'event: lost\ndata: 3\n\nevent: sample\ndata: {"over_ms":5}\n\n';
  for (let cut = 0; cut <= text.length; cut += 1) {
    const first = parse(text.slice(0, cut));
    const second = parse(first.rest + text.slice(cut));
    assert.deepEqual([...first.news, ...second.news], [{ type: "lost", count: 3 }, { type: "sample", sample: { over_ms: 5 } }]);
    assert.equal(second.rest, "");
  }
});

test("addresses name places, whatever a room is called", () => {
  assert.deepEqual(place(""), { room: "", participant: "", track: "" });
  assert.deepEqual(place("#token=abc"), { room: "", participant: "", track: "" });
  assert.deepEqual(place(`#/rooms/${encodeURIComponent("a/b #1%")}`), { room: "a/b #1%", participant: "", track: "" });
  assert.deepEqual(place("#/rooms/r/why/p/t"), { room: "r", participant: "p", track: "t" });
  assert.equal(place("#/rooms/%zz").room, "%zz");
});

test("what is not known sorts below what is", () => {
  assert.ok(compare(null, 0) < 0 && compare(1, null) > 0 && compare(null, null) === 0);
  assert.ok(compare("a", "B") < 0 && compare(10, 9) > 0);
});
