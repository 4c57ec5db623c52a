// Put into each page after probe.js: notes ten times a second how many frames were decoded and how many packets of
// sound came in all, so that the moment media begins, stops and comes back is known to a tenth of a second; and the
// moment somebody clicks on Join.
(() => {
  if (window.__meter || !window.__probe) return;
  const EVERY_MS = 100;
  const KEPT = 3_000;
  const samples = [];
  // Of streams and not of all, because those of a connection that was replaced are gone from the sum.
  const seen = new Map();
  const moved = { video: 0, audio: 0 };
  let clicked = null;
  addEventListener('click', (event) => {
    if (event.target instanceof Element && event.target.closest('#join-button')) clicked = Date.now();
  }, { capture: true });

  async function sample() {
    const { connections } = window.__probe;
    for (const [index, pc] of connections.entries()) {
      if (pc.connectionState === 'closed') continue;
      const stats = await pc.getStats();
      stats.forEach((s) => {
        if (s.type !== 'inbound-rtp') return;
        const value = (s.kind === 'video' ? s.framesDecoded : s.packetsReceived) ?? 0;
        const id = `${index}:${s.id}`;
        moved[s.kind] += Math.max(0, value - (seen.get(id) ?? 0));
        seen.set(id, value);
      });
    }
    samples.push({ at: Date.now(), ...moved });
    if (samples.length > KEPT) samples.shift();
  }

  async function loop() {
    for (;;) {
      const begin = performance.now();
      await sample().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, Math.max(10, EVERY_MS - (performance.now() - begin))));
    }
  }
  loop();

  window.__meter = { samples, clicked: () => clicked };
})();
