/**
 * The microphone: asked for, muted, let go; each refusal named.
 * @module
 */

/** @typedef {import('./problems.js').ProblemId} ProblemId */

const WANTED = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } };
/**
 * After "stop", silence is sent for this long. The server measures the end of an utterance in silence, so
 * without it the last words before "stop" would wait unanswered.
 */
const SILENT_TAIL_MS = 2_000;

/** The microphone can't be had; says which problem to show. */
export class MicrophoneError extends Error {
  /** @param {ProblemId} problem @param {unknown} cause */
  constructor(problem, cause) {
    super(`microphone: ${problem}`, { cause });
    this.problem = problem;
  }
}

export class Microphone {
  /** @type {MediaStream|null} */
  #stream = null;
  /** The browser's question that is not answered yet. @type {Promise<MediaStream>|null} */
  #asking = null;
  /** @type {number|undefined} */
  #tail;
  #onReleased;
  #onLost;

  /**
   * @param {() => void} onReleased the device has been let go after `close()`
   * @param {() => void} onLost it was unplugged or taken away
   */
  constructor(onReleased, onLost) {
    this.#onReleased = onReleased;
    this.#onLost = onLost;
  }

  /**
   * Opens the default microphone; the browser may ask the user first.
   * @returns {Promise<MediaStream>} with one audio track
   * @throws {MicrophoneError}
   */
  async open() {
    clearTimeout(this.#tail);
    const stream = this.#stream ?? (await this.#ask());
    this.#stream = stream;
    const [track] = stream.getAudioTracks();
    if (!track) throw new MicrophoneError('mic-broken', null);
    track.onended = () => {
      this.#release();
      this.#onLost();
    };
    track.enabled = true;
    return stream;
  }

  #ask() {
    this.#asking ??= request().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  /** A muted microphone sends silence, so the connection stays alive. @param {boolean} muted */
  mute(muted) {
    for (const track of this.#stream?.getTracks() ?? []) track.enabled = !muted;
  }

  /** Sends silence from now on and lets the device go a little later. */
  close() {
    if (!this.#stream) return;
    this.mute(true);
    clearTimeout(this.#tail);
    this.#tail = setTimeout(() => this.release(), SILENT_TAIL_MS);
  }

  /** Lets the device go at once. */
  release() {
    if (!this.#stream) return;
    this.#release();
    this.#onReleased();
  }

  #release() {
    clearTimeout(this.#tail);
    for (const track of this.#stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.#stream = null;
  }
}

/** Why this page can't even ask for the microphone, if so. @returns {ProblemId|null} */
export function microphoneObstacle() {
  // Outside HTTPS and localhost browsers hide it, whatever its type says.
  const devices = /** @type {MediaDevices|undefined} */ (navigator.mediaDevices);
  if (devices) return null;
  return isSecureContext ? 'mic-unsupported' : 'mic-insecure';
}

/** @returns {Promise<MediaStream>} */
async function request() {
  const obstacle = microphoneObstacle();
  if (obstacle) throw new MicrophoneError(obstacle, null);
  try {
    return await navigator.mediaDevices.getUserMedia(WANTED);
  } catch (error) {
    throw new MicrophoneError(await nameOf(error), error);
  }
}

/** @param {unknown} error @returns {Promise<ProblemId>} */
async function nameOf(error) {
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError') return (await permission()) === 'prompt' ? 'mic-dismissed' : 'mic-refused';
  if (name === 'NotFoundError') return 'mic-missing';
  if (name === 'NotReadableError' || name === 'AbortError') return 'mic-busy';
  return 'mic-broken';
}

/** The browser's standing answer for this page. @returns {Promise<PermissionState|'unknown'>} */
async function permission() {
  try {
    return (await navigator.permissions.query({ name: /** @type {PermissionName} */ ('microphone') })).state;
  } catch {
    return 'unknown'; // older browsers don't know this permission's name
  }
}
