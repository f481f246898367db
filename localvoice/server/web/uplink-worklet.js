/**
 * In the audio thread: the microphone's samples, gathered into chunks. Loaded as an AudioWorklet module.
 * @module
 */

/** Each chunk is a message: 20 a second are far below the server's limit, and 50 ms late is not noticed. */
const CHUNK_SECONDS = 0.05;
/** The server takes up to 48 kHz; some sound cards run at twice that and more. */
const MAX_RATE = 48_000;

const step = Math.ceil(sampleRate / MAX_RATE);
const rate = sampleRate / step;

class Uplink extends AudioWorkletProcessor {
  #chunk = newChunk();
  #filled = 0;
  /** Of the samples that become one at a lower rate. */
  #sum = 0;
  #summed = 0;
  #running = true;

  constructor() {
    super();
    this.port.onmessage = () => {
      this.#running = false; // any message means stop; otherwise the browser would go on calling it
    };
  }

  /** @param {Float32Array[][]} inputs mono @returns {boolean} whether to go on */
  process(inputs) {
    for (const sample of inputs[0]?.[0] ?? []) this.#add(sample);
    return this.#running;
  }

  /** @param {number} sample */
  #add(sample) {
    this.#sum += sample;
    this.#summed += 1;
    if (this.#summed < step) return;
    // Int16Array keeps the low 16 bits of what is too large, and that would crack.
    this.#chunk[this.#filled] = Math.max(-32_768, Math.min(32_767, Math.round((32_768 * this.#sum) / step)));
    this.#sum = this.#summed = 0;
    this.#filled += 1;
    if (this.#filled === this.#chunk.length) this.#post();
  }

  #post() {
    this.port.postMessage({ samples: this.#chunk.buffer, rate }, [this.#chunk.buffer]);
    this.#chunk = newChunk();
    this.#filled = 0;
  }
}

function newChunk() {
  return new Int16Array(Math.round(CHUNK_SECONDS * rate));
}

registerProcessor('uplink', Uplink);
