// The pieces that profiles are put together from: an internet, a server side, and sides of clients behind boxes
// that translate addresses, filter, lose or hold back packets.
//
//   server (10, 11) ── edge? ── core ── box? ── box? ── client
//                                └───── box? ── peer
//
// Addresses of the server are those of documentation (RFC 5737, RFC 3849). A relay reaches no such ones, so clients and
// their boxes have some of special purposes that count as public (RFC 7534, RFC 7535). Nothing leaves the namespaces.

import process from 'node:process';
import { fileURLToPath } from 'node:url';

import { SERVER } from './world.mjs';

/** Names that are in `/etc/hosts` of the suite's mount namespace: the page's, and the relay's. */
export const MEET = 'meet.rillway.test';
export const TURN = 'turn.rillway.test';

/** What clients know of the server: the page and media on one address, the relay on another. */
export const PUBLIC = { meet: '203.0.113.10', turn: '203.0.113.11', meet6: '2001:db8:113::10', turn6: '2001:db8:113::11' };

/** A STUN server of somebody else's, for a server that has to learn its addresses. */
export const STUN = { subnet: '198.18.5', address: '198.18.5.20', port: 3_478 };

const ANSWERS = fileURLToPath(new URL('./stun.mjs', import.meta.url));

/** First media port; each worker has one. */
export const MEDIA_PORT = 40_000;

/** The way out of each side: the core's interface, and its subnet. */
const SIDES = {
  client: { port: 'cli0', v4: '192.31.196', v6: '2001:db8:2', carrier: '100.64.0', home: '192.168.1' },
  client2: { port: 'cli1', v4: '198.18.2', v6: '2001:db8:3', carrier: '100.65.0', home: '192.168.3' },
  peer: { port: 'peer0', v4: '192.175.48', v6: '2001:db8:51', carrier: '100.66.0', home: '192.168.2' },
};

/** How a box translates: the rules of its chain `out` and of its chain `in`. */
const NATS = {
  // One port for one port of the inside, whoever it speaks to; lets everybody in by it.
  'full-cone': {
    out: 'oifname "wan0" masquerade',
    in: (inside) => `iifname "wan0" meta l4proto udp dnat ip to ${inside}`,
  },
  // The same, but lets in only whom it has spoken to, by address and port.
  'port-restricted': { out: 'oifname "wan0" masquerade' },
  // Another port for each destination.
  symmetric: { out: 'oifname "wan0" meta l4proto udp masquerade fully-random\noifname "wan0" masquerade' },
};

/** The internet: forwards between all that hang on it, and knows no private addresses. */
export async function core(world) {
  await world.space('core');
}

function nat(world, box, kind, inside) {
  const { out, in: inward } = NATS[kind];
  const open = inward ? 'ct status dnat accept\n' : '';
  world.rules(box, 'nat', `
    chain out {
      type nat hook postrouting priority srcnat
      ${out}
    }
    chain in {
      type nat hook prerouting priority dstnat
      ${inward ? inward(inside) : ''}
    }
    chain pass {
      type filter hook forward priority filter
      policy accept
      ${open}iifname "wan0" ct state new drop
    }
    chain self {
      type filter hook input priority filter
      policy accept
      iifname "wan0" ct state new drop
    }`);
}

/**
 * A client's side: `boxes` from the internet inward, each a kind of NAT. Returns the names of the spaces made.
 * `name` is the space of the client, whose interface is `device`.
 */
export async function side(world, { side: which, name, device = 'net0', boxes = [], v4 = true, v6 = false, mtu = 1500, inner = mtu, metric = 10 }) {
  const { port, v4: net, v6: net6, carrier, home } = SIDES[which];
  const made = [];
  const insides = boxes.map((_, index) => (index === boxes.length - 1 ? home : carrier));
  let outer = ['core', port];
  let subnet = net;
  for (const [index, kind] of boxes.entries()) {
    const box = `${name}-box${index}`;
    await world.space(box);
    made.push(box);
    connect(world, outer, [box, 'wan0'], { subnet, mtu: index === 0 ? mtu : inner });
    nat(world, box, kind, `${insides[index]}.20`);
    outer = [box, 'lan0'];
    subnet = insides[index];
  }
  if (!world.has(name)) {
    await world.space(name);
    made.push(name);
    const off = v6 ? 0 : 1;
    world.run(name, `for all in all default; do echo ${off} >/proc/sys/net/ipv6/conf/$all/disable_ipv6; done`);
  }
  connect(world, outer, [name, device], {
    subnet: v4 ? subnet : null, subnet6: v6 && boxes.length === 0 ? net6 : null, metric,
    mtu: boxes.length === 0 ? mtu : inner,
  });
  return made;
}

/** A cable outward from `inner`, with addresses of a subnet and default routes. */
function connect(world, [outer, port], [inner, device], { subnet = null, subnet6 = null, mtu, metric = 10 }) {
  world.link([outer, port], [inner, device], { mtu });
  if (subnet) {
    world.address(outer, port, [`${subnet}.1/24`]);
    world.address(inner, device, [`${subnet}.20/24`]);
    world.run(inner, `ip route add default via ${subnet}.1 dev ${device} metric ${metric}`);
  }
  if (subnet6) {
    world.address(outer, port, [`${subnet6}::1/64`]);
    world.address(inner, device, [`${subnet6}::20/64`]);
    world.run(inner, `ip -6 route add default via ${subnet6}::1 dev ${device} metric ${metric}`);
  }
}

/** Packets from an address leave by the interface that has it, as phones do. */
export function routeBySource(world, name, device, which) {
  const { v4 } = SIDES[which];
  const table = 100 + Object.keys(SIDES).indexOf(which);
  world.run(name, [
    `ip route add default via ${v4}.1 dev ${device} table ${table}`,
    `ip rule add from ${v4}.20 lookup ${table}`,
  ]);
}

/** The server's side, with the addresses it is bound to and what `media.public_addresses` has to say. */
export async function server(world, kind) {
  if (kind === 'plain') {
    world.link(['core', 'srv0'], [SERVER, 'up0']);
    world.address('core', 'srv0', ['203.0.113.1/24', '2001:db8:113::1/64']);
    world.address(SERVER, 'up0', [`${PUBLIC.meet}/24`, `${PUBLIC.turn}/24`, `${PUBLIC.meet6}/64`, `${PUBLIC.turn6}/64`]);
    world.run(SERVER, ['ip route add default via 203.0.113.1', 'ip -6 route add default via 2001:db8:113::1']);
    const meet = [PUBLIC.meet, PUBLIC.meet6];
    return { made: [], meet, media: meet, turn: [PUBLIC.turn, PUBLIC.turn6], told: [] };
  }
  // Behind one box, which forwards two public addresses one to one. In a home, it also turns packets around that
  // come from inside for the public addresses.
  const edge = 'edge';
  await world.space(edge);
  world.link(['core', 'srv0'], [edge, 'wan0']);
  world.address('core', 'srv0', ['203.0.113.1/24']);
  world.address(edge, 'wan0', [`${PUBLIC.meet}/24`, `${PUBLIC.turn}/24`]);
  world.run(edge, [
    'ip route add default via 203.0.113.1',
    'ip link add name lan0 type bridge',
    'ip link set lan0 up',
  ]);
  world.link([edge, 'port0'], [SERVER, 'up0']);
  world.run(edge, 'ip link set port0 master lan0');
  world.address(edge, 'lan0', ['10.1.0.1/24']);
  world.address(SERVER, 'up0', ['10.1.0.10/24', '10.1.0.11/24']);
  world.run(SERVER, 'ip route add default via 10.1.0.1');
  world.rules(edge, 'nat', `
    chain in {
      type nat hook prerouting priority dstnat
      ip daddr ${PUBLIC.meet} dnat ip to 10.1.0.10
      ip daddr ${PUBLIC.turn} dnat ip to 10.1.0.11
    }
    chain out {
      type nat hook postrouting priority srcnat
      iifname "lan0" oifname "lan0" ct status dnat snat ip to 10.1.0.1
      oifname "wan0" ip saddr 10.1.0.10 snat ip to ${PUBLIC.meet}
      oifname "wan0" ip saddr 10.1.0.11 snat ip to ${PUBLIC.turn}
      oifname "wan0" masquerade
    }`);
  return {
    made: [edge],
    meet: ['10.1.0.10'],
    media: ['10.1.0.10', '10.1.0.11'],
    turn: ['10.1.0.11'],
    told: [`${PUBLIC.meet}/10.1.0.10`, `${PUBLIC.turn}/10.1.0.11`],
  };
}

/** A STUN server in the open, that says to all at which address it sees them. Returns the spaces made. */
export async function mirror(world) {
  const name = 'stun';
  await world.space(name);
  connect(world, ['core', 'stun0'], [name, 'net0'], { subnet: STUN.subnet });
  await world.start(name, process.execPath, ANSWERS, STUN.address, String(STUN.port));
  return [name];
}

/** A client on the server's own home network. */
export async function housemate(world, name) {
  await world.space(name);
  world.run(name, 'for all in all default; do echo 1 >/proc/sys/net/ipv6/conf/$all/disable_ipv6; done');
  world.link(['edge', 'port1'], [name, 'net0']);
  world.run('edge', 'ip link set port1 master lan0');
  world.address(name, 'net0', ['10.1.0.20/24']);
  // Only by way of the box: some networks keep their stations apart.
  world.run(name, 'ip route add default via 10.1.0.1 dev net0');
  return [name];
}

/**
 * What the provider or the firewall of the client's side lets through: rules of a chain for packets that come from it
 * (`up`) and of one for packets to it (`down`).
 */
export function access(world, { up = '', down = '', port = SIDES.client.port, table = 'access' }) {
  world.rules('core', table, `
    chain pass {
      type filter hook forward priority filter
      policy accept
      iifname "${port}" jump up
      oifname "${port}" jump down
    }
    chain up {
      ${up}
    }
    chain down {
      ${down}
    }`);
}

/** What remains of the profile in spaces that stay. */
export const LEFT = [['core', 'cli0'], ['core', 'cli1'], ['core', 'srv0'], ['core', 'stun0'], [SERVER, 'up0']];
