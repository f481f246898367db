/**
 * The page put together: what the user does, what the server says, and what then happens to the state.
 * @module
 */

import { Announcer } from './announcer.js';
import { Captions } from './captions.js';
import { Connection, socketUrl } from './connection.js';
import { Conversation } from './conversation.js';
import { Dial } from './dial.js';
import { Microphone, MicrophoneError, microphoneObstacle } from './microphone.js';
import { problem, problemOfCode } from './problems.js';
import { Meter, SpeechPlayer, audioContext, restAudio } from './sound.js';
import { Store, micOpen } from './state.js';
import { View, reachable } from './view.js';
import { VoiceLink } from './voice.js';

/** @typedef {import('./connection.js').LinkChange} LinkChange */
/** @typedef {import('./connection.js').Message} Message */
/** @typedef {import('./conversation.js').Entry} Entry */
/** @typedef {import('./problems.js').Remedy} Remedy */
/** @typedef {import('./voice.js').VoiceStatus} VoiceStatus */

/** A first typed message waits this long for the voice, so that its answer needn't change its path midway. */
const VOICE_BEFORE_TEXT_MS = 1_500;
/** An open microphone always gives some noise; none for this long means that it is muted somewhere. */
const SILENT_FOR_MS = 4_000;
const SILENCE = 1e-6;

const loudspeaker = /** @type {HTMLAudioElement} */ (document.getElementById('voice'));
const store = new Store(render);
const micMeter = new Meter();
const agentMeter = new Meter();
const player = new SpeechPlayer(soundBlocked);
const remoteLevel = () => Math.max(agentMeter.level(), player.level());
const view = new View({ talk, mute, end, send, mend });
const captions = new Captions(byId('captions'), byId('scroll'), byId('welcome'));
const announcer = new Announcer(byId('announcer'));
const dial = new Dial(/** @type {HTMLCanvasElement} */ (byId('ring')), {
  user: () => micMeter.level(),
  agent: remoteLevel,
});
const conversation = new Conversation(said);
const connection = new Connection(socketUrl(location), receive, linkChanged);
const voice = new VoiceLink((signal) => connection.send({ type: 'offer', signal }), playSound, voiceChanged);
const microphone = new Microphone(() => voice.setTrack(null), microphoneLost);

/* What the user does */

function talk() {
  if (micOpen(store.state)) stopTalking();
  else if (store.state.mic === 'off' && reachable(store.state)) startTalking();
}

async function startTalking() {
  begin();
  store.setProblem('mic', undefined);
  store.update({ mic: 'asking' });
  const connecting = openVoice(); // while the user reads the browser's question
  try {
    const stream = await microphone.open();
    const connected = await connecting;
    // "End", or a voice that couldn't connect: nobody would hear the microphone.
    if (!connected || store.state.mic !== 'asking') return stopTalking();
    await voice.setTrack(stream.getAudioTracks()[0]);
    micMeter.listenTo(stream);
    store.update({ mic: 'on' });
    watchForSilence(Date.now());
  } catch (error) {
    store.update({ mic: 'off' });
    if (!(error instanceof MicrophoneError)) throw error;
    console.warn(error.message, error.cause);
    store.setProblem('mic', problem(error.problem));
  }
}

function stopTalking() {
  microphone.close();
  micMeter.stop();
  store.update({ mic: 'off', micSilent: false });
}

function mute() {
  if (!micOpen(store.state)) return;
  const muted = store.state.mic === 'on';
  microphone.mute(muted);
  store.update({ mic: muted ? 'muted' : 'on' });
}

function end() {
  microphone.release();
  micMeter.stop();
  agentMeter.stop();
  voice.close();
  player.stop();
  conversation.drop();
  connection.close();
  restAudio();
  store.update({ mic: 'off', agent: 'idle', userSpeaking: false, begun: false, problems: {} });
  conversation.note('Conversation ended.');
}

/** @param {string} text @returns {boolean} whether it was taken */
function send(text) {
  if (!reachable(store.state)) return false;
  begin();
  conversation.type(text);
  deliver(text);
  return true;
}

/** @param {string} text */
async function deliver(text) {
  const opening = store.state.voice === 'failed' ? false : openVoice();
  await connection.whenReady();
  await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, VOICE_BEFORE_TEXT_MS))]);
  if (connection.send({ type: 'text', text })) return;
  conversation.note('That wasn’t sent, for the connection dropped. Send it again.');
  view.restoreText(text);
}

/** @param {Remedy} remedy */
function mend(remedy) {
  if (remedy === 'reconnect') connection.retryNow();
  else if (remedy === 'talk') talk();
  else if (remedy === 'voice') openVoice();
  else if (remedy === 'reload') location.reload();
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

/** @param {Message} message */
function receive(message) {
  conversation.receive(message);
  switch (message.type) {
    case 'signal': return voice.answer(/** @type {RTCSessionDescriptionInit} */ (message.signal));
    case 'state': return agentChanged(message.state);
    case 'speech-start': {
      store.setProblem('turn', undefined);
      return store.update({ userSpeaking: true, agent: 'listening' });
    }
    case 'speech-end': return store.update({ userSpeaking: false });
    case 'tts-chunk': return player.play(message.data, message.sampleRate);
    case 'tts-start': return voice.setAudible(true);
    case 'tts-cancelled': return hush();
    case 'error': return failed(message.code, message.message);
    default:
  }
}

/** @param {import('./state.js').State['agent']} agent */
function agentChanged(agent) {
  if (agent === 'idle' || agent === 'listening') announcer.silence(micOpen(store.state));
  store.update({ agent, userSpeaking: store.state.userSpeaking && agent === 'listening' });
}

/** @param {string} code @param {string} message */
function failed(code, message) {
  console.warn(`localvoice: ${code}: ${message}`);
  const found = problemOfCode(code, message);
  if (found.id !== 'voice-failed') return store.setProblem('turn', found);
  if (store.state.voice === 'connecting') store.setProblem('voice', found);
  voice.refuse();
}

/** @param {LinkChange} change */
function linkChanged({ link, resumed }) {
  const before = store.state.link;
  store.update({ link });
  if (link === 'lost') return dropped(before);
  if (link !== 'ready') return;
  store.setProblem('link', undefined);
  if (resumed === true) conversation.note('Reconnected. The conversation goes on.');
  if (resumed === false) conversation.note('Reconnected. The server has forgotten what was said before.');
  if (before === 'lost' && store.state.begun) openVoice();
  showSetup();
}

/** @param {import('./connection.js').Link} before */
function dropped(before) {
  if (before === 'ready') {
    voice.close();
    player.stop();
    conversation.drop();
    store.update({ agent: 'idle', userSpeaking: false });
  }
  const known = store.state.problems.link ?? problem(before === 'ready' ? 'link-lost' : 'server-away');
  store.setProblem('link', known);
}

async function showSetup() {
  try {
    view.showSetup(await (await fetch('health')).json());
  } catch (error) {
    console.warn('localvoice: no names of the models, for /health failed', error);
  }
}

/* Voice and sound */

/** @returns {Promise<boolean>} whether voice is connected */
async function openVoice() {
  if (typeof RTCPeerConnection === 'undefined') {
    store.setProblem('voice', problem('voice-unsupported'));
    return false;
  }
  await connection.whenReady();
  store.setProblem('voice', undefined);
  return voice.open();
}

/** @param {VoiceStatus} status */
function voiceChanged(status) {
  store.update({ voice: status });
  if (status === 'failed') {
    if (!store.state.problems.voice) store.setProblem('voice', problem('voice-failed'));
    if (micOpen(store.state)) stopTalking();
  }
  if (status === 'lost' && store.state.link === 'ready') openVoice();
}

/** @param {MediaStream} sound the agent's voice */
function playSound(sound) {
  loudspeaker.srcObject = sound;
  agentMeter.listenTo(sound);
  loudspeaker.play().catch((error) => error.name === 'NotAllowedError' && soundBlocked());
}

/** Silence at once, not when the sound that is on its way has been played. */
function hush() {
  voice.setAudible(false);
  player.stop();
}

function soundBlocked() {
  store.setProblem('sound', problem('sound-blocked'));
}

function unblockSound() {
  store.setProblem('sound', undefined);
  audioContext();
  player.resume();
  loudspeaker.play().catch(() => {}); // without WebRTC there is nothing in it to play
}

function microphoneLost() {
  stopTalking();
  voice.setTrack(null);
  store.setProblem('mic', problem('mic-gone'));
}

/** @param {number} heardAt when there was any sound last, in ms */
function watchForSilence(heardAt) {
  if (store.state.mic === 'off') return;
  const now = Date.now();
  const last = micMeter.level() > SILENCE || store.state.mic === 'muted' ? now : heardAt;
  const micSilent = now - last > SILENT_FOR_MS;
  if (micSilent !== store.state.micSilent) store.update({ micSilent });
  setTimeout(() => watchForSilence(last), 500);
}

/* What is shown */

/** @param {Entry} entry @param {boolean} removed */
function said(entry, removed) {
  captions.show(entry, removed);
  announcer.note(entry);
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
    remoteLevel,
    /** @returns {boolean} whether the page and the server are connected */
    get connected() {
      return store.state.link === 'ready';
    },
  },
});

const obstacle = microphoneObstacle();
if (obstacle) store.setProblem('mic', problem(obstacle));
connection.open();
