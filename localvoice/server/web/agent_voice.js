/**
 * The agent's voice, whichever way it comes: as a WebRTC track or in messages.
 * @module
 */

import { Meter, SpeechPlayer, audioContext } from './sound.js';

export class AgentVoice {
  #element;
  #meter = new Meter();
  #player;
  #onBlocked;

  /**
   * @param {HTMLAudioElement} element plays the track
   * @param {() => void} onBlocked the browser wants a gesture before it plays anything
   */
  constructor(element, onBlocked) {
    this.#element = element;
    this.#onBlocked = onBlocked;
    this.#player = new SpeechPlayer(onBlocked);
  }

  /** @param {MediaStream} sound of the track, from now on */
  playTrack(sound) {
    this.#element.srcObject = sound;
    this.#meter.listenTo(sound);
    this.#element.play().catch((/** @type {unknown} */ error) => {
      if (error instanceof DOMException && error.name === 'NotAllowedError') this.#onBlocked();
    });
  }

  /** @param {import('./messages.js').TtsMessage|import('./messages.js').TtsChunk} message */
  playMessage(message) {
    if (message.type === 'tts') this.#player.playWav(message.data);
    else this.#player.play(message.data, message.sampleRate);
  }

  /** What came in messages is thrown away at once. The track's sound is the `VoiceLink`'s. */
  hush() {
    this.#player.stop();
  }

  /** The conversation has ended. */
  rest() {
    this.#meter.stop();
    this.#player.stop();
  }

  /** Inside a gesture: lets a held back voice out. */
  unblock() {
    audioContext();
    this.#player.resume();
    this.#element.play().catch(() => {}); // without WebRTC there is nothing in it to play
  }

  /** @returns {number} RMS at this moment, 0 to 1 */
  level() {
    return Math.max(this.#meter.level(), this.#player.level());
  }
}
