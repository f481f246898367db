/**
 * The ring of ticks round the talk button. The microphone's level runs down it from the top, the agent's
 * voice runs up it from the bottom, so that both can be seen at once when one interrupts the other.
 * @module
 */

/** @typedef {'rest'|'hearing'|'thinking'|'speaking'} Mode */

const TICKS = 96;
const HALF = TICKS / 2;
/** Loud enough for meters; the models need the processor more. */
const FRAME_MS = 33;
const CALM_FRAME_MS = 100;
/** Room noise of a good microphone lies below it, quiet speech above. */
const FLOOR_DB = -56;
const SWEEP_MS = 2_400;

/** @typedef {{rest: string, user: string, agent: string, think: string}} Colours */

export class Dial {
  #canvas;
  #levels;
  /** Levels of the last frames, newest first: one for each tick of a half ring. */
  #user = new Array(HALF).fill(0);
  #agent = new Array(HALF).fill(0);
  /** @type {Mode} */
  #mode = 'rest';
  #running = false;
  #drawn = 0;
  /** @type {Colours|null} */
  #colours = null;
  #calm = matchMedia('(prefers-reduced-motion: reduce)');

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{user: () => number, agent: () => number}} levels RMS, 0 to 1
   */
  constructor(canvas, levels) {
    this.#canvas = canvas;
    this.#levels = levels;
    const redraw = () => {
      this.#colours = null;
      this.#draw(performance.now());
    };
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
    new ResizeObserver(redraw).observe(canvas);
  }

  /** @param {Mode} mode */
  setMode(mode) {
    this.#mode = mode;
    if (this.#running) return;
    this.#running = true;
    requestAnimationFrame((now) => this.#frame(now));
  }

  /** @param {number} now */
  #frame(now) {
    if (now - this.#drawn >= (this.#calm.matches ? CALM_FRAME_MS : FRAME_MS)) {
      this.#drawn = now;
      push(this.#user, loudness(this.#levels.user()));
      push(this.#agent, loudness(this.#levels.agent()));
      this.#draw(now);
    }
    // At rest nothing is drawn at all, once the last ripple has run out.
    this.#running = this.#mode !== 'rest' || [...this.#user, ...this.#agent].some((level) => level > 0);
    if (this.#running) requestAnimationFrame((next) => this.#frame(next));
  }

  /** @param {number} now */
  #draw(now) {
    const context = this.#prepared();
    if (!context) return;
    const colours = (this.#colours ??= coloursOf(this.#canvas));
    const radius = this.#canvas.clientWidth / 2;
    const inner = radius * 0.76;
    const reach = radius * 0.22;
    context.lineWidth = Math.max(1.5, radius * 0.016);
    context.lineCap = 'round';
    for (let tick = 0; tick < TICKS; tick += 1) {
      const { length, colour } = this.#tick(tick, now, colours);
      const angle = (tick / TICKS) * 2 * Math.PI - Math.PI / 2;
      const outer = inner + reach * (0.14 + 0.86 * length);
      context.strokeStyle = colour;
      context.beginPath();
      context.moveTo(radius + inner * Math.cos(angle), radius + inner * Math.sin(angle));
      context.lineTo(radius + outer * Math.cos(angle), radius + outer * Math.sin(angle));
      context.stroke();
    }
  }

  /** @param {number} tick clockwise from the top @param {number} now @param {Colours} colours */
  #tick(tick, now, colours) {
    const fromTop = Math.min(tick, TICKS - tick, HALF - 1);
    const fromBottom = HALF - 1 - fromTop;
    // Without motion the whole ring shows the level of now; with it, the level runs along the ring.
    const user = this.#user[this.#calm.matches ? 0 : fromTop] * fade(fromTop);
    const agent = this.#agent[this.#calm.matches ? 0 : fromBottom] * fade(fromBottom);
    if (user > 0.02 && user >= agent) return { length: user, colour: colours.user };
    if (agent > 0.02) return { length: agent, colour: colours.agent };
    const thought = this.#mode === 'thinking' ? this.#thought(tick, now) : 0;
    return { length: thought * 0.3, colour: thought > 0.3 ? colours.think : colours.rest };
  }

  /** A light that goes round while the agent thinks. @param {number} tick @param {number} now */
  #thought(tick, now) {
    if (this.#calm.matches) return tick % 4 === 0 ? 1 : 0;
    const ahead = ((now / SWEEP_MS) % 1) * TICKS;
    const behind = (ahead - tick + TICKS) % TICKS;
    return Math.max(0, 1 - behind / (TICKS / 3));
  }

  #prepared() {
    const ratio = devicePixelRatio;
    const size = Math.round(this.#canvas.clientWidth * ratio);
    if (this.#canvas.width !== size) this.#canvas.width = this.#canvas.height = size;
    const context = this.#canvas.getContext('2d');
    context?.setTransform(ratio, 0, 0, ratio, 0, 0);
    context?.clearRect(0, 0, size, size);
    return context;
  }
}

/** @param {number[]} levels newest first @param {number} level */
function push(levels, level) {
  levels.pop();
  levels.unshift(level);
}

/** Ripples grow weaker on their way. @param {number} distance in ticks */
function fade(distance) {
  return Math.max(0, 1 - distance / HALF) ** 0.7;
}

/** Loudness as the ear has it. @param {number} level RMS @returns {number} 0 to 1 */
function loudness(level) {
  const decibels = 20 * Math.log10(level + 1e-9);
  return Math.min(1, Math.max(0, 1 - decibels / FLOOR_DB) * 1.25);
}

/** @param {HTMLElement} element @returns {Colours} */
function coloursOf(element) {
  const style = getComputedStyle(element);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return { rest: colour('--tick'), user: colour('--you'), agent: colour('--agent'), think: colour('--ink') };
}
