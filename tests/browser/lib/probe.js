// Runs in the page before its own scripts: keeps every RTCPeerConnection, so that the suite reads the
// browser's raw statistics and does not have to believe the page's.
(() => {
  const Native = window.RTCPeerConnection;
  if (!Native || window.__probe) return;
  const connections = [];

  // What ICE came by, for artefacts.
  const ice = [];
  function follow(pc, index) {
    const note = (what) => {
      if (ice.length < 2_000) ice.push(`${Math.round(performance.now())} ${index} ${what}`);
    };
    pc.addEventListener('icecandidate', ({ candidate }) => note(candidate ? `gathered ${candidate.candidate}` : 'gathered all'));
    pc.addEventListener('icecandidateerror', ({ url, errorCode, errorText }) => note(`error ${url} ${errorCode} ${errorText}`));
    pc.addEventListener('iceconnectionstatechange', () => note(pc.iceConnectionState));
    pc.addEventListener('connectionstatechange', () => note(`connection ${pc.connectionState}`));
  }

  const Watched = new Proxy(Native, {
    construct(target, args, newTarget) {
      const pc = Reflect.construct(target, args, newTarget === Watched ? target : newTarget);
      follow(pc, connections.length);
      connections.push(pc);
      return pc;
    },
  });
  window.RTCPeerConnection = Watched;

  // The page's policy forbids fetching blob: URLs, rightly; what is behind a link is kept here instead.
  const blobs = new Map();
  const createObjectURL = URL.createObjectURL.bind(URL);
  URL.createObjectURL = (object) => {
    const url = createObjectURL(object);
    blobs.set(url, object);
    return url;
  };

  const pick = (from, ...keys) =>
    Object.fromEntries(keys.filter((key) => from[key] !== undefined).map((key) => [key, from[key]]));

  async function read(pc, index) {
    const out = {
      index,
      connectionState: pc.connectionState,
      iceConnectionState: pc.iceConnectionState,
      inbound: [],
      outbound: [],
      pair: null,
      transport: null,
    };
    if (pc.connectionState === 'closed') return out;
    const stats = await pc.getStats();
    let selected = null;
    stats.forEach((s) => {
      if (s.type === 'transport') selected = s.selectedCandidatePairId ?? selected;
      // Firefox says it at the pair.
      if (s.type === 'candidate-pair' && s.selected) selected = s.id;
    });
    stats.forEach((s) => {
      if (s.type === 'inbound-rtp') {
        out.inbound.push({
          ...pick(s, 'kind', 'mid', 'ssrc', 'packetsReceived', 'packetsLost', 'bytesReceived', 'framesDecoded',
            'keyFramesDecoded', 'frameWidth', 'frameHeight', 'framesPerSecond', 'totalSamplesReceived',
            'totalAudioEnergy', 'freezeCount', 'totalFreezesDuration', 'nackCount', 'pliCount', 'jitter'),
          codec: stats.get(s.codecId)?.mimeType,
        });
      } else if (s.type === 'outbound-rtp') {
        out.outbound.push({
          ...pick(s, 'kind', 'mid', 'rid', 'ssrc', 'active', 'packetsSent', 'bytesSent', 'framesEncoded',
            'frameWidth', 'frameHeight', 'targetBitrate', 'nackCount', 'pliCount', 'retransmittedPacketsSent',
            'qualityLimitationReason', 'headerBytesSent', 'retransmittedBytesSent'),
          codec: stats.get(s.codecId)?.mimeType,
        });
      } else if (s.type === 'candidate-pair' && s.id === selected) {
        out.pair = {
          ...pick(s, 'bytesSent', 'bytesReceived', 'currentRoundTripTime', 'availableOutgoingBitrate'),
          local: pick(stats.get(s.localCandidateId) ?? {}, 'address', 'port', 'protocol', 'candidateType', 'relayProtocol', 'relatedAddress'),
          remote: pick(stats.get(s.remoteCandidateId) ?? {}, 'address', 'port', 'protocol', 'candidateType'),
        };
      } else if (s.type === 'transport') {
        out.transport = pick(s, 'dtlsState', 'srtpCipher', 'tlsVersion', 'bytesSent', 'bytesReceived');
      }
    });
    return out;
  }

  window.__probe = {
    connections,
    blobs,
    ice,
    /** Of every pair of candidates: what was sent and answered. */
    async pairs() {
      const found = [];
      for (const [index, pc] of connections.entries()) {
        if (pc.connectionState === 'closed') continue;
        const stats = await pc.getStats();
        stats.forEach((s) => {
          if (s.type !== 'candidate-pair') return;
          const ends = [s.localCandidateId, s.remoteCandidateId].map((id) => stats.get(id) ?? {});
          found.push({ index, ends: ends.map((c) => `${c.candidateType} ${c.protocol} ${c.relayProtocol ?? ''} ${c.address}:${c.port}`),
            ...pick(s, 'state', 'nominated', 'requestsSent', 'responsesReceived', 'requestsReceived', 'bytesReceived') });
        });
      }
      return found;
    },
    /** Raw statistics of every connection that is not closed. */
    async read() {
      const all = await Promise.all(connections.map(read));
      return { at: performance.now(), connections: all.filter((pc) => pc.connectionState !== 'closed') };
    },
    /** The video elements on the page that show a picture now. */
    pictures() {
      return [...document.querySelectorAll('video')]
        .filter((v) => v.videoWidth > 0 && v.getClientRects().length > 0)
        .map((v) => ({ width: v.videoWidth, height: v.videoHeight, paused: v.paused, time: v.currentTime }));
    },
  };
})();
