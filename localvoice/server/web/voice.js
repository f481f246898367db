/**
 * Voice both ways over WebRTC: one peer connection, an audio track each way, no renegotiation.
 * @module
 */

/**
 * `failed`: it never connected. `lost`: it was connected, and then the connection broke.
 * @typedef {'off'|'connecting'|'on'|'failed'|'lost'} VoiceStatus
 */

/** All candidates travel in the offer; on one machine they are there in a few milliseconds. */
const GATHER_WITHIN_MS = 1_000;
const CONNECT_WITHIN_MS = 5_000;
/** A short network hiccup passes by itself; after this long the connection is given up. */
const HICCUP_MS = 3_000;

export class VoiceLink {
  /** @type {RTCPeerConnection|null} */
  #peer = null;
  /** @type {RTCRtpSender|null} */
  #sender = null;
  /** What we send. @type {MediaStreamTrack|null} */
  #track = null;
  /** What we hear. @type {MediaStreamTrack|null} */
  #sound = null;
  /** @type {Promise<boolean>|null} */
  #opening = null;
  /** Ends the attempt that runs. @type {(connected: boolean) => void} */
  #settle = () => {};
  #connected = false;
  /** @type {number|undefined} */
  #hiccup;
  #sendOffer;
  #onSound;
  #onStatus;

  /**
   * @param {(offer: import('./messages.js').SessionDescription) => void} sendOffer
   * @param {(sound: MediaStream) => void} onSound gets the agent's sound before it flows, so that it can be
   *   set to play inside the gesture that opened the link (Safari insists)
   * @param {(status: VoiceStatus) => void} onStatus
   */
  constructor(sendOffer, onSound, onStatus) {
    this.#sendOffer = sendOffer;
    this.#onSound = onSound;
    this.#onStatus = onStatus;
  }

  get connected() {
    return this.#connected;
  }

  /** Connects, or waits for the attempt that runs. @returns {Promise<boolean>} whether voice is connected */
  open() {
    this.#opening ??= this.#open();
    return this.#opening;
  }

  /** The server's answer to the offer. @param {RTCSessionDescriptionInit} answer */
  async answer(answer) {
    // An answer to a peer connection that has been given up fits no other one.
    if (this.#peer?.signalingState !== 'have-local-offer') return;
    try {
      await this.#peer.setRemoteDescription(answer);
    } catch (error) {
      console.error('localvoice: the answer of the server was refused', error);
      this.#settle(false);
    }
  }

  /** What is sent from now on; kept for the next connection, too. @param {MediaStreamTrack|null} track */
  async setTrack(track) {
    this.#track = track;
    await this.#sender?.replaceTrack(track);
  }

  /**
   * Silences what the browser still holds of a reply that the user speaks over: its jitter buffer is a tenth of
   * a second and more. @param {boolean} audible
   */
  setAudible(audible) {
    if (this.#sound) this.#sound.enabled = audible;
  }

  /** The server says that the connection can't be made, or is broken. */
  refuse() {
    this.#lose();
  }

  /** Hangs up; `open()` connects again. */
  close() {
    this.#settle(false);
    this.#discard();
    this.#onStatus('off');
  }

  /** @returns {Promise<boolean>} */
  async #open() {
    this.#onStatus('connecting');
    const peer = new RTCPeerConnection({ iceServers: [] });
    this.#peer = peer;
    /** @type {Promise<boolean>} */
    const settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
    const timer = setTimeout(() => this.#settle(false), CONNECT_WITHIN_MS);
    this.#negotiate(peer).catch((/** @type {unknown} */ error) => {
      if (this.#peer !== peer) return; // closed in the meantime
      console.error('localvoice: the offer failed', error);
      this.#settle(false);
    });
    const connected = await settled;
    clearTimeout(timer);
    if (this.#peer !== peer) return false; // closed in the meantime, and reported so
    if (!connected) this.#discard();
    this.#connected = connected;
    this.#onStatus(connected ? 'on' : 'failed');
    return connected;
  }

  /** @param {RTCPeerConnection} peer */
  async #negotiate(peer) {
    // The server sends the same messages here and on the WebSocket; only the latter is read.
    const channel = peer.createDataChannel('data', { ordered: true });
    channel.onclose = () => this.#peer === peer && this.#lose();
    const transceiver = peer.addTransceiver('audio', { direction: 'sendrecv' });
    this.#sender = transceiver.sender;
    this.#sound = transceiver.receiver.track;
    peer.onconnectionstatechange = () => this.#connectionChanged(peer);
    this.#onSound(new MediaStream([transceiver.receiver.track]));
    await transceiver.sender.replaceTrack(this.#track);
    await peer.setLocalDescription();
    await gathered(peer);
    const sdp = peer.localDescription?.sdp ?? '';
    if (this.#peer !== peer) return;
    // No network interface but the loopback gives no candidates, and then nothing can ever connect.
    if (sdp.includes('a=candidate')) this.#sendOffer({ type: 'offer', sdp });
    else this.#settle(false);
  }

  /** @param {RTCPeerConnection} peer */
  #connectionChanged(peer) {
    if (this.#peer !== peer) return;
    clearTimeout(this.#hiccup);
    if (peer.connectionState === 'connected') this.#settle(true);
    else if (peer.connectionState === 'failed') this.#lose();
    else if (peer.connectionState === 'disconnected') this.#hiccup = setTimeout(() => this.#lose(), HICCUP_MS);
  }

  #lose() {
    if (!this.#connected) return this.#settle(false);
    this.#discard();
    this.#onStatus('lost');
  }

  #discard() {
    clearTimeout(this.#hiccup);
    this.#connected = false;
    const peer = this.#peer;
    this.#peer = this.#sender = this.#sound = this.#opening = null;
    peer?.close();
  }
}

/** @param {RTCPeerConnection} peer @returns {Promise<void>} */
function gathered(peer) {
  return new Promise((resolve) => {
    const done = () => peer.iceGatheringState === 'complete' && resolve();
    peer.onicegatheringstatechange = done;
    setTimeout(resolve, GATHER_WITHIN_MS);
    done();
  });
}
