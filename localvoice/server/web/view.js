/**
 * The page around the conversation: buttons, state in words, the problem, names of the models.
 *
 * Hooks for tests: `#talk`, `#forget`, `#state[data-state]`, `#text`, `#send`, `#problem[data-problem]`,
 * `#link[data-link]`, `body[data-voice]`, `body[data-mic]`.
 * @module
 */

import { SLOTS } from './problems.js';
import { micOpen } from './state.js';

/** @typedef {import('./state.js').State} State */
/** @typedef {import('./problems.js').Problem} Problem */
/** @typedef {import('./problems.js').Remedy} Remedy */
/**
 * @typedef {Object} Actions what the user can do
 * @property {() => void} talk
 * @property {() => void} mute
 * @property {() => void} end
 * @property {(text: string) => boolean} send whether the text was taken
 * @property {() => void} forget
 * @property {(choice: Remedy) => void} remedy what the button next to a problem does
 */

/**
 * @typedef {Object} Health what the page reads of the server's `/health`
 * @property {string} [profile]
 * @property {{stt?: string, llm?: string, tts?: string}} [models] names
 */

const LINK_WORDS = { connecting: 'Connecting', ready: 'Connected', lost: 'Reconnecting', ended: 'Ended' };

export class View {
  #actions;
  #text = /** @type {HTMLTextAreaElement} */ (part('text'));
  /** @type {Remedy|null} */
  #remedy = null;

  /** @param {Actions} actions */
  constructor(actions) {
    this.#actions = actions;
    // A large screen has room for the models' names; on a small one they open at a tap.
    /** @type {HTMLDetailsElement} */ (part('setup')).open = matchMedia('(min-width: 52rem) and (min-height: 40rem)').matches;
    part('talk').addEventListener('click', () => actions.talk());
    part('mute').addEventListener('click', () => actions.mute());
    part('end').addEventListener('click', () => actions.end());
    part('forget').addEventListener('click', () => actions.forget());
    part('problem-action').addEventListener('click', () => this.#remedy && actions.remedy(this.#remedy));
    part('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener('keydown', (event) => {
      // Enter also ends the composition of a word in Chinese, Japanese and Korean input: that isn't ours.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
  }

  /** @param {Readonly<State>} state */
  render(state) {
    document.body.dataset.voice = state.voice;
    document.body.dataset.mic = state.mic;
    part('link').dataset.link = state.link;
    setText('link', linkWords(state));
    this.#renderState(state);
    this.#renderButtons(state);
    this.#renderProblem(SLOTS.map((slot) => state.problems[slot]).find(Boolean));
  }

  /** Gives typed words back that couldn't be sent. @param {string} text */
  restoreText(text) {
    this.#text.value ||= text;
  }

  /** @param {Health} health */
  showSetup({ profile, models }) {
    const { stt, llm, tts } = models ?? {};
    const parts = [
      profile && `Profile ${profile}`,
      stt && `hears with ${stt}`,
      llm && `thinks with ${llm}`,
      tts && `speaks with ${tts}`,
    ];
    part('models').replaceChildren(...parts.flatMap((text) => (text ? [span(text)] : [])));
  }

  #send() {
    const text = this.#text.value.trim();
    if (text && this.#actions.send(text)) this.#text.value = '';
  }

  /** @param {Readonly<State>} state */
  #renderState(state) {
    part('state').dataset.state = state.agent;
    document.body.dataset.speaker = state.userSpeaking ? 'user' : state.agent === 'speaking' ? 'agent' : 'nobody';
    const [word, hint] = stateWords(state);
    setText('state-word', word);
    setText('state-hint', hint);
  }

  /** @param {Readonly<State>} state */
  #renderButtons(state) {
    const open = micOpen(state);
    const talk = part('talk');
    talk.setAttribute('aria-pressed', String(open));
    // Not `disabled`: that would throw the keyboard's focus away while the connection is restored.
    talk.setAttribute('aria-disabled', String(!open && (state.mic === 'asking' || !reachable(state))));
    setText('talk-label', open ? 'Stop' : 'Talk');
    setIcon('talk-icon', open ? 'icon-stop' : 'icon-mic');
    const mute = /** @type {HTMLButtonElement} */ (part('mute'));
    mute.disabled = !open;
    mute.setAttribute('aria-pressed', String(state.mic === 'muted'));
    setText('mute-label', state.mic === 'muted' ? 'Unmute' : 'Mute');
    setIcon('mute-icon', state.mic === 'muted' ? 'icon-mic' : 'icon-mic-off');
    /** @type {HTMLButtonElement} */ (part('end')).disabled = !state.begun;
    part('send').setAttribute('aria-disabled', String(!reachable(state)));
    part('forget').hidden = !state.begun;
    /** @type {HTMLButtonElement} */ (part('forget')).disabled = state.link !== 'ready';
  }

  /** @param {Problem|undefined} problem */
  #renderProblem(problem) {
    const box = part('problem');
    box.hidden = !problem;
    this.#remedy = problem?.action?.remedy ?? null;
    if (!problem) return;
    box.dataset.problem = problem.id;
    box.dataset.tone = problem.tone;
    setText('problem-title', problem.title);
    setText('problem-text', problem.text);
    setText('problem-detail', problem.detail ?? '');
    setText('problem-action', problem.action?.label ?? '');
    part('problem-action').hidden = !problem.action;
  }
}

/** @param {Readonly<State>} state */
function linkWords(state) {
  if (state.link === 'ready' && state.voice === 'socket') return 'Connected by WebSocket';
  return state.problems.link?.id === 'server-away' ? LINK_WORDS.connecting : LINK_WORDS[state.link];
}

/** Whether talking or typing can begin. @param {Readonly<State>} state */
export function reachable(state) {
  return state.link === 'ready' || state.link === 'ended';
}

/** @param {Readonly<State>} state @returns {[string, string]} what goes on, and what the user can do */
function stateWords(state) {
  if (state.link === 'ended') return ['Ended', 'Press Talk or type to begin again'];
  if (state.link === 'lost') return [linkWords(state), micOpen(state) ? 'Your microphone stays on' : ''];
  if (state.link === 'connecting') return ['Connecting', ''];
  if (state.agent === 'thinking') return ['Thinking', state.mic === 'muted' ? 'You are muted' : ''];
  if (state.agent === 'speaking') return ['Speaking', state.mic === 'on' ? 'Talk to interrupt' : ''];
  return micWords(state);
}

/** @param {Readonly<State>} state @returns {[string, string]} */
function micWords(state) {
  switch (state.mic) {
    case 'off': return ['Ready', 'Press Talk, or type'];
    case 'asking': return ['One moment', 'If your browser asks, allow the microphone'];
    case 'muted': return ['Muted', 'localvoice can’t hear you'];
    default:
  }
  if (state.micSilent) return ['Listening', 'No sound at all. Is the microphone muted?'];
  return ['Listening', state.userSpeaking ? 'It hears you' : 'Just talk'];
}

/** @param {string} id @returns {HTMLElement} */
function part(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no #${id}`);
  return element;
}

/** @param {string} id @param {string} text */
function setText(id, text) {
  const element = part(id);
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} text */
function span(text) {
  const element = document.createElement('span');
  element.textContent = text;
  return element;
}

/** @param {string} id @param {string} symbol */
function setIcon(id, symbol) {
  part(id).setAttribute('href', `#${symbol}`);
}
