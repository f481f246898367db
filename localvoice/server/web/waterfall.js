/**
 * Where a turn's time went, as a waterfall: each stage a bar from when it began to when it was ready.
 * The stages overlap, so their lengths add up to more than the whole.
 * @module
 */

/** @typedef {import('./messages.js').Metrics} Metrics */
/**
 * @typedef {Object} Stage
 * @property {string} key
 * @property {string} name
 * @property {number} from ms after the end of the user's speech
 * @property {number} to
 * @property {string} advice what makes it shorter
 */

/**
 * The stages that were measured, in their order.
 * @param {Metrics} metrics
 * @returns {Stage[]}
 */
export function stagesOf(metrics) {
  const { endpointMs, transcriptMs, firstTokenMs, firstPieceMs, voiceToVoiceMs, sttMs } = metrics;
  const words = transcriptMs ?? 0;
  const token = firstTokenMs ?? words;
  const piece = firstPieceMs ?? token;
  /** @type {[string, string, number|undefined, number|undefined, string][]} */
  const rows = [
    ['endpoint', 'End of your turn', 0, endpointMs, 'a quicker listening.eagerness answers sooner and interrupts more often'],
    ['transcript', 'Transcription', words - (sttMs ?? 0), transcriptMs, 'a profile with a smaller speech model, or a GPU'],
    ['token', 'First word', words, firstTokenMs, 'a shorter system prompt, fewer tools, or a smaller profile'],
    ['piece', 'First clause', token, firstPieceMs, 'a smaller profile, or a GPU'],
    ['voice', 'Voice', piece, voiceToVoiceMs, 'a smaller voice; if the end of your turn came later, that is what it waited for'],
  ];
  return rows.flatMap(([key, name, from, to, advice]) =>
    typeof from === 'number' && typeof to === 'number' ? [{ key, name, from: Math.max(0, from), to, advice }] : []);
}

/**
 * A line that says how long the answer took, and opens into the waterfall.
 * @param {Metrics} metrics
 * @returns {HTMLElement | null} null when nothing was measured
 */
export function waterfall(metrics) {
  const whole = metrics.voiceToVoiceMs;
  const stages = stagesOf(metrics);
  if (typeof whole !== 'number' || stages.length === 0) return null;
  const details = /** @type {HTMLDetailsElement} */ (make('details', 'timing'));
  const summary = make('summary', '', `Answered in ${seconds(whole)}`);
  const chart = make('dl', 'stages');
  chart.append(...stages.map((stage) => row(stage, whole)));
  details.append(summary, chart, make('p', 'advice', adviceOn(stages)));
  details.addEventListener('toggle', () => details.scrollIntoView({ block: 'nearest' }));
  return details;
}

/** @param {Stage} stage @param {number} whole */
function row({ key, name, from, to }, whole) {
  const line = make('div', '');
  line.dataset.stage = key;
  const track = make('dd', 'track');
  const bar = make('span', `bar bar-${key}`);
  bar.style.left = percent(from / whole);
  bar.style.width = percent((Math.min(to, whole) - from) / whole);
  track.append(bar);
  line.append(make('dt', '', name), track, make('dd', 'at', seconds(to)));
  return line;
}

/** @param {Stage[]} stages */
function adviceOn(stages) {
  const longest = stages.reduce((one, other) => (other.to - other.from > one.to - one.from ? other : one));
  return `Longest: ${longest.name.toLowerCase()}. It gets shorter with ${longest.advice}.`;
}

/** @param {number} share */
function percent(share) {
  return `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
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
