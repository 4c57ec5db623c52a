// What is read off a page's samples (meter.js) and statistics (probe.js).

import { readFileSync } from 'node:fs';

/** Put into each page. */
export const METER = readFileSync(new URL('./meter.js', import.meta.url), 'utf8');

/** Standing still for less is no gap: pictures come 20 times a second at best, and this machine may be busy. */
const GAP_MS = 500;
const KINDS = ['video', 'audio'];

/** When picture and sound had both begun, from `since` on; null before that. */
export function begun(samples, since) {
  const before = samples.findLast(({ at }) => at <= since) ?? { video: 0, audio: 0 };
  const first = samples.find((s) => s.at > since && KINDS.every((kind) => s[kind] > before[kind]));
  return first ? first.at : null;
}

/** Of one kind of media: the end of its last pause that ends after `since`, or null. */
function resumedOf(samples, since, kind) {
  let last = 0;
  let previous = null;
  for (const [index, sample] of samples.entries()) {
    if (index > 0 && sample[kind] <= samples[index - 1][kind]) continue;
    if (previous !== null && sample.at > since && sample.at - previous >= GAP_MS) last = sample.at - since;
    previous = sample.at;
  }
  const end = samples.at(-1)?.at ?? since;
  return previous === null || end - previous >= GAP_MS * 2 ? null : last;
}

/**
 * How long after `since` media moves again for good: the end of the last pause of at least half a second that ends
 * later. 0: it never paused. null: it stands still.
 */
export function resumed(samples, since) {
  const [video, audio] = KINDS.map((kind) => resumedOf(samples, since, kind));
  if (video === null || audio === null) return null;
  return { video, audio };
}

/** One word for the way a connection takes, and the address family. */
export function way(pair) {
  if (!pair) return { path: null, family: null };
  const { candidateType, protocol, relayProtocol, relatedAddress } = pair.local;
  // Behind a NAT in front of the router a relayed candidate is found again from outside, and is called so.
  const relayed = candidateType === 'relay' || Boolean(relayProtocol);
  // What a relay has of another family on its far side is its own affair.
  const address = (relayed && relatedAddress) || (pair.remote.address ?? '');
  return {
    path: relayed ? `turn-${relayProtocol ?? '?'}` : protocol,
    family: address.includes(':') ? 'v6' : 'v4',
  };
}

/** That of a direct call goes both ways; of the two to the router each goes one way. */
const isDirect = ({ inbound, outbound }) => inbound.length > 0 && outbound.length > 0;

/** The ways of all connections of a page to the router. */
export async function ways(client) {
  const raw = await client.raw();
  return raw.connections.filter((connection) => !isDirect(connection)).map(({ pair }) => way(pair));
}

/** How the direct call of a page goes: "straight", or "relayed" by either side; null: there is none. */
export async function directWay(client) {
  const raw = await client.raw();
  const pair = raw.connections.find(isDirect)?.pair;
  if (!pair) return null;
  return [pair.local, pair.remote].some(({ candidateType }) => candidateType === 'relay') ? 'relayed' : 'straight';
}
