// Put into pages that publish a clapper: about once a second their camera flashes white and fades to black within
// half a second, and their microphone beeps from the same instant on. The pauses differ, so that no beep can be
// taken for another clap's.
//
// The fade is a clock: however few frames an encoder lets through, each of them tells by its brightness how long
// ago the clap was, and a film is measured more finely than its frames are apart (see films.mjs).
(({ fade, width, height }) => {
  const BEEP_MS = 80;
  const native = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  let scene = null;

  /** A tone of the browser's computing. */
  function oscillator() {
    const sound = new AudioContext();
    const volume = new GainNode(sound, { gain: 0 });
    const out = new MediaStreamAudioDestinationNode(sound, { channelCount: 1 });
    const tone = new OscillatorNode(sound, { frequency: 1_000 });
    tone.connect(volume).connect(out);
    tone.start();
    const [track] = out.stream.getAudioTracks();
    return { track, beep: (on) => { volume.gain.value = on ? 0.5 : 0; } };
  }

  /** Firefox computes no sound where there is nothing to play it; its fake microphone is a lasting tone. */
  async function gated() {
    const media = await native({ audio: true });
    const [track] = media.getAudioTracks();
    track.enabled = false;
    return { track, beep: (on) => { track.enabled = on; } };
  }

  /** How long after its clap each beep is in the track, in milliseconds; nothing where a browser cannot tell. */
  function listen(track, clapped) {
    const delays = [];
    if (!('MediaStreamTrackProcessor' in window)) return delays;
    const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
    let told = null;
    (async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const at = performance.now();
        const samples = new Float32Array(value.numberOfFrames);
        value.copyTo(samples, { planeIndex: 0, format: 'f32-planar' });
        const begins = samples.findIndex((sample) => Math.abs(sample) > 0.1);
        const clap = clapped();
        // What is read was complete at its end.
        if (begins >= 0 && clap !== told) {
          delays.push(at - clap - (1_000 * (samples.length - begins)) / value.sampleRate);
          told = clap;
        }
        value.close();
      }
    })();
    return delays;
  }

  async function perform() {
    const { track, beep } = await (navigator.userAgent.includes('Firefox') ? gated() : oscillator());
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width, height });
    const picture = canvas.getContext('2d', { alpha: false });
    let last = -Infinity;
    let next = performance.now() + 500;
    let beeping = false;
    let claps = 0;
    function draw() {
      const now = performance.now();
      if (now >= next) {
        beep(true);
        beeping = true;
        claps += 1;
        last = now;
        next = now + 800 + 500 * Math.random();
      } else if (beeping && now >= last + BEEP_MS) {
        beep(false);
        beeping = false;
      }
      const level = Math.round(255 * Math.max(0, 1 - (now - last) / (1_000 * fade)));
      picture.fillStyle = `rgb(${level} ${level} ${level})`;
      picture.fillRect(0, 0, width, height);
    }
    draw();
    setInterval(draw, 1_000 / 60);
    const delays = listen(track, () => last);
    window.clapper = { claps: () => claps, delays: () => delays };
    return { camera: canvas.captureStream().getVideoTracks()[0], microphone: track };
  }

  navigator.mediaDevices.getUserMedia = async ({ video, audio }) => {
    scene ??= perform();
    const { camera, microphone } = await scene;
    return new MediaStream([...(video ? [camera] : []), ...(audio ? [microphone] : [])]);
  };
})
