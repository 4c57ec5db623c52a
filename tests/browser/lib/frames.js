// Put into a page: notes when each frame of somebody's tile is presented, whichever element shows it, and how many
// sounds play.
(() => {
  if (window.frames_) return;
  const tiles = new Map();
  const watched = new WeakSet();

  function follow(video, participant) {
    if (watched.has(video)) return;
    watched.add(video);
    const note = (now) => {
      // One that is not in its place yet, or not any more, shows nothing to anybody.
      if (video.isConnected && !video.classList.contains('next')) tiles.get(participant).times.push(now);
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  }

  window.frames_ = {
    /** Begins to watch the camera of a participant, afresh. */
    watch(participant) {
      const known = tiles.has(participant);
      tiles.set(participant, { times: [], sounds: [] });
      if (known) return;
      const tile = document.querySelector(`article[data-participant="${participant}"][data-source="camera"]`);
      const look = () => {
        for (const video of tile.querySelectorAll('video')) follow(video, participant);
      };
      new MutationObserver(look).observe(tile, { childList: true });
      look();
      setInterval(() => {
        const playing = [...document.querySelectorAll('audio')].filter((audio) => audio.srcObject && !audio.muted);
        tiles.get(participant).sounds.push(playing.length);
      }, 20);
    },
    /** The longest time between two frames, milliseconds, and the fewest and most sounds at once. */
    seen(participant) {
      const { times, sounds } = tiles.get(participant);
      const gaps = times.slice(1).map((time, index) => time - times[index]);
      return {
        frames: times.length, gapMs: Math.round(Math.max(...gaps, performance.now() - times.at(-1))),
        fewest: Math.min(...sounds), most: Math.max(...sounds),
      };
    },
  };
})();
