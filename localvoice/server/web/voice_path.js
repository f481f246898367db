/**
 * Voice both ways: over WebRTC where that connects, else over the WebSocket. There the agent's sound comes
 * in messages by itself, so only the microphone needs a way.
 * @module
 */

import { Uplink } from './uplink.js';
import { VoiceLink } from './voice.js';

/**
 * `socket`: over the WebSocket. `unsupported`: no way at all for the microphone.
 * @typedef {'off'|'connecting'|'on'|'lost'|'socket'|'unsupported'} Voice
 */

/** Errors of the server that mean: not by WebRTC. */
const REFUSALS = ['WEBRTC_UNAVAILABLE', 'CONNECTION_FAILED'];

export class VoicePath {
  /** Once WebRTC has failed it is not tried again in this conversation: each try takes seconds. */
  #bySocket = false;
  /** Whether WebRTC has connected before: if it then fails, that lies in the moment. */
  #hasWorked = false;
  /** @type {MediaStream|null} */
  #stream = null;
  #link;
  #uplink;
  #onStatus;

  /**
   * @param {(offer: import('./messages.js').SessionDescription) => void} sendOffer
   * @param {(data: string, sampleRate: number) => void} sendChunk
   * @param {(sound: MediaStream) => void} onSound
   * @param {(status: Voice) => void} onStatus
   */
  constructor(sendOffer, sendChunk, onSound, onStatus) {
    this.#onStatus = onStatus;
    this.#uplink = new Uplink(sendChunk);
    this.#link = new VoiceLink(sendOffer, onSound, (status) => {
      if (status === 'on') this.#hasWorked = true;
      if (status === 'failed') this.#fallBack();
      else if (!this.#bySocket) onStatus(status);
    });
  }

  /** Finds a way, or waits for the search that runs. @returns {Promise<boolean>} false if closed in the meantime */
  async open() {
    if (this.#bySocket) this.#onStatus('socket');
    else if (typeof RTCPeerConnection === 'undefined') this.#fallBack();
    else await this.#link.open();
    return this.#bySocket || this.#link.connected;
  }

  /**
   * What is sent from now on, whichever way.
   * @param {MediaStream|null} stream
   * @returns {Promise<boolean>} whether this browser can send it
   */
  async setStream(stream) {
    this.#stream = stream;
    await this.#link.setTrack(stream?.getAudioTracks()[0] ?? null);
    return this.#carry();
  }

  /** @param {RTCSessionDescriptionInit} answer of the server */
  answer(answer) {
    return this.#link.answer(answer);
  }

  /** Whether an `error` of the server was about WebRTC, and so is dealt with. @param {string} code */
  refused(code) {
    if (!REFUSALS.includes(code)) return false;
    this.#link.refuse();
    return true;
  }

  /** Silences what the browser still holds of a reply that the user speaks over. @param {boolean} audible */
  setAudible(audible) {
    this.#link.setAudible(audible);
  }

  /** The connection to the server is gone; `open()` finds a way again. */
  drop() {
    if (this.#hasWorked) this.#bySocket = false;
    if (!this.#bySocket) this.#uplink.stop();
    this.#link.close();
  }

  /** Hangs up; `open()` starts again. */
  close() {
    this.#bySocket = false;
    this.#stream = null;
    this.#uplink.stop();
    this.#link.close();
  }

  #fallBack() {
    this.#bySocket = true;
    this.#onStatus('socket');
    this.#carry();
  }

  async #carry() {
    if (!this.#bySocket || !this.#stream) {
      this.#uplink.stop();
      return true;
    }
    try {
      await this.#uplink.start(this.#stream);
      return true;
    } catch (error) {
      console.error('localvoice: the microphone can’t be sent over the WebSocket', error);
      this.#onStatus('unsupported');
      return false;
    }
  }
}
