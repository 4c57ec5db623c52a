// A signaling protocol of one's own, whole: rooms of two, JSON over WebSocket, subprotocol `duet.v1`.
//
//   client → router   {"hello": ROOM, "token": TOKEN?}   {"publish": SDP}   {"answer": SDP, "id": N}
//   router → client   {"welcome": MY_ID, "others": [ID]} {"published": SDP} {"offer": SDP, "id": N}
//                     {"left": ID} {"error": TEXT}
//
// One instance is one client, so plain variables are its state.

let commands = [];
let reference = 0n;
let others = new Set();
let joined = false;

const ask = (tag, val) => commands.push({ reference: ++reference, action: val === undefined ? { tag } : { tag, val } });
const say = (message) => ask('send', { tag: 'text', val: JSON.stringify(message) });
const stop = (reason) => {
  say({ error: reason });
  ask('close', [4000, reason]);
};

function message(text) {
  let request;
  try {
    request = JSON.parse(text);
  } catch {
    return stop('this is not JSON');
  }
  if (typeof request.hello === 'string') {
    const token = typeof request.token === 'string' ? request.token : '';
    const credentials = new TextEncoder().encode(token);
    ask('authenticate', { scheme: token ? 'token' : 'none', credentials, room: request.hello, name: undefined });
  } else if (!joined) {
    stop('say hello first');
  } else if (typeof request.publish === 'string') {
    ask('accept-offer', { sdp: request.publish, sources: [] });
  } else if (typeof request.answer === 'string' && Number.isInteger(request.id)) {
    ask('accept-answer', { offer: BigInt(request.id), sdp: request.answer });
  } else {
    say({ error: 'hello, publish or answer' });
  }
}

const inputs = {
  opened: () => {},
  message: (frame) => (frame.tag === 'text' ? message(frame.val) : stop('text only')),
  granted: () => ask('join'),
  denied: (denial) => stop(denial.val),
  joined: (room) => {
    if (room.participants.length > 1) return stop('two are in there already');
    joined = true;
    for (const other of room.participants) others.add(other.id);
    say({ welcome: String(room.me.id), others: [...others].map(String) });
    for (const track of room.tracks) ask('subscribe', track.id);
  },
  'participant-joined': (participant) => others.add(participant.id),
  'participant-left': (id) => {
    others.delete(id);
    say({ left: String(id) });
  },
  'track-published': (track) => ask('subscribe', track.id),
  answer: (answer) => say({ published: answer.sdp }),
  offer: (offer) => say({ offer: offer.sdp, id: Number(offer.id) }),
  failed: (failure) => say({ error: failure.message }),
  removed: (reason) => stop(reason),
};

export const lifecycle = {
  start() {},
};

export const signaling = {
  handle(input) {
    commands = [];
    inputs[input.tag]?.(input.val);
    return commands;
  },
};
