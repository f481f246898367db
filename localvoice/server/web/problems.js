/**
 * The words for each problem, and what to do about it.
 * @module
 */

/**
 * @typedef {'server-away'|'link-lost'|'full'|'uninvited'|'mic-insecure'|'mic-unsupported'|'mic-refused'|'mic-dismissed'|
 *   'mic-missing'|'mic-busy'|'mic-broken'|'mic-gone'|'voice-unsupported'|'sound-blocked'|
 *   'stt'|'llm'|'tts'|'hearing'|'misunderstood'|'too-fast'|'playbook'|'internal'} ProblemId
 */
/** @typedef {'reconnect'|'talk'|'sound'|'reload'} Remedy what the button next to the words does */
/** @typedef {'link'|'mic'|'sound'|'voice'|'turn'} Slot one problem of each kind at a time; the first of these is shown */
/**
 * @typedef {Object} Problem
 * @property {ProblemId} id
 * @property {'wait'|'fault'} tone `wait`: it passes without the user's help
 * @property {string} title
 * @property {string} text
 * @property {string|undefined} detail the server's own words
 * @property {{label: string, remedy: Remedy}} [action]
 */

/** @type {Slot[]} */
export const SLOTS = ['link', 'mic', 'sound', 'voice', 'turn'];

const TALK = { label: 'Try again', remedy: /** @type {const} */ ('talk') };
const TYPING = 'You can type in the meantime.';

/** @type {Record<ProblemId, Omit<Problem, 'id'|'detail'>>} */
const WORDS = {
  'server-away': {
    tone: 'wait',
    title: 'localvoice isn’t answering',
    text: 'Its server may not be running. Start it with “make run”; this page connects by itself.',
    action: { label: 'Try now', remedy: 'reconnect' },
  },
  'link-lost': {
    tone: 'wait',
    title: 'The connection dropped',
    text: 'Reconnecting by itself. If it takes long, look whether the server is still running.',
    action: { label: 'Try now', remedy: 'reconnect' },
  },
  full: {
    tone: 'wait',
    title: 'Others are talking right now',
    text: 'This machine serves only a few conversations at a time. The page tries again by itself as soon as there may be room.',
    action: { label: 'Try now', remedy: 'reconnect' },
  },
  uninvited: {
    tone: 'fault',
    title: 'This link is out of date',
    text: 'localvoice was started again since this page was opened. Open its link with the token once more.',
    action: { label: 'Try now', remedy: 'reconnect' },
  },
  'mic-insecure': {
    tone: 'fault',
    title: 'No microphone at this address',
    text: `Browsers allow it only on this machine or over HTTPS. Open http://localhost${port()} on the machine that runs localvoice, or start it with --lan. Typing works here, too.`,
  },
  'mic-unsupported': {
    tone: 'fault',
    title: 'This browser has no microphone access',
    text: 'Open the page in a current Firefox, Chrome, Edge or Safari. Typing works here, too.',
  },
  'mic-refused': {
    tone: 'fault',
    title: 'The microphone is blocked',
    text: `Click the icon next to the address, set Microphone to Allow, then try again. If it is allowed there, look in the system’s privacy settings. ${TYPING}`,
    action: TALK,
  },
  'mic-dismissed': {
    tone: 'fault',
    title: 'The microphone wasn’t allowed',
    text: `Try again and choose Allow when the browser asks. ${TYPING}`,
    action: TALK,
  },
  'mic-missing': {
    tone: 'fault',
    title: 'No microphone found',
    text: `Plug one in, or switch it on in the system’s sound settings, then try again. ${TYPING}`,
    action: TALK,
  },
  'mic-busy': {
    tone: 'fault',
    title: 'The microphone can’t be opened',
    text: `Another program may be using it, such as a call. Close that, then try again. ${TYPING}`,
    action: TALK,
  },
  'mic-broken': {
    tone: 'fault',
    title: 'The microphone didn’t start',
    text: `Unplug it and plug it in again, or choose another one in the browser’s settings, then try again. ${TYPING}`,
    action: TALK,
  },
  'mic-gone': {
    tone: 'fault',
    title: 'The microphone went away',
    text: `It was unplugged or taken back. Connect one and try again. ${TYPING}`,
    action: TALK,
  },
  'voice-unsupported': {
    tone: 'fault',
    title: 'This browser can’t send your voice',
    text: 'WebRTC doesn’t connect, and sound over the WebSocket doesn’t start. Use a current Firefox, Chrome, Edge or Safari. Typing works, and the answers are spoken.',
    action: TALK,
  },
  'sound-blocked': {
    tone: 'fault',
    title: 'The browser holds the sound back',
    text: 'It plays sound only after a click.',
    action: { label: 'Play sound', remedy: 'sound' },
  },
  stt: { tone: 'fault', title: 'I couldn’t make that out', text: 'Speech recognition failed. Say it again, or type it.' },
  llm: { tone: 'fault', title: 'No answer this time', text: 'The language model failed or took too long. Ask once more.' },
  tts: { tone: 'fault', title: 'The voice failed', text: 'The answer stands here as text. Go on; the next answer is spoken again if the voice works.' },
  hearing: { tone: 'fault', title: 'Your sound can’t be read', text: 'Stop, then press Talk again. If that doesn’t help, reload the page.' },
  misunderstood: {
    tone: 'fault',
    title: 'The server didn’t understand this page',
    text: 'They may be of different versions. Reload the page.',
    action: { label: 'Reload', remedy: 'reload' },
  },
  'too-fast': { tone: 'wait', title: 'One moment', text: 'That was more than the server takes at once. Wait a little, then go on.' },
  playbook: { tone: 'fault', title: 'The conversation’s playbook failed', text: 'The answer may not fit. Go on; if it happens again, look at the server’s log.' },
  internal: { tone: 'fault', title: 'Something went wrong', text: 'Try once more. If it happens again, look at the server’s log.' },
};

/** @type {Record<string, ProblemId>} */
const OF_CODE = {
  STT_ERROR: 'stt',
  STT_TIMEOUT: 'stt',
  LLM_ERROR: 'llm',
  LLM_TIMEOUT: 'llm',
  TTS_ERROR: 'tts',
  TTS_TIMEOUT: 'tts',
  AUDIO_PROCESSING_ERROR: 'hearing',
  VAD_ERROR: 'hearing',
  INVALID_AUDIO_FORMAT: 'hearing',
  INVALID_MESSAGE: 'misunderstood',
  PLAYBOOK_ERROR: 'playbook',
  RATE_LIMITED: 'too-fast',
};

/** @param {ProblemId} id @param {string} [detail] @returns {Problem} */
export function problem(id, detail) {
  return { id, ...WORDS[id], detail };
}

/** What an `error` message of the server means for the user. @param {string} code @param {string} message */
export function problemOfCode(code, message) {
  return problem(OF_CODE[code] ?? 'internal', message);
}

/**
 * Why there is no connection.
 * @param {boolean} dropped whether there was one
 * @param {Problem|undefined} earlier the problem that is shown so far
 * @param {number} [seconds] after which to come back, if the server is full
 * @returns {Problem}
 */
export function problemOfLink(dropped, earlier, seconds) {
  if (seconds !== undefined) return problem('full', `Next attempt in ${seconds} s.`);
  if (earlier && earlier.id !== 'full') return earlier;
  return problem(dropped ? 'link-lost' : 'server-away');
}

function port() {
  return location.port && `:${location.port}`;
}
