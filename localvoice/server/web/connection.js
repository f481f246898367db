/**
 * The WebSocket to the server: heartbeat, reconnection with backoff, and the session that outlives a drop.
 * @module
 */

/** @typedef {{type: string, [field: string]: any}} Message */
/** @typedef {'connecting'|'ready'|'lost'|'ended'} Link */
/**
 * @typedef {Object} LinkChange
 * @property {Link} link
 * @property {boolean|null} resumed after a drop: whether the server still knew the session; else null
 */

const PING_EVERY_MS = 15_000;
/** A server that is this late with its pong is gone, though the socket may not know it yet. */
const PONG_WITHIN_MS = 10_000;
/** From opening the socket to `ready`. */
const READY_WITHIN_MS = 5_000;
/** A server that never answers `reconnect` has no session for us; don't keep the user waiting for it. */
const RESUMED_WITHIN_MS = 3_000;
/** Two seconds of sound that the server hasn't taken yet: what comes then is dropped. */
const MOST_BEHIND_BYTES = 256 * 1024;
const BACKOFF_MS = [300, 700, 1_500, 3_000, 6_000, 10_000];

export class Connection {
  /** @type {WebSocket|null} */
  #socket = null;
  /** @type {string|null} */
  #sessionId = null;
  /** The session to go on with, while a new connection waits for `reconnect-ack`. @type {string|null} */
  #resuming = null;
  #attempt = 0;
  /** @type {Link} */
  #link = 'ended';
  /** @type {Map<string, number>} */
  #timers = new Map();
  /** @type {(() => void)[]} */
  #waiting = [];
  #url;
  #onMessage;
  #onLink;

  /**
   * @param {string} url
   * @param {(message: Message) => void} onMessage
   * @param {(change: LinkChange) => void} onLink
   */
  constructor(url, onMessage, onLink) {
    this.#url = url;
    this.#onMessage = onMessage;
    this.#onLink = onLink;
    addEventListener('online', () => this.retryNow());
    // Timers sleep in a hidden tab, so a retry may be long overdue when the user comes back.
    document.addEventListener('visibilitychange', () => document.hidden || this.retryNow());
  }

  /** The session that the server keeps for us. @returns {string|null} */
  get sessionId() {
    return this.#sessionId;
  }

  /** Connects, unless it already does. */
  open() {
    if (this.#link !== 'ended') return;
    this.#setLink('connecting');
    this.#connect();
  }

  /** Ends the session for good; the next `open()` begins a new one. */
  close() {
    this.#sessionId = null;
    this.#discardSocket();
    this.#setLink('ended');
  }

  /** Skips the rest of the waiting time after a drop. */
  retryNow() {
    if (this.#link === 'lost' && this.#timers.has('retry')) this.#connect();
  }

  /** Resolves as soon as messages can be sent. @returns {Promise<void>} */
  whenReady() {
    if (this.#link === 'ready') return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** @param {Message} message @returns {boolean} whether it could be sent */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Sends sound, unless more of it waits than is worth hearing. @param {Message} message */
  sendSound(message) {
    if (this.#link === 'ready' && (this.#socket?.bufferedAmount ?? 0) < MOST_BEHIND_BYTES) this.send(message);
  }

  #connect() {
    this.#discardSocket();
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = () => this.#drop();
    this.#after('ready', READY_WITHIN_MS, () => this.#drop());
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.type === 'ready') this.#welcome(message.id);
    else if (message.type === 'reconnect-ack') this.#resumed(message.success, message.sessionId);
    else if (message.type === 'pong') this.#cancel('pong');
    else if (!(this.#resuming && String(message.code).startsWith('SESSION_'))) this.#onMessage(message);
  }

  /** @param {string} id */
  #welcome(id) {
    this.#cancel('ready');
    this.#resuming = this.#sessionId;
    this.#sessionId = id;
    this.#after('ping', PING_EVERY_MS, () => this.#ping());
    if (!this.#resuming) return this.#established(null);
    this.send({ type: 'reconnect', sessionId: this.#resuming });
    this.#after('resume', RESUMED_WITHIN_MS, () => this.#resumed(false, id));
  }

  /** @param {boolean} success @param {string} sessionId */
  #resumed(success, sessionId) {
    if (!this.#resuming) return;
    this.#cancel('resume');
    this.#resuming = null;
    this.#sessionId = sessionId;
    this.#established(success);
  }

  /** @param {boolean|null} resumed */
  #established(resumed) {
    this.#attempt = 0;
    this.#setLink('ready', resumed);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #ping() {
    this.send({ type: 'ping', timestamp: Date.now() });
    if (!this.#timers.has('pong')) this.#after('pong', PONG_WITHIN_MS, () => this.#drop());
    this.#after('ping', PING_EVERY_MS, () => this.#ping());
  }

  #drop() {
    // A drop in the middle of resuming must not lose the session that was to be resumed.
    this.#sessionId = this.#resuming ?? this.#sessionId;
    this.#resuming = null;
    this.#discardSocket();
    this.#setLink('lost');
    const wait = BACKOFF_MS[Math.min(this.#attempt, BACKOFF_MS.length - 1)];
    this.#attempt += 1;
    // Jitter: several tabs must not come back in the same instant.
    this.#after('retry', wait * (0.8 + Math.random() * 0.4), () => this.#connect());
  }

  #discardSocket() {
    for (const name of [...this.#timers.keys()]) this.#cancel(name);
    if (!this.#socket) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  /** @param {Link} link @param {boolean|null} [resumed] */
  #setLink(link, resumed = null) {
    this.#link = link;
    this.#onLink({ link, resumed });
  }

  /** @param {string} name @param {number} ms @param {() => void} action */
  #after(name, ms, action) {
    this.#cancel(name);
    const timer = setTimeout(() => {
      this.#timers.delete(name);
      action();
    }, ms);
    this.#timers.set(name, timer);
  }

  /** @param {string} name */
  #cancel(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}

/** The server's WebSocket address for a page's own address. @param {Location} page */
export function socketUrl(page) {
  return `${page.protocol === 'https:' ? 'wss' : 'ws'}://${page.host}/ws`;
}
