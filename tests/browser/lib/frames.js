// Put into a page: notes when each frame of somebody's tile is presented, whichever element shows it, and how many
// sounds play. Frames are presented by another thread than the page's: one that is busy is told of the last of them alone,
// and how many there were. Those count as evenly spaced.
(() => {
  if (window.frames_) return;
  const tiles = new Map();
  const watched = new WeakSet();

  function follow(video, participant) {
    if (watched.has(video)) return;
    watched.add(video);
    let before = 0;
    const note = (now, { presentationTime, presentedFrames }) => {
      const frames = presentedFrames - before;
      before = presentedFrames;
      // One that is not in its place yet, or not any more, shows nothing to anybody.
      if (video.isConnected && !video.classList.contains('next')) tiles.get(participant).show(video, presentationTime, frames);
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  }

  class Shown {
    sounds = [];
    frames = 0;
    gapMs = 0;
    stallMs = 0;
    #last = null;

    show(video, at, frames) {
      const last = this.#last;
      this.#last = { video, at };
      // Of another element, what it presented before it had its place was not seen.
      const seen = last?.video === video ? frames : 1;
      this.frames += seen;
      if (!last) return;
      this.stallMs = Math.max(this.stallMs, at - last.at);
      this.gapMs = Math.max(this.gapMs, (at - last.at) / seen);
    }

    get still() {
      return this.#last ? performance.now() - this.#last.at : 0;
    }
  }

  window.frames_ = {
    /** Begins to watch the camera of a participant, afresh. */
    watch(participant) {
      const known = tiles.has(participant);
      tiles.set(participant, new Shown());
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
    /**
     * The longest time between two frames, milliseconds, the longest in which the page was told of none, and the fewest
     * and most sounds at once.
     */
    seen(participant) {
      const { frames, gapMs, stallMs, sounds, still } = tiles.get(participant);
      const round = (ms) => Math.round(Math.max(ms, still));
      return { frames, gapMs: round(gapMs), stallMs: round(stallMs), fewest: Math.min(...sounds), most: Math.max(...sounds) };
    },
  };
})();
