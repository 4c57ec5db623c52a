// The networks, one entry each. What is not said is as in an open network:
//
//   does      what the network does, for the table in docs/networks.md
//   few       one of those that `tests/run` takes
//   needs     facilities that not every machine has (world.mjs), besides nftables
//   server    "nat": behind a box that forwards two public addresses one to one
//   client    boxes from the internet inward, families, MTU (topology.mjs)
//   peer      the same for the other participant; without it, that one is in the open
//   access    what is let through from (`up`) and to (`down`) the client
//   turn      false: the router has no relay
//   learns    the server is not told its public addresses, and asks a STUN server
//   direct    a call of two may go past the router, and its media has to, in the end: "straight", or "relayed" by one side
//   only      the browser is told to use nothing but relays whose URL matches
//   prepare   more to do before anybody joins
//   expect    path and address family of all connections; null: nothing can get through
//   change    what happens in the call, how often, and the path after it

import { access, routeBySource, side } from './topology.mjs';

/** Of a firewall that lets nothing out but this. */
const nothingBut = (...rules) => [...rules.map((rule) => `${rule} accept`), 'meta l4proto { tcp, udp } drop'].join('\n');

const UDP = { path: 'udp', family: 'v4' };

const forget = (box, what = '--proto udp') => ({ world }) => {
  // "0 flow entries have been deleted" is an exit code of 1.
  world.run(box, `conntrack -D ${what} >/dev/null 2>&1 || true`);
};

const behind = (...boxes) => ({ boxes });

const open = [
  { name: 'open', does: 'lets everything through', few: true, expect: UDP },
  { name: 'IPv6 only', does: 'has no IPv4', client: { v4: false, v6: true }, expect: { path: 'udp', family: 'v6' } },
  {
    name: 'broken IPv6',
    does: 'gives IPv6 addresses and a route, and drops every IPv6 packet; IPv4 works',
    client: { v6: true },
    access: { up: 'meta nfproto ipv6 drop', down: 'meta nfproto ipv6 drop' },
    expect: UDP,
  },
  {
    name: 'broken IPv4',
    does: 'gives IPv4 addresses and a route, and drops every IPv4 packet; IPv6 works',
    client: { v6: true },
    access: { up: 'meta nfproto ipv4 drop', down: 'meta nfproto ipv4 drop' },
    expect: { path: 'udp', family: 'v6' },
  },
  {
    name: 'MTU 1280',
    does: 'a tunnel of 1280 bytes behind a home router whose own network has 1500',
    client: { boxes: ['port-restricted'], mtu: 1280, inner: 1500 },
    expect: UDP,
  },
  {
    name: 'IPv6 only, MTU 1280',
    does: 'has no IPv4, and the least MTU that IPv6 allows',
    client: { v4: false, v6: true, mtu: 1280 },
    expect: { path: 'udp', family: 'v6' },
  },
];

const firewalls = [
  {
    name: 'UDP blocked',
    does: 'drops all UDP',
    few: true,
    access: { up: 'meta l4proto udp drop', down: 'meta l4proto udp drop' },
    expect: { path: 'tcp', family: 'v4' },
  },
  {
    name: 'UDP refused',
    does: 'answers all UDP with ICMP (administratively prohibited)',
    access: { up: 'meta l4proto udp reject with icmpx admin-prohibited' },
    expect: { path: 'tcp', family: 'v4' },
  },
  {
    name: 'only port 443',
    does: 'lets out TCP and UDP to port 443 alone',
    access: { up: nothingBut('tcp dport 443', 'udp dport 443') },
    expect: { path: 'turn-udp', family: 'v4' },
  },
  {
    name: 'only TCP 80 and 443',
    does: 'lets out TCP to ports 80 and 443 alone',
    access: { up: nothingBut('tcp dport { 80, 443 }') },
    expect: { path: 'turn-tcp', family: 'v4' },
  },
  {
    name: 'only TCP 443',
    does: 'lets out TCP to port 443 alone',
    few: true,
    access: { up: nothingBut('tcp dport 443') },
    expect: { path: 'turn-tls', family: 'v4' },
  },
  {
    name: 'only TCP 443, IPv6 only',
    does: 'lets out TCP to port 443 alone, and has no IPv4',
    client: { v4: false, v6: true },
    access: { up: nothingBut('tcp dport 443') },
    expect: { path: 'turn-tls', family: 'v6' },
  },
  {
    name: 'only TCP 443, no relay',
    does: 'lets out TCP to port 443 alone, and the router has no `[turn]`',
    access: { up: nothingBut('tcp dport 443') },
    turn: false,
    expect: null,
  },
];

const nats = [
  { name: 'full-cone NAT', does: 'one port outside for one inside, open to all', client: behind('full-cone'), expect: UDP },
  {
    name: 'port-restricted NAT',
    does: 'one port outside for one inside, open to whom it was used for',
    client: behind('port-restricted'),
    expect: UDP,
  },
  {
    name: 'symmetric NAT',
    does: 'another port outside for each destination',
    few: true,
    client: behind('symmetric'),
    expect: UDP,
  },
  {
    name: 'symmetric NAT on both sides',
    does: 'both participants are behind one',
    client: behind('symmetric'),
    peer: behind('symmetric'),
    expect: UDP,
  },
  {
    name: 'double NAT',
    does: 'a home router behind a carrier’s NAT, both symmetric',
    client: behind('symmetric', 'symmetric'),
    expect: UDP,
  },
  {
    name: 'double NAT, only TCP 443',
    does: 'the same, and the carrier lets out TCP to port 443 alone',
    client: behind('symmetric', 'symmetric'),
    access: { up: nothingBut('tcp dport 443') },
    expect: { path: 'turn-tls', family: 'v4' },
  },
  { name: 'server behind 1:1 NAT', does: 'the server has private addresses only', server: 'nat', expect: UDP },
  {
    name: 'server behind 1:1 NAT, only TCP 443',
    does: 'the same, and the client’s network lets out TCP to port 443 alone',
    server: 'nat',
    access: { up: nothingBut('tcp dport 443') },
    expect: { path: 'turn-tls', family: 'v4' },
  },
  {
    name: 'server behind 1:1 NAT, address by STUN',
    does: 'the same, and nobody has told the server its public addresses (`media.public_address_servers`)',
    server: 'nat',
    learns: true,
    expect: UDP,
  },
  {
    name: 'hairpin',
    does: 'server and client in one home: the client reaches the public address by the NAT that both are behind',
    server: 'nat',
    client: { housemate: true },
    expect: UDP,
  },
];

const rough = [
  {
    name: 'asymmetric loss',
    does: 'loses 10 % of what the client sends and 2 % of what it is sent',
    access: {
      up: 'meta l4proto udp numgen random mod 100 < 10 drop',
      down: 'meta l4proto udp numgen random mod 100 < 2 drop',
    },
    expect: UDP,
  },
  {
    name: 'thin uplink',
    does: '400 kbit/s up, 4 Mbit/s down, queues of 300 ms',
    needs: ['tbf'],
    prepare: ({ world }) => {
      world.run('client', 'tc qdisc add dev net0 root tbf rate 400kbit burst 8kb latency 300ms');
      world.run('core', 'tc qdisc add dev cli0 root tbf rate 4mbit burst 16kb latency 300ms');
    },
    expect: UDP,
  },
  {
    name: 'long way',
    does: '150 ms each way with 30 ms of jitter',
    needs: ['netem'],
    prepare: ({ world }) => {
      for (const [space, device] of [['client', 'net0'], ['core', 'cli0']]) {
        world.run(space, `tc qdisc add dev ${device} root netem delay 150ms 30ms`);
      }
    },
    expect: UDP,
  },
];

const changes = [
  {
    name: 'rebinding NAT',
    does: 'a carrier’s NAT that gives each flow of UDP another port every 4 s',
    few: true,
    needs: ['conntrack'],
    client: behind('symmetric'),
    expect: UDP,
    change: { what: 'another port', times: 3, every: 4_000, apply: forget('client-box0'), expect: UDP },
  },
  {
    name: 'NAT restarts',
    does: 'a home router that forgets all its flows, TCP too',
    needs: ['conntrack'],
    client: behind('symmetric'),
    prepare: ({ world }) => world.run('client-box0', 'echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose'),
    expect: UDP,
    change: { what: 'all flows forgotten', apply: forget('client-box0', ''), expect: UDP },
  },
  {
    name: 'UDP is blocked in the call',
    does: 'a firewall that drops all UDP from some moment on',
    expect: UDP,
    change: {
      what: 'UDP dropped',
      apply: ({ world }) => access(world, { up: 'meta l4proto udp drop', down: 'meta l4proto udp drop', table: 'later' }),
      // The first that is up is taken; for a while that may be the relay.
      expect: { path: 'tcp', family: 'v4', orElse: 'turn-tcp' },
    },
  },
  {
    name: 'two interfaces, one dies',
    does: 'two ways out; the one in use loses its cable',
    prepare: async ({ world, made }) => {
      routeBySource(world, 'client', 'net0', 'client');
      made.push(...await side(world, { side: 'client2', name: 'client', device: 'net1', metric: 20 }));
      routeBySource(world, 'client', 'net1', 'client2');
    },
    expect: UDP,
    change: {
      what: 'first interface down',
      apply: ({ world }) => world.run('client', ['ip link set net0 down', 'ip addr flush dev net0']),
      expect: UDP,
    },
  },
  {
    name: 'another network',
    does: 'the client leaves its network, and comes into another one half a second later',
    prepare: ({ world }) => world.link(['core', 'cli1'], ['client', 'net1']),
    expect: UDP,
    change: {
      what: 'other network',
      apply: async ({ world, sleep }) => {
        world.run('client', ['ip link set net0 down', 'ip addr flush dev net0']);
        await sleep(500);
        world.address('core', 'cli1', ['198.18.2.1/24']);
        world.address('client', 'net1', ['198.18.2.20/24']);
        world.run('client', 'ip route add default via 198.18.2.1 dev net1');
      },
      expect: UDP,
    },
  },
  {
    name: 'another address',
    does: 'the client’s address changes on the same interface',
    expect: UDP,
    change: {
      what: 'other address',
      apply: ({ world }) => world.run('client', [
        'ip addr flush dev net0',
        'ip addr add 192.31.196.77/24 dev net0',
        'ip route add default via 192.31.196.1 dev net0',
      ]),
      expect: UDP,
    },
  },
];

const relays = [['UDP', 'transport=udp', 'turn-udp'], ['TCP', '^turn:.*transport=tcp', 'turn-tcp'], ['TLS', '^turns:', 'turn-tls']];

const relayed = relays.map(([transport, only, path]) => ({
  name: `relay only, ${transport}`,
  does: `lets everything through; the browser is told to use a relay over ${transport} and nothing else`,
  only,
  expect: { path, family: 'v4' },
}));

/** Calls of two past the router (docs/direct.md); what it carries before is as in any other call. */
const calls = [
  { name: 'direct call', does: 'lets everything through at both participants', expect: UDP, direct: 'straight' },
  {
    name: 'direct call, port-restricted NAT on both sides',
    does: 'one port outside for one inside, open to whom it was used for',
    client: behind('port-restricted'),
    peer: behind('port-restricted'),
    expect: UDP,
    direct: 'straight',
  },
  {
    name: 'direct call, symmetric NAT on both sides',
    does: 'another port outside for each destination; the router has `turn.public_peers`',
    client: behind('symmetric'),
    peer: behind('symmetric'),
    expect: UDP,
    direct: 'relayed',
  },
];

export const PROFILES = [...open, ...firewalls, ...nats, ...rough, ...changes, ...relayed, ...calls];
