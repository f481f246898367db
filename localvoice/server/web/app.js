/**
 * The page put together: what the user does, what the server says, and what then happens to the state.
 * @module
 */

import { AgentVoice } from './agent_voice.js';
import { Announcer } from './announcer.js';
import { Captions } from './captions.js';
import { Connection, socketUrl } from './connection.js';
import { Conversation } from './conversation.js';
import { Dial } from './dial.js';
import { microphoneObstacle } from './microphone.js';
import { Pictures, attachments } from './pictures.js';
import { problem, problemOfCode, problemOfLink } from './problems.js';
import { audioContext, restAudio } from './sound.js';
import { Store, micOpen } from './state.js';
import { Talking } from './talking.js';
import { View, reachable } from './view.js';
import { VoicePath } from './voice_path.js';

/** @typedef {import('./connection.js').LinkChange} LinkChange */
/** @typedef {import('./conversation.js').Entry} Entry */
/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./problems.js').Remedy} Remedy */
/** @typedef {import('./voice_path.js').Voice} Voice */

/** A first typed message waits this long for the voice, so that its answer keeps one path. */
const VOICE_BEFORE_TEXT_MS = 1_500;

const store = new Store(render);
const agentVoice = new AgentVoice(/** @type {HTMLAudioElement} */ (byId('voice')), soundBlocked);
const view = new View({ talk, mute: () => talking.mute(), end, send, forget, remedy });
const captions = new Captions(byId('captions'), byId('scroll'), byId('welcome'));
const announcer = new Announcer(byId('announcer'));
const dial = new Dial(/** @type {HTMLCanvasElement} */ (byId('ring')), {
  user: () => talking.level(),
  agent: () => agentVoice.level(),
});
const conversation = new Conversation(said);
const connection = new Connection(socketUrl(location), receive, linkChanged);
const voice = new VoicePath(
  (signal) => connection.send({ type: 'offer', signal }),
  (data, sampleRate) => connection.sendSound({ type: 'audio-chunk', data, sampleRate }),
  (sound) => agentVoice.playTrack(sound),
  voiceChanged,
);
const talking = new Talking(store, voice, openVoice);
const pictures = new Pictures(() => conversation.attached, (why) => conversation.note(why));

/* What the user does */

function talk() {
  if (micOpen(store.state)) return talking.stop();
  if (store.state.mic !== 'off' || !reachable(store.state)) return;
  begin();
  talking.start();
}

function end() {
  talking.end();
  voice.close();
  agentVoice.rest();
  conversation.drop();
  conversation.forget();
  connection.close();
  restAudio();
  store.update({ mic: 'off', agent: 'idle', userSpeaking: false, begun: false, problems: {} });
  conversation.note('Conversation ended.');
}

/** @param {string} text @returns {boolean} whether it was taken */
function send(text) {
  if (!reachable(store.state)) return false;
  begin();
  const urls = pictures.take();
  conversation.attach(urls);
  conversation.type(text);
  deliver(text, urls);
  return true;
}

/** @param {string} text @param {string[]} urls pictures that go with it */
async function deliver(text, urls) {
  const opening = openVoice();
  await connection.whenReady();
  await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, VOICE_BEFORE_TEXT_MS))]);
  if (urls.length > 0) connection.send(attachments(urls));
  if (connection.send({ type: 'text', text })) return;
  pictures.putBack(urls);
  conversation.note('That wasn’t sent because the connection dropped. Send it again.');
  view.restoreText(text);
}

/** Asks the server to forget the last exchange; the page follows when the server confirms. */
function forget() {
  begin();
  connection.send({ type: 'forget', all: false });
}

/** The user has begun to speak: the pictures go with these words. */
function sendPictures() {
  const urls = pictures.take();
  if (urls.length === 0) return;
  if (connection.send(attachments(urls))) conversation.attach(urls);
  else pictures.putBack(urls);
}

/** @param {Remedy} choice */
function remedy(choice) {
  if (choice === 'reconnect') connection.retryNow();
  else if (choice === 'talk') talk();
  else if (choice === 'reload') location.reload();
  else unblockSound();
}

/** Called inside each gesture that may make sound flow. */
function begin() {
  audioContext();
  connection.open();
  store.setProblem('turn', undefined);
  store.update({ begun: true });
}

/* What the server says */

/** @param {ServerMessage} message */
function receive(message) {
  conversation.receive(message);
  switch (message.type) {
    case 'signal': return voice.answer(message.signal);
    case 'state': return agentChanged(message.state);
    case 'speech-start': {
      store.setProblem('turn', undefined);
      hush(); // until the server knows whether it is an interruption
      sendPictures();
      return store.update({ userSpeaking: true, agent: 'listening' });
    }
    case 'speech-end': return store.update({ userSpeaking: false });
    case 'tts':
    case 'tts-chunk': return agentVoice.playMessage(message);
    case 'tts-start': return voice.setAudible(true);
    case 'tts-cancelled': return hush();
    case 'forgotten': return announcer.clear();
    case 'error': return failed(message.code, message.message);
    default:
  }
}

/** @param {import('./messages.js').AgentState} agent */
function agentChanged(agent) {
  if (agent === 'speaking') voice.setAudible(true); // also when what was heard was no interruption
  if (agent === 'idle' || agent === 'listening') announcer.silence(micOpen(store.state));
  store.update({ agent, userSpeaking: store.state.userSpeaking && agent === 'listening' });
}

/** @param {string} code @param {string} message */
function failed(code, message) {
  console.warn(`localvoice: ${code}: ${message}`);
  if (code === 'TOOL_ERROR') return; // the captions show which one, and the reply goes on
  if (!voice.refused(code)) store.setProblem('turn', problemOfCode(code, message));
}

/** @param {LinkChange} change */
function linkChanged({ link, resumed, seconds }) {
  const before = store.state.link;
  store.update({ link });
  if (link === 'lost') return dropped(before, seconds);
  if (link !== 'ready') return;
  store.setProblem('link', undefined);
  if (resumed === true) conversation.note('Reconnected. The conversation goes on.');
  if (resumed === false) {
    conversation.forget();
    conversation.note('Reconnected. The server has forgotten what was said before.');
  }
  if (before === 'lost' && store.state.begun) openVoice();
  showSetup();
}

/** @param {import('./connection.js').Link} before @param {number} [seconds] after which the server may have room */
function dropped(before, seconds) {
  if (before === 'ready') {
    voice.drop();
    agentVoice.hush();
    conversation.drop();
    store.update({ agent: 'idle', userSpeaking: false });
  }
  const known = problemOfLink(before === 'ready', store.state.problems.link, seconds);
  store.setProblem('link', known);
  if (known.id === 'full') return store.setProblem('turn', undefined); // it is the same one
  if (known.id !== 'uninvited') tellIfUninvited();
}

/** A refused WebSocket gives no reason; an ordinary request does. */
async function tellIfUninvited() {
  const answer = await fetch('health').catch(() => null);
  const refused = answer !== null && [401, 403].includes(answer.status);
  if (refused && store.state.link === 'lost') store.setProblem('link', problem('uninvited'));
}

async function showSetup() {
  try {
    view.showSetup(await (await fetch('health')).json());
  } catch (error) {
    console.warn('localvoice: no names of the models, because /health failed', error);
  }
}

/* Voice and sound */

/** @returns {Promise<boolean>} whether voice is connected */
async function openVoice() {
  await connection.whenReady();
  store.setProblem('voice', undefined);
  return voice.open();
}

/** @param {Voice} status */
function voiceChanged(status) {
  const before = store.state.voice;
  store.update({ voice: status });
  if (status === 'socket' && before !== 'socket' && before !== 'unsupported') {
    conversation.note('Your voice goes over the WebSocket because WebRTC doesn’t connect here.');
  }
  if (status === 'unsupported') {
    store.setProblem('voice', problem('voice-unsupported'));
    if (micOpen(store.state)) talking.stop();
  }
  if (status === 'lost' && store.state.link === 'ready') openVoice();
}

/** Silences the agent at once, without playing what has already arrived. */
function hush() {
  voice.setAudible(false);
  agentVoice.hush();
}

function soundBlocked() {
  store.setProblem('sound', problem('sound-blocked'));
}

function unblockSound() {
  store.setProblem('sound', undefined);
  agentVoice.unblock();
}

/* What is shown */

/** @param {Entry} entry @param {boolean} removed */
function said(entry, removed) {
  captions.show(entry, removed);
  if (!removed) announcer.note(entry);
}

/** @param {import('./state.js').State} state */
function render(state) {
  view.render(state);
  const busy = state.agent === 'thinking' || state.agent === 'speaking' ? state.agent : null;
  dial.setMode(busy ?? (state.mic === 'on' ? 'hearing' : 'rest'));
}

/** @param {string} id @returns {HTMLElement} */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** For tests only. */
Object.defineProperty(window, 'localvoice', {
  value: {
    /** @returns {number} RMS, 0 to 1, of the agent's sound at this moment */
    remoteLevel: () => agentVoice.level(),
    /** @returns {boolean} whether the page and the server are connected */
    get connected() {
      return store.state.link === 'ready';
    },
    /** @returns {string|null} */
    get sessionId() {
      return connection.sessionId;
    },
  },
});

const obstacle = microphoneObstacle();
if (obstacle) store.setProblem('mic', problem(obstacle));
connection.open();
