// @ts-check
// How loud a track is, for the meter of the preview and for "you are muted".

/**
 * @param {MediaStreamTrack} track
 * @param {(level: number) => void} heard level from 0 to 1, about ten times a second
 * @returns {() => void} stops
 */
export function watchLevel(track, heard) {
  /** @type {AudioContext} */
  let context;
  try {
    context = new AudioContext();
  } catch {
    return () => {};
  }
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    // Before the first click, browsers may keep the context suspended; then there is nothing to show.
    if (context.state === "suspended") void context.resume().catch(() => {});
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    const decibel = 10 * Math.log10(power + 1e-10);
    heard(Math.min(1, Math.max(0, (decibel + 60) / 50)));
  }, 100);
  return () => {
    clearInterval(timer);
    void context.close().catch(() => {});
  };
}
