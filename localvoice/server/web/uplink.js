/**
 * The microphone over the WebSocket, where WebRTC can't be had.
 * @module
 */

import { audioContext } from './sound.js';

/** @type {Promise<void>|null} */
let loading = null;

/** Sends a microphone's sound in chunks while it runs. */
export class Uplink {
  /** @type {AudioWorkletNode|null} */
  #node = null;
  /** @type {MediaStreamAudioSourceNode|null} */
  #source = null;
  #starts = 0;
  #send;

  /** @param {(data: string, sampleRate: number) => void} send gets base64 of mono s16le samples, 20 a second */
  constructor(send) {
    this.#send = send;
  }

  /**
   * Sends this stream from now on, and no other.
   * @param {MediaStream} stream
   * @throws {Error} if the browser has no audio worklets, or can't load ours
   */
  async start(stream) {
    this.stop();
    const start = this.#starts;
    const context = audioContext();
    loading ??= context.audioWorklet.addModule('uplink-worklet.js').catch((/** @type {unknown} */ error) => {
      loading = null; // the server may have been away; the next try may work
      throw error;
    });
    await loading;
    if (start !== this.#starts) return; // stopped in the meantime
    this.#node = new AudioWorkletNode(context, 'uplink', { channelCount: 1, channelCountMode: 'explicit' });
    this.#node.port.onmessage = ({ data: { samples, rate } }) => this.#send(base64(samples), rate);
    this.#source = context.createMediaStreamSource(stream);
    // It puts out silence; but a node that leads nowhere isn't run by every browser.
    this.#source.connect(this.#node).connect(context.destination);
  }

  stop() {
    this.#starts += 1;
    this.#source?.disconnect();
    this.#node?.disconnect();
    this.#node?.port.postMessage('stop');
    if (this.#node) this.#node.port.onmessage = null;
    this.#source = this.#node = null;
  }
}

/** @param {ArrayBuffer} samples little-endian, as every browser's machine is */
function base64(samples) {
  return btoa(String.fromCharCode(...new Uint8Array(samples)));
}
