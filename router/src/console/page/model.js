// @ts-check
// A sample → what is shown of it. The names are those of the management protocol's schema.

/**
 * @typedef {{up_to_us: number, count: number}} Bucket
 * @typedef {{count: number, p50_us: number, p99_us: number, buckets: Bucket[]}} Latency
 * @typedef {{cause: string, total: number, per_second: number}} Drop
 * @typedef {{id: number, driver: string, over_ms: number, busy: number, rooms: number, participants: number, tracks: number,
 *   subscriptions: number, turns_per_second: number, turn_mean_us: number, turn_p99_us: number, batch_mean: number,
 *   queue_depth: number, packets_received_per_second: number, packets_forwarded_per_second: number, received_bps: number,
 *   sent_bps: number, drops: Drop[], forwarding: Latency | null}} WorkerSample
 * @typedef {{name: string, worker: number, participants: number, tracks: number, subscriptions: number, received_bps: number,
 *   sent_bps: number, packets_received_per_second: number, packets_sent_per_second: number, loss_permille: number, other_workers: number[]}} RoomSample
 * @typedef {{name: string, kind: string, version: string, breaker: string, calls: number, faults: number,
 *   calls_per_second: number, faults_per_second: number, call_mean_us: number, call_p99_us: number, budget_us: number,
 *   instances: number, memory_bytes: number}} PluginSample
 * @typedef {{round_trip_time_ms: number | null, available_outgoing_bps: number | null, delay_bps: number | null,
 *   loss_bps: number | null, probe_bps: number | null, remb_bps: number | null}} Network
 * @typedef {{state: string, network: Network | null}} Transport
 * @typedef {{id: string, identity: string, name: string, subscribe: Transport | null, publish: Transport | null,
 *   subscriptions: number}} Participant
 * @typedef {{participant: Participant, received_bps: number, sent_bps: number, loss_permille: number}} ParticipantSample
 * @typedef {{spatial: number, rid: string, width: number, height: number, fps: number, bitrate_bps: number,
 *   active: boolean}} Layer
 * @typedef {{id: string, participant: string, identity: string, kind: string, source: string, layers: Layer[],
 *   muted_by_publisher: boolean, muted_by_operator: boolean}} Track
 * @typedef {{participant: string, track: string, publisher: string, publisher_identity: string, kind: string, state: string,
 *   spatial: number | null, target: number | null,
 *   wish: {paused: boolean, width: number, height: number, priority: number} | null}} Subscription
 * @typedef {{subscription: Subscription, forwarded_bps: number}} SubscriptionSample
 * @typedef {{name: string, participants: ParticipantSample[], tracks: Track[], subscriptions: SubscriptionSample[],
 *   cut: boolean}} RoomDetail
 * @typedef {{at_ms: number, uptime_ms: number, over_ms: number, phase: string, version: string, workers: WorkerSample[],
 *   rooms: RoomSample[], rooms_open: number, plugins: PluginSample[], recording: {tracks: number} | null,
 *   memory_bytes: number, silent_workers: number[], room: RoomDetail | null}} Sample
 * @typedef {{age_ms: number, policy: string, reason: string, outcome: string}} Decision
 * @typedef {{subscription: Subscription | null, track: Track | null, network: Network | null, audio_bps: number,
 *   decisions: Decision[]}} Reason
 */

/**
 * @template T
 * @param {T[]} items
 * @param {(item: T) => number} of
 */
export const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

/**
 * The forwarding latencies of all workers, or of one, in one distribution.
 * @param {WorkerSample[]} workers
 * @returns {Bucket[]}
 */
export function merged(workers) {
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (const { up_to_us, count } of workers.flatMap((worker) => worker.forwarding?.buckets ?? [])) {
    counts.set(up_to_us, (counts.get(up_to_us) ?? 0) + count);
  }
  return [...counts].map(([up_to_us, count]) => ({ up_to_us, count })).sort((a, b) => a.up_to_us - b.up_to_us);
}

/**
 * What so large a share of a distribution is within; `null` where there is nothing.
 * @param {Bucket[]} buckets
 * @param {number} share
 */
export function quantile(buckets, share) {
  const rank = Math.max(1, Math.ceil(sum(buckets, (bucket) => bucket.count) * share));
  let seen = 0;
  for (const { up_to_us, count } of buckets) {
    seen += count;
    if (seen >= rank) return up_to_us;
  }
  return null;
}

/** Bounds of the histogram's bars, microseconds: four in each factor of two, from 8 µs to 131 ms. */
export const BARS = Array.from({ length: 57 }, (_, index) => Math.round(8 * 2 ** (index / 4)));

/**
 * Counts by bar; the last has everything above.
 * @param {Bucket[]} buckets
 */
export function bars(buckets) {
  const counts = new Array(BARS.length).fill(0);
  for (const { up_to_us, count } of buckets) {
    const at = BARS.findIndex((bound) => up_to_us <= bound);
    counts[at < 0 ? BARS.length - 1 : at] += count;
  }
  return counts;
}

/**
 * The loss of everybody together, a share.
 * @param {RoomSample[]} rooms
 */
export function loss(rooms) {
  const sent = sum(rooms, (room) => room.packets_sent_per_second);
  return sent > 0 ? sum(rooms, (room) => room.loss_permille * room.packets_sent_per_second) / sent / 1000 : 0;
}

/** @param {Participant} participant */
export const called = (participant) => participant.name || participant.identity || participant.id;

/**
 * What people are called, by id.
 * @param {RoomDetail | null | undefined} detail
 */
export const namesOf = (detail) => new Map((detail?.participants ?? []).map(({ participant }) => [participant.id, called(participant)]));

/** @param {string} participant @param {string} track */
export const subscriptionKey = (participant, track) => `sub ${participant} ${track}`;

/**
 * Every number that has a plot, by the name of its series.
 * @param {Sample} sample
 * @returns {Map<string, number | null>}
 */
export function numbers(sample) {
  const buckets = merged(sample.workers);
  /** @type {Map<string, number | null>} */
  const all = new Map([
    ["in", sum(sample.workers, (worker) => worker.received_bps)],
    ["out", sum(sample.workers, (worker) => worker.sent_bps)],
    ["p50", quantile(buckets, 0.5)],
    ["p99", quantile(buckets, 0.99)],
    ["loss", loss(sample.rooms)],
  ]);
  for (const worker of sample.workers) {
    const some = (worker.forwarding?.count ?? 0) > 0;
    all.set(`worker ${worker.id} busy`, worker.busy);
    all.set(`worker ${worker.id} out`, worker.sent_bps);
    all.set(`worker ${worker.id} p99`, some ? worker.forwarding?.p99_us ?? null : null);
  }
  for (const room of sample.rooms) {
    all.set(`room ${room.name} in`, room.received_bps);
    all.set(`room ${room.name} out`, room.sent_bps);
    all.set(`room ${room.name} loss`, room.loss_permille / 1000);
  }
  for (const { subscription, forwarded_bps } of sample.room?.subscriptions ?? []) {
    all.set(subscriptionKey(subscription.participant, subscription.track), forwarded_bps);
  }
  return all;
}

/** What every plot remembers, newest last. */
export class Histories {
  /** @type {Map<string, (number | null)[]>} */
  #series = new Map();
  #most;

  constructor(most = 120) {
    this.#most = most;
  }

  /** @param {Map<string, number | null>} numbers what is not among them is forgotten */
  note(numbers) {
    for (const name of this.#series.keys()) if (!numbers.has(name)) this.#series.delete(name);
    for (const [name, value] of numbers) {
      const values = this.#series.get(name) ?? [];
      values.push(value);
      if (values.length > this.#most) values.shift();
      this.#series.set(name, values);
    }
  }

  /** Samples that are missing are gaps. @param {number} count */
  lost(count) {
    for (const values of this.#series.values()) {
      for (let n = 0; n < Math.min(count, this.#most); n += 1) values.push(null);
      values.splice(0, Math.max(0, values.length - this.#most));
    }
  }

  /** @param {string} name */
  of(name) {
    return this.#series.get(name) ?? [];
  }
}

/**
 * @typedef {{id: string, name: string, about: string, rate: number, y: number, height: number}} Knot
 * @typedef {{from: string, to: string, track: string, state: string, kind: string, rate: number}} Thread
 */

/** Participants that a topology has room for. */
export const PEOPLE_MAX = 16;

/**
 * Who publishes what and who receives it: tracks at the left, receivers at the right, subscriptions between them.
 * @param {RoomDetail} room
 * @returns {{tracks: Knot[], people: Knot[], threads: Thread[], height: number, more: number}}
 */
export function topology(room) {
  const most = [...room.participants].sort((a, b) => b.sent_bps - a.sent_bps || (a.participant.id < b.participant.id ? -1 : 1));
  const shown = new Set(most.slice(0, PEOPLE_MAX).map((one) => one.participant.id));
  const people = room.participants.filter((one) => shown.has(one.participant.id));
  const names = new Map(people.map((one) => [one.participant.id, called(one.participant)]));
  const tracks = room.tracks.filter((track) => shown.has(track.participant));
  tracks.sort((a, b) => (names.get(a.participant) ?? "").localeCompare(names.get(b.participant) ?? "") || a.source.localeCompare(b.source));
  people.sort((a, b) => called(a.participant).localeCompare(called(b.participant)));
  const subscriptions = room.subscriptions.filter(({ subscription: { participant, publisher } }) => (
    shown.has(participant) && shown.has(publisher)));
  const row = 46;
  const height = Math.max(tracks.length, people.length, 1) * row;
  const place = (/** @type {number} */ index, /** @type {number} */ count) => ((index + 0.5) * height) / count;
  return {
    height,
    more: room.participants.length - people.length,
    tracks: tracks.map((track, index) => ({
      id: track.id,
      name: names.get(track.participant) ?? track.identity,
      about: track.muted_by_publisher || track.muted_by_operator ? `${track.source}, muted` : track.source,
      rate: sum(track.layers.filter((layer) => layer.active), (layer) => layer.bitrate_bps),
      y: place(index, tracks.length),
      height: row - 10,
    })),
    people: people.map((one, index) => ({
      id: one.participant.id,
      name: called(one.participant),
      about: one.participant.subscribe?.state ?? one.participant.publish?.state ?? "-",
      rate: one.sent_bps,
      y: place(index, people.length),
      height: row - 10,
    })),
    threads: subscriptions.map(({ subscription, forwarded_bps }) => ({
      from: subscription.track,
      to: subscription.participant,
      track: subscription.track,
      state: subscription.state,
      kind: subscription.kind,
      rate: forwarded_bps,
    })),
  };
}
