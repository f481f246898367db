/**
 * Captions for screen readers.
 *
 * A reply is read out when it has been spoken, not while the voice speaks over it. And it isn't read while
 * the microphone is open: the screen reader's voice would come in there and be taken for the user's.
 * @module
 */

/** @typedef {import('./conversation.js').Entry} Entry */

export class Announcer {
  #region;
  /** @type {Entry|null} */
  #reply = null;

  /** @param {HTMLElement} region with `aria-live` */
  constructor(region) {
    this.#region = region;
  }

  /** @param {Entry} entry new or changed */
  note(entry) {
    if (entry.role === 'agent') this.#reply = entry;
    else if (entry.role === 'note') this.#region.textContent = entry.text;
  }

  /** What was said is forgotten, also where it can't be seen. */
  clear() {
    this.#reply = null;
    this.#region.textContent = '';
  }

  /** The agent has fallen silent. @param {boolean} micIsOpen */
  silence(micIsOpen) {
    if (this.#reply && !micIsOpen) this.#region.textContent = `localvoice: ${this.#reply.heard ?? this.#reply.text}`;
    this.#reply = null;
  }
}
