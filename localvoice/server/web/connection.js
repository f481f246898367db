/**
 * The WebSocket to the server: heartbeat, reconnection with backoff, and the session that outlives a drop.
 * @module
 */

/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./messages.js').ClientMessage} ClientMessage */
/** @typedef {'connecting'|'ready'|'lost'|'ended'} Link */
/**
 * @typedef {Object} LinkChange
 * @property {Link} link
 * @property {boolean|null} resumed after a drop: whether the server still knew the session; else null
 * @property {number|undefined} seconds after which to come back, if the server is full now
 */

const PING_EVERY_MS = 15_000;
/** A server that is this late with its pong is gone, though the socket may not know it yet. */
const PONG_WITHIN_MS = 10_000;
/** From opening the socket to `ready`. */
const READY_WITHIN_MS = 5_000;
/** A server that does not answer `reconnect` in this time has no session for us. */
const RESUMED_WITHIN_MS = 3_000;
/** A full server says `ready` all the same, and a quarter of a second later that it is full. */
const ADMITTED_AFTER_MS = 400;
const TRY_AGAIN_LATER = 1013;
/** Tells a full server that we understand its close with 1013; it answers others with a bare HTTP 503. */
const PROTOCOL = 'localvoice';
/** Two seconds of sound that the server hasn't taken yet: what comes then is dropped. */
const MOST_BEHIND_BYTES = 256 * 1024;
const BACKOFF_MS = [300, 700, 1_500, 3_000, 6_000];
const LONGEST_BACKOFF_MS = 10_000;

export class Connection {
  /** @type {WebSocket|null} */
  #socket = null;
  /** @type {string|null} */
  #sessionId = null;
  /** The session to go on with, while a new connection waits for `reconnect-ack`. @type {string|null} */
  #resuming = null;
  #attempt = 0;
  /** Whether the server was full the last time. */
  #refused = false;
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
   * @param {(message: ServerMessage) => void} onMessage
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

  /** @param {ClientMessage} message @returns {boolean} whether it could be sent */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Sends sound, unless more of it waits than is worth hearing. @param {import('./messages.js').AudioChunk} message */
  sendSound(message) {
    if (this.#link === 'ready' && (this.#socket?.bufferedAmount ?? 0) < MOST_BEHIND_BYTES) this.send(message);
  }

  #connect() {
    this.#discardSocket();
    const socket = new WebSocket(this.#url, PROTOCOL);
    this.#socket = socket;
    socket.onmessage = (event) => this.#receive(/** @type {ServerMessage} */ (JSON.parse(event.data)));
    socket.onclose = (event) => this.#drop(secondsToWait(event));
    this.#after('ready', READY_WITHIN_MS, () => this.#drop());
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    if (message.type === 'ready') this.#welcome(message.id);
    else if (message.type === 'reconnect-ack') this.#resumed(message.success, message.sessionId);
    else if (message.type === 'pong') this.#cancel('pong');
    else if (!this.#concernsAdmission(message)) this.#onMessage(message);
  }

  /**
   * An error about a session to resume, or one before a session has begun: what follows it says enough.
   * @param {ServerMessage} message
   */
  #concernsAdmission(message) {
    if (message.type !== 'error') return false;
    if (message.code === 'RATE_LIMITED') return this.#link !== 'ready';
    return this.#resuming !== null && message.code.startsWith('SESSION_');
  }

  /** @param {string} id */
  #welcome(id) {
    this.#cancel('ready');
    this.#resuming = this.#sessionId;
    this.#sessionId = id;
    this.#after('ping', PING_EVERY_MS, () => this.#ping());
    if (!this.#resuming) {
      // The user needn't see the problem go and come at each attempt.
      if (this.#refused) this.#after('admitted', ADMITTED_AFTER_MS, () => this.#established(null));
      else this.#established(null);
      return;
    }
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
    this.#refused = false;
    this.#setLink('ready', resumed);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #ping() {
    this.send({ type: 'ping', timestamp: Date.now() });
    if (!this.#timers.has('pong')) this.#after('pong', PONG_WITHIN_MS, () => this.#drop());
    this.#after('ping', PING_EVERY_MS, () => this.#ping());
  }

  /** @param {number} [seconds] after which to come back to a full server */
  #drop(seconds) {
    // A drop in the middle of resuming must not lose the session that was to be resumed.
    this.#sessionId = this.#resuming ?? this.#sessionId;
    this.#resuming = null;
    this.#discardSocket();
    this.#refused = seconds !== undefined;
    this.#setLink('lost', null, seconds);
    const wait = seconds !== undefined ? 1_000 * seconds : BACKOFF_MS[this.#attempt] ?? LONGEST_BACKOFF_MS;
    this.#attempt += 1;
    // Jitter: several tabs must not come back in the same instant.
    const jitter = seconds === undefined ? 0.8 + Math.random() * 0.4 : 1 + Math.random() * 0.2;
    this.#after('retry', wait * jitter, () => this.#connect());
  }

  #discardSocket() {
    for (const name of [...this.#timers.keys()]) this.#cancel(name);
    if (!this.#socket) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  /** @param {Link} link @param {boolean|null} [resumed] @param {number} [seconds] */
  #setLink(link, resumed = null, seconds = undefined) {
    this.#link = link;
    this.#onLink({ link, resumed, seconds });
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

/** When to come back to a full server. @param {CloseEvent} event @returns {number|undefined} */
function secondsToWait(event) {
  if (event.code !== TRY_AGAIN_LATER) return undefined;
  return Number(/^retry-after=(\d+)$/.exec(event.reason)?.[1] ?? 5);
}

/**
 * The server's WebSocket address for a page's own, which a reverse proxy may have put below a path; captions
 * want what is still being said.
 * @param {Location} page
 */
export function socketUrl(page) {
  const url = new URL('ws?interim=true', page.href);
  url.protocol = page.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}
