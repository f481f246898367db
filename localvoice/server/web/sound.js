/**
 * Sound that is measured or made here: level meters, and speech that comes over the WebSocket.
 * @module
 */

/** @type {AudioContext|null} */
let shared = null;

/** The page's one context for metering. First called inside a gesture, or browsers keep it silent. */
export function audioContext() {
  shared ??= new AudioContext();
  if (shared.state === 'suspended') shared.resume().catch(() => {}); // tried again at the next gesture
  return shared;
}

/** Lets the sound hardware rest until the next gesture. */
export function restAudio() {
  shared?.suspend();
}

/** How loud a stream is at this moment. */
export class Meter {
  /** @type {AnalyserNode|null} */
  #analyser = null;
  /** @type {MediaStreamAudioSourceNode|null} */
  #source = null;

  /** @param {MediaStream} stream */
  listenTo(stream) {
    this.stop();
    const context = audioContext();
    this.#analyser ??= newAnalyser(context);
    this.#source = context.createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }

  stop() {
    this.#source?.disconnect();
    this.#source = null;
  }

  /** @returns {number} RMS of the last 20 ms, 0 to 1 */
  level() {
    return this.#source && this.#analyser ? rms(this.#analyser) : 0;
  }
}

/** Chunks are sent as they are spoken; this much is held back so that a late one leaves no gap. */
const LEAD_SECONDS = 0.12;
/** Bytes before a WAV file's samples, and where in them its rate stands. */
const WAV_HEADER = 44;
const WAV_RATE_AT = 24;

/** Plays `tts-chunk` messages one after the other without gaps. */
export class SpeechPlayer {
  /** @type {AudioContext|null} */
  #context = null;
  /** @type {AnalyserNode|null} */
  #analyser = null;
  /** @type {Set<AudioBufferSourceNode>} */
  #playing = new Set();
  /** When the chunk after the last one has to start, in the context's time. */
  #next = 0;
  #onBlocked;

  /** @param {() => void} onBlocked the browser wants a gesture before it plays anything */
  constructor(onBlocked) {
    this.#onBlocked = onBlocked;
  }

  /** @param {string} data base64 of mono s16le samples @param {number} rate in Hz */
  play(data, rate) {
    this.#schedule(samplesOf(bytesOf(data)), rate);
  }

  /** @param {string} data base64 of a mono 16-bit WAV file with the plain header that the server writes */
  playWav(data) {
    const bytes = bytesOf(data);
    this.#schedule(samplesOf(bytes.subarray(WAV_HEADER)), new DataView(bytes.buffer).getUint32(WAV_RATE_AT, true));
  }

  /** @param {Float32Array<ArrayBuffer>} samples @param {number} rate */
  #schedule(samples, rate) {
    if (samples.length === 0) return;
    const { context, analyser } = this.#output(rate);
    const buffer = context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(analyser);
    if (this.#next < context.currentTime) this.#next = context.currentTime + LEAD_SECONDS;
    source.start(this.#next);
    this.#next += buffer.duration;
    this.#playing.add(source);
    source.onended = () => this.#playing.delete(source);
  }

  /** Silence at once; what was scheduled is thrown away. */
  stop() {
    for (const source of this.#playing) source.stop();
    this.#playing.clear();
    this.#next = 0;
  }

  /** Inside a gesture: lets a held back voice out. */
  resume() {
    return this.#context?.resume();
  }

  /** @returns {number} RMS, 0 to 1 */
  level() {
    return this.#analyser && this.#playing.size > 0 ? rms(this.#analyser) : 0;
  }

  /**
   * The context runs at the speech's own rate: the browser resamples once, at its output, and no seam
   * between two chunks can be heard.
   * @param {number} rate
   */
  #output(rate) {
    if (this.#context?.sampleRate !== rate || !this.#analyser) {
      this.#context?.close();
      this.#context = new AudioContext({ sampleRate: rate });
      this.#analyser = newAnalyser(this.#context);
      this.#analyser.connect(this.#context.destination);
      this.#next = 0;
    }
    const context = this.#context;
    if (context.state === 'suspended') {
      context.resume().catch(() => {}); // whether it helped is looked at below
      setTimeout(() => context.state === 'suspended' && this.#onBlocked(), 300);
    }
    return { context, analyser: this.#analyser };
  }
}

/** @param {AudioContext} context */
function newAnalyser(context) {
  return new AnalyserNode(context, { fftSize: 1024 });
}

/** @param {AnalyserNode} analyser @returns {number} */
function rms(analyser) {
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.sqrt(sum / samples.length);
}

/** @param {string} data base64 */
function bytesOf(data) {
  return Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
}

/** @param {Uint8Array} bytes s16le @returns {Float32Array<ArrayBuffer>} */
function samplesOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const samples = new Float32Array(bytes.length >> 1);
  for (let i = 0; i < samples.length; i += 1) samples[i] = view.getInt16(2 * i, true) / 32_768;
  return samples;
}
