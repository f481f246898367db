/**
 * Talking by microphone: switched on and off, muted, lost, and silent when it shouldn't be.
 * @module
 */

import { Microphone, MicrophoneError } from './microphone.js';
import { problem } from './problems.js';
import { Meter } from './sound.js';
import { SilenceWatch } from './silence_watch.js';
import { micOpen } from './state.js';

export class Talking {
  #store;
  #voice;
  #openVoice;
  #meter = new Meter();
  #microphone;
  #silenceWatch;

  /**
   * @param {import('./state.js').Store} store
   * @param {import('./voice_path.js').VoicePath} voice takes the microphone's sound
   * @param {() => Promise<boolean>} openVoice connects it; whether it is connected
   */
  constructor(store, voice, openVoice) {
    this.#store = store;
    this.#voice = voice;
    this.#openVoice = openVoice;
    this.#microphone = new Microphone(() => voice.setStream(null), () => this.#lost());
    this.#silenceWatch = new SilenceWatch(() => this.#meter.level(), (silent) => this.#silenceChanged(silent));
  }

  /** @returns {number} RMS of the microphone at this moment, 0 to 1 */
  level() {
    return this.#meter.level();
  }

  /** Inside a gesture: asks for the microphone and sends its sound. */
  async start() {
    this.#store.setProblem('mic', undefined);
    this.#store.update({ mic: 'asking' });
    const connecting = this.#openVoice(); // while the user reads the browser's question
    try {
      const stream = await this.#microphone.open();
      const connected = await connecting;
      // After "End", or without a connection, the server would not hear the microphone.
      if (!connected || this.#store.state.mic !== 'asking') return this.stop();
      if (!(await this.#voice.setStream(stream))) return this.stop();
      this.#meter.listenTo(stream);
      this.#store.update({ mic: 'on' });
      this.#silenceWatch.start();
    } catch (error) {
      this.#store.update({ mic: 'off' });
      if (!(error instanceof MicrophoneError)) throw error;
      console.warn(error.message, error.cause);
      this.#store.setProblem('mic', problem(error.problem));
    }
  }

  /** Sends silence, then lets the microphone go. */
  stop() {
    this.#microphone.close();
    this.#meter.stop();
    this.#silenceWatch.stop();
    this.#store.update({ mic: 'off', micSilent: false });
  }

  /** The conversation has ended: lets the microphone go at once. The caller updates the state. */
  end() {
    this.#microphone.release();
    this.#meter.stop();
    this.#silenceWatch.stop();
  }

  /** Switches between muted and not muted. */
  mute() {
    if (!micOpen(this.#store.state)) return;
    const muted = this.#store.state.mic === 'on';
    this.#microphone.mute(muted);
    if (!muted) this.#silenceWatch.start(); // the silence until now was wanted
    this.#store.update({ mic: muted ? 'muted' : 'on' });
  }

  #lost() {
    this.stop();
    this.#voice.setStream(null);
    this.#store.setProblem('mic', problem('mic-gone'));
  }

  /** @param {boolean} silent */
  #silenceChanged(silent) {
    const micSilent = silent && this.#store.state.mic === 'on';
    if (micSilent !== this.#store.state.micSilent) this.#store.update({ micSilent });
  }
}
