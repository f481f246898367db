/**
 * The conversation on the page: one list item for each entry.
 *
 * Hooks for tests: each item has `data-role`, a reply also `data-turn-ms` and `data-cut="true"`, a tool
 * `data-outcome`.
 * @module
 */

import { splitHeard } from './conversation.js';
import { waterfall } from './waterfall.js';

/** @typedef {import('./conversation.js').Entry} Entry */
/** @typedef {import('./messages.js').Metrics} Metrics */

const WHO = { user: 'You', agent: 'localvoice', tool: '', stage: '', note: '' };
const OUTCOMES = { running: 'running', done: 'done', failed: 'failed', stopped: 'stopped' };
const CUT = { interrupted: 'You interrupted', dropped: 'Cut off when the connection dropped' };
/** Within this distance of the end the reader follows the conversation; further up they are reading. */
const FOLLOWS_WITHIN_PX = 80;

export class Captions {
  #list;
  #scroll;
  #welcome;
  /** @type {Map<number, HTMLElement>} */
  #items = new Map();

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} scroll what scrolls it
   * @param {HTMLElement} welcome shown until the first words
   */
  constructor(list, scroll, welcome) {
    this.#list = list;
    this.#scroll = scroll;
    this.#welcome = welcome;
    new ResizeObserver(() => this.#follow(true)).observe(scroll);
  }

  /** @param {Entry} entry @param {boolean} removed */
  show(entry, removed) {
    const following = this.#following();
    const item = this.#items.get(entry.id) ?? this.#newItem(entry);
    if (removed) {
      item.remove();
      this.#items.delete(entry.id);
    } else {
      fill(item, entry);
    }
    this.#welcome.hidden = this.#items.size > 0;
    this.#follow(following || entry.role === 'user');
  }

  /** @param {Entry} entry */
  #newItem(entry) {
    const item = make('li', `entry entry-${entry.role}`);
    item.dataset.role = entry.role;
    if (WHO[entry.role]) item.append(make('p', 'who', WHO[entry.role]));
    item.append(make('p', 'words'));
    if (entry.pictures.length > 0) item.append(thumbnails(entry.pictures));
    this.#list.append(item);
    this.#items.set(entry.id, item);
    return item;
  }

  #following() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    return scrollHeight - scrollTop - clientHeight < FOLLOWS_WITHIN_PX;
  }

  /** @param {boolean} wanted */
  #follow(wanted) {
    if (wanted) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}

/** @param {HTMLElement} item @param {Entry} entry */
function fill(item, entry) {
  item.classList.toggle('open', entry.open);
  const words = /** @type {HTMLElement} */ (item.querySelector('.words'));
  if (entry.detail) item.title = entry.detail;
  if (entry.outcome) fillTool(item, words, entry.text, entry.outcome);
  else if (entry.cut && entry.heard !== null) fillHeard(words, entry.text, entry.heard);
  else words.textContent = entry.text;
  if (entry.cut && !item.dataset.cut) {
    item.dataset.cut = 'true';
    words.after(make('p', 'cut-note', CUT[entry.cut]));
  }
  if (entry.metrics && !item.querySelector('.timing')) addTiming(item, entry.metrics);
}

/** @param {HTMLElement} item @param {HTMLElement} words @param {string} name @param {keyof typeof OUTCOMES} outcome */
function fillTool(item, words, name, outcome) {
  item.dataset.outcome = outcome;
  words.replaceChildren(make('span', 'tool-name', name), ` ${OUTCOMES[outcome]}`);
}

/** @param {string[]} pictures */
function thumbnails(pictures) {
  const row = make('p', 'thumbnails');
  for (const url of pictures) {
    const picture = new Image();
    picture.src = url;
    picture.alt = 'Picture that you sent';
    row.append(picture);
  }
  return row;
}

/** @param {HTMLElement} words @param {string} text @param {string} heard */
function fillHeard(words, text, heard) {
  const [said, unsaid] = splitHeard(text, heard);
  words.replaceChildren(said);
  if (!unsaid.trim()) return;
  if (said) words.append(' ');
  const rest = make('s', 'unsaid', unsaid.trim());
  rest.title = 'Not spoken';
  words.append(rest);
}

/** @param {HTMLElement} item @param {Metrics} metrics */
function addTiming(item, metrics) {
  const whole = metrics.voiceToVoiceMs;
  if (typeof whole === 'number') item.dataset.turnMs = String(Math.round(whole));
  const timing = waterfall(metrics);
  if (timing) item.append(timing);
}

/** @param {string} tag @param {string} className @param {string} [text] @returns {HTMLElement} */
function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}
