/**
 * What was said, as a list of entries, made from the server's messages. Knows no DOM.
 * @module
 */

/** @typedef {import('./connection.js').Message} Message */
/**
 * @typedef {Object} Metrics all in ms; a field that is missing was not measured
 * @property {number} [voiceToVoiceMs]
 * @property {number} [endpointMs]
 * @property {number} [sttMs]
 * @property {number} [firstTokenMs]
 * @property {number} [firstAudioMs]
 */
/**
 * @typedef {Object} Entry
 * @property {number} id
 * @property {'user'|'agent'|'note'} role
 * @property {string} text
 * @property {boolean} open words may still be added or change
 * @property {'interrupted'|'dropped'|null} cut why a reply was not spoken to its end
 * @property {string|null} heard of a cut reply: the words that the user heard, once known
 * @property {Metrics|null} metrics
 */

export class Conversation {
  /** @type {Entry[]} */
  #entries = [];
  #nextId = 0;
  /** The reply that is being written or spoken; nothing else can be cut. @type {Entry|null} */
  #live = null;
  #speaking = false;
  #onChange;

  /** @param {(entry: Entry, removed: boolean) => void} onChange for each entry that is new, changed or removed */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** @param {Message} message of any type; those that say nothing here are passed over */
  receive(message) {
    switch (message.type) {
      case 'transcript': return this.#heardUser(message.text, message.isFinal);
      case 'llm-chunk': return this.#writing(message.content, message.done);
      case 'llm': return this.#written(message.text);
      case 'reply-heard': return this.#heardAgent(message.text);
      case 'turn-metrics': return this.#measured(/** @type {Metrics & Message} */ (message));
      default: return this.#progress(message);
    }
  }

  /** @param {Message} message */
  #progress(message) {
    switch (message.type) {
      case 'tts-start': return void (this.#speaking = true);
      case 'tts-complete': return this.#ended();
      case 'tts-cancelled': return this.#cut('interrupted');
      case 'speech-start': return this.#interruptUnspoken();
      case 'state': return message.state === 'idle' ? this.#ended() : undefined;
      default:
    }
  }

  /** The user's typed words; they cut a running reply short, as speech does. @param {string} text */
  type(text) {
    this.#interruptUnspoken();
    this.#add('user', text, false);
  }

  /** The connection dropped, and with it what was running. */
  drop() {
    if (this.#live?.open || this.#speaking) this.#cut('dropped');
    const words = this.#last('user');
    if (words?.open) this.#change(words, { open: false });
  }

  /** A remark of the page itself. @param {string} text */
  note(text) {
    this.#add('note', text, false);
  }

  /** @param {string} text @param {boolean} isFinal */
  #heardUser(text, isFinal) {
    const last = this.#entries.at(-1);
    const partial = last?.role === 'user' && last.open ? last : null;
    if (!text.trim()) return partial && isFinal ? this.#remove(partial) : undefined;
    if (partial) return this.#change(partial, { text, open: !isFinal });
    // What the user says next begins a new turn: nothing more is written into the reply before.
    this.#close();
    this.#add('user', text, !isFinal);
  }

  /** @param {string} content @param {boolean} done */
  #writing(content, done) {
    if (this.#live?.open) this.#change(this.#live, { text: this.#live.text + content, open: !done });
    else if (content && !this.#afterCut()) this.#live = this.#add('agent', content, !done);
  }

  /** @param {string} text */
  #written(text) {
    if (this.#live) this.#change(this.#live, { text, open: false });
    else if (text && !this.#afterCut()) this.#live = this.#add('agent', text, false);
  }

  /** What comes right after a cut, before the user's next words, was on its way when the reply was cut. */
  #afterCut() {
    return Boolean(this.#entries.at(-1)?.cut);
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

  /** @param {Entry['role']} role @param {string} text @param {boolean} open @returns {Entry} */
  #add(role, text, open) {
    const entry = { id: this.#nextId, role, text, open, cut: null, heard: null, metrics: null };
    this.#nextId += 1;
    this.#entries.push(entry);
    this.#onChange(entry, false);
    return entry;
  }

  /** @param {Entry} entry @param {Partial<Entry>} patch */
  #change(entry, patch) {
    this.#onChange(Object.assign(entry, patch), false);
  }

  /** A partial transcript that turned out to be no words. @param {Entry} entry */
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
