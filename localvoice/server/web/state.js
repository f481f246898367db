/**
 * The page's state, in one place. What was said is kept apart, in `conversation.js`.
 * @module
 */

/** @typedef {import('./problems.js').Problem} Problem */
/** @typedef {import('./problems.js').Slot} Slot */
/**
 * @typedef {Object} State
 * @property {import('./connection.js').Link} link to the server
 * @property {import('./voice_path.js').Voice} voice
 * @property {'off'|'asking'|'on'|'muted'} mic
 * @property {boolean} micSilent an open microphone gives no sound at all
 * @property {import('./messages.js').AgentState} agent
 * @property {boolean} userSpeaking
 * @property {boolean} begun the user has talked or typed since the page was opened, or since "end"
 * @property {Partial<Record<Slot, Problem>>} problems
 */

/** @type {State} */
const FIRST = {
  link: 'ended',
  voice: 'off',
  mic: 'off',
  micSilent: false,
  agent: 'idle',
  userSpeaking: false,
  begun: false,
  problems: {},
};

export class Store {
  #state = FIRST;
  #onChange;

  /** @param {(state: State) => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** @returns {Readonly<State>} */
  get state() {
    return this.#state;
  }

  /** @param {Partial<State>} patch */
  update(patch) {
    this.#state = { ...this.#state, ...patch };
    this.#onChange(this.#state);
  }

  /** @param {Slot} slot @param {Problem|undefined} problem undefined: it is over */
  setProblem(slot, problem) {
    if (!problem && !this.#state.problems[slot]) return;
    this.update({ problems: { ...this.#state.problems, [slot]: problem } });
  }
}

/** Whether the page holds the microphone. @param {Readonly<State>} state */
export function micOpen(state) {
  return state.mic === 'on' || state.mic === 'muted';
}
