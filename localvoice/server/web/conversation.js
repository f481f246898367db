/**
 * What was said, as a list of entries, made from the server's messages. Knows no DOM.
 * @module
 */

/** @typedef {import('./messages.js').Metrics} Metrics */
/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/**
 * @typedef {Object} Entry
 * @property {number} id
 * @property {'user'|'agent'|'tool'|'stage'|'note'} role
 * @property {string} text
 * @property {boolean} open words may still be added or change
 * @property {'interrupted'|'dropped'|null} cut why a reply was not spoken to its end
 * @property {string|null} heard of a cut reply: the words that the user heard, once known
 * @property {Metrics|null} metrics
 * @property {string[]} pictures that went with the user's words, as data: URLs
 * @property {'running'|'done'|'failed'|'stopped'|null} outcome of a tool
 * @property {string} detail more about a tool or a stage
 */

/** @type {Omit<Entry, 'id'>} */
const EMPTY = {
  role: 'note',
  text: '',
  open: false,
  cut: null,
  heard: null,
  metrics: null,
  pictures: [],
  outcome: null,
  detail: '',
};

export class Conversation {
  /** @type {Entry[]} */
  #entries = [];
  #nextId = 0;
  /** The reply that is being written or spoken; nothing else can be cut. @type {Entry|null} */
  #live = null;
  #speaking = false;
  /** What comes after a cut, before the next turn begins, was on its way when the reply was cut. */
  #stale = false;
  /** Tools that run, by the id of their call. @type {Map<string, Entry>} */
  #tools = new Map();
  /** Pictures that wait for the user's next words. @type {string[]} */
  #pictures = [];
  #onChange;

  /** @param {(entry: Entry, removed: boolean) => void} onChange for each entry that is new, changed or removed */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** @param {ServerMessage} message of any type; those that say nothing here are passed over */
  receive(message) {
    switch (message.type) {
      case 'transcript': return this.#heardUser(message.text, message.isFinal);
      case 'llm-chunk': return this.#writing(message.content, message.done);
      case 'llm': return this.#written(message.text);
      case 'reply-heard': return this.#heardAgent(message.text);
      case 'turn-metrics': return this.#measured(message);
      case 'tool-call-start': return this.#toolStarted(message);
      case 'tool-call-end': return this.#toolEnded(message);
      case 'forgotten': return this.#forgotten(message);
      case 'stage-change': return void this.#add('stage', { text: `${message.from} → ${message.to}`, detail: message.reason });
      default: return this.#progress(message);
    }
  }

  /** @param {ServerMessage} message */
  #progress(message) {
    switch (message.type) {
      case 'tts-start': return void (this.#speaking = true);
      case 'tts-complete': return this.#ended();
      case 'tts-cancelled': return this.#cut('interrupted');
      case 'state': return this.#stateChanged(message.state);
      default:
    }
  }

  /** The user's typed words; they cut a running reply short, as speech does. @param {string} text */
  type(text) {
    this.#interruptUnspoken();
    this.#add('user', { text });
  }

  /** Pictures that the server has, or soon gets, for the user's next words. @param {string[]} pictures */
  attach(pictures) {
    this.#pictures.push(...pictures);
  }

  /** How many pictures wait for the user's next words. */
  get attached() {
    return this.#pictures.length;
  }

  /** The server has forgotten what it knew. */
  forget() {
    this.#pictures = [];
  }

  /** The last of what was said is to be seen no more; the page's own remarks are. @param {import('./messages.js').Forgotten} message */
  #forgotten({ exchanges, all, said }) {
    this.#pictures = [];
    this.#live = null;
    this.#tools.clear();
    const words = this.#entries.filter((entry) => entry.role === 'user');
    const count = exchanges + (said ? 1 : 0); // asked for in words, these are the last
    const oldest = all ? undefined : words[words.length - count];
    const first = oldest ? this.#entries.indexOf(oldest) : 0;
    if (!all && !exchanges) return;
    const gone = this.#entries.filter((entry, index) => index >= first && entry.role !== 'note');
    for (const entry of gone) this.#remove(entry);
  }

  /** The connection dropped, and with it what was running. */
  drop() {
    if (this.#live?.open || this.#speaking) this.#cut('dropped');
    this.#stopTools();
    const words = this.#last('user');
    if (words?.open) this.#change(words, { open: false });
  }

  /** A remark of the page itself. @param {string} text */
  note(text) {
    this.#add('note', { text });
  }

  /** @param {string} text @param {boolean} isFinal */
  #heardUser(text, isFinal) {
    const last = this.#last('user');
    const partial = last?.open ? last : null;
    if (!text.trim()) return partial && isFinal ? this.#remove(partial) : undefined;
    if (partial) return this.#change(partial, { text, open: !isFinal });
    // What the user says next begins a new turn: nothing more is written into the reply before.
    this.#close();
    this.#add('user', { text, open: !isFinal });
  }

  /** @param {string} content @param {boolean} done */
  #writing(content, done) {
    if (this.#live?.open) this.#change(this.#live, { text: this.#live.text + content, open: !done });
    else if (content && !this.#stale) this.#live = this.#add('agent', { text: content, open: !done });
  }

  /** @param {string} text */
  #written(text) {
    if (this.#live) this.#change(this.#live, { text, open: false });
    else if (text && !this.#stale) this.#live = this.#add('agent', { text });
  }

  /** @param {string} state of the agent */
  #stateChanged(state) {
    if (state === 'thinking') this.#stale = false;
    else if (state === 'idle') this.#rest();
  }

  #rest() {
    this.#ended();
    const words = this.#last('user');
    if (words?.open) this.#remove(words); // in the end there were none
  }

  /** @param {import('./messages.js').ToolCallStart} call */
  #toolStarted({ name, callId, arguments: given }) {
    const text = name.replaceAll('_', ' ');
    this.#tools.set(callId, this.#add('tool', { text, outcome: 'running', detail: JSON.stringify(given) }));
  }

  /** @param {import('./messages.js').ToolCallEnd} call */
  #toolEnded({ callId, error }) {
    const tool = this.#tools.get(callId);
    if (!tool) return;
    this.#tools.delete(callId);
    this.#change(tool, error === undefined ? { outcome: 'done' } : { outcome: 'failed', detail: error });
  }

  /** Nothing more will be heard of the tools that run. */
  #stopTools() {
    for (const tool of this.#tools.values()) this.#change(tool, { outcome: 'stopped' });
    this.#tools.clear();
  }

  /** The turn is over, and its reply heard to the end. */
  #ended() {
    this.#speaking = false;
    this.#close();
  }

  #close() {
    if (this.#live?.open) this.#change(this.#live, { open: false });
    this.#live = null;
  }

  /** @param {'interrupted'|'dropped'} reason */
  #cut(reason) {
    this.#speaking = false;
    if (this.#live) this.#change(this.#live, { cut: reason, open: false });
    this.#live = null;
    this.#stale = true;
  }

  /** A reply that was written but not yet aloud is given up without `tts-cancelled`. */
  #interruptUnspoken() {
    if (!this.#live || this.#speaking) return;
    this.#change(this.#live, { heard: '' });
    this.#cut('interrupted');
  }

  /** @param {string} heard */
  #heardAgent(heard) {
    if (this.#live) this.#cut('interrupted');
    const reply = this.#last('agent');
    if (reply?.cut === 'interrupted') this.#change(reply, { heard });
  }

  /** @param {Metrics} metrics */
  #measured(metrics) {
    const reply = this.#live ?? this.#last('agent');
    if (reply && !reply.metrics) this.#change(reply, { metrics });
  }

  /** @param {Entry['role']} role */
  #last(role) {
    return this.#entries.findLast((entry) => entry.role === role);
  }

  /** @param {Entry['role']} role @param {Partial<Entry>} fields @returns {Entry} */
  #add(role, fields) {
    const entry = { ...EMPTY, ...fields, id: this.#nextId, role };
    this.#nextId += 1;
    if (role === 'user') {
      entry.pictures = this.#pictures;
      this.#pictures = [];
    }
    this.#entries.push(entry);
    this.#onChange(entry, false);
    return entry;
  }

  /** @param {Entry} entry @param {Partial<Entry>} patch */
  #change(entry, patch) {
    this.#onChange(Object.assign(entry, patch), false);
  }

  /** @param {Entry} entry */
  #remove(entry) {
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    this.#onChange(entry, true);
  }
}

/**
 * Splits a cut reply into the words heard and the rest. The heard words were cleaned for speech (no markup,
 * other spaces), so only letters and digits are compared.
 * @param {string} text the reply as written
 * @param {string} heard
 * @returns {[string, string]}
 */
export function splitHeard(text, heard) {
  const letters = [...heard.matchAll(/[\p{L}\p{N}]/gu)].map(([letter]) => letter.toLowerCase());
  if (letters.length === 0) return ['', text];
  let found = 0;
  for (const match of text.matchAll(/[\p{L}\p{N}]/gu)) {
    if (match[0].toLowerCase() !== letters[found]) break;
    found += 1;
    if (found < letters.length) continue;
    const rest = text.slice(match.index + match[0].length);
    const stop = rest.match(/^[^\p{L}\p{N}\s]*/u)?.[0].length ?? 0; // a full stop goes with its word
    return [text.slice(0, text.length - rest.length + stop), rest.slice(stop)];
  }
  return [heard, '']; // the speech said it in other words; then only those are certain
}
