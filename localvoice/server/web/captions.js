/**
 * The conversation on the page: one list item for each entry.
 *
 * Hooks for tests: each item has `data-role`, a reply also `data-turn-ms` and `data-cut="true"`, a tool
 * `data-outcome`.
 * @module
 */

import { splitHeard } from './conversation.js';

/** @typedef {import('./conversation.js').Entry} Entry */
/** @typedef {import('./conversation.js').Metrics} Metrics */

const WHO = { user: 'You', agent: 'localvoice', tool: '', stage: '', note: '' };
const OUTCOMES = { running: 'running', done: 'done', failed: 'failed', stopped: 'stopped' };
const CUT = { interrupted: 'You interrupted', dropped: 'Cut off when the connection dropped' };
/** Within this distance of the end the reader follows the conversation; further up they are reading. */
const FOLLOWS_WITHIN_PX = 80;

/** @type {[keyof Metrics, string][]} */
const STAGES = [
  ['endpointMs', 'End of speech noticed'],
  ['sttMs', 'Transcription'],
  ['firstTokenMs', 'First token'],
  ['firstAudioMs', 'First speech'],
];

export class Captions {
  #list;
  #scroll;
  #welcome;
  /** @type {Map<number, HTMLElement>} */
  #items = new Map();

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} scroll what scrolls it
   * @param {HTMLElement} welcome shown while nobody has said anything
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

/** @param {HTMLElement} item @param {HTMLElement} words @param {string} name @param {keyof OUTCOMES} outcome */
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
  const stages = STAGES.flatMap(([field, name]) => {
    const ms = metrics[field];
    return typeof ms === 'number' ? [{ field, name, ms }] : [];
  });
  if (typeof whole === 'number') item.dataset.turnMs = String(Math.round(whole));
  if (typeof whole !== 'number' && stages.length === 0) return;
  const details = /** @type {HTMLDetailsElement} */ (make('details', 'timing'));
  const summary = make('summary', '', typeof whole === 'number' ? `Answered in ${seconds(whole)}` : 'Times');
  summary.title = stages.map(({ name, ms }) => `${name}: ${seconds(ms)}`).join('\n');
  const bar = make('span', 'bar');
  const table = make('dl', 'stages');
  for (const { field, name, ms } of stages) {
    const part = make('span', `part part-${field}`);
    part.style.flexGrow = String(Math.max(ms, 1));
    bar.append(part);
    const row = make('div', '');
    row.append(make('dt', `key key-${field}`, name), make('dd', '', seconds(ms)));
    table.append(row);
  }
  summary.append(bar);
  details.append(summary, table);
  details.addEventListener('toggle', () => details.scrollIntoView({ block: 'nearest' }));
  item.append(details);
}

/** @param {number} ms */
function seconds(ms) {
  return `${(ms / 1000).toFixed(2)} s`;
}

/** @param {string} tag @param {string} className @param {string} [text] @returns {HTMLElement} */
function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}
