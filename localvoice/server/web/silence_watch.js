/**
 * Notices a microphone that is open and yet gives no sound at all: it is muted somewhere.
 * @module
 */

const LOOK_EVERY_MS = 500;
/** An open microphone always gives some noise; none for this long is no quiet room. */
const SILENT_FOR_MS = 4_000;
const SILENCE = 1e-6;

export class SilenceWatch {
  /** @type {number|undefined} */
  #timer;
  #level;
  #onChange;

  /** @param {() => number} level RMS, 0 to 1 @param {(silent: boolean) => void} onChange called at each look */
  constructor(level, onChange) {
    this.#level = level;
    this.#onChange = onChange;
  }

  start() {
    this.stop();
    let heardAt = performance.now(); // the wall clock may be moved
    this.#timer = setInterval(() => {
      const now = performance.now();
      if (this.#level() > SILENCE) heardAt = now;
      this.#onChange(now - heardAt > SILENT_FOR_MS);
    }, LOOK_EVERY_MS);
  }

  stop() {
    clearInterval(this.#timer);
  }
}
