// What the tests drive in a page of an application's own: the stock client as it is published, and a
// microphone that says what a test wants.
import { LLMRTCWebClient, recordOnce } from '@llmrtc/llmrtc-web-client';

const DEADLINE_MS = 30_000;
const EVENTS = [
  'transcript', 'llmChunk', 'llm', 'tts', 'ttsChunk', 'ttsTrack', 'ttsStart', 'ttsComplete', 'ttsCancelled',
  'speechStart', 'speechEnd', 'toolCallStart', 'toolCallEnd', 'stageChange', 'error', 'stateChange',
  'reconnecting', 'reconnected',
];

/** The ICE servers of each connection that was made. */
const asked = [];
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer {
  constructor(config) {
    super(config);
    asked.push(...config.iceServers.map(({ urls }) => urls));
  }
};

const audio = new AudioContext();
const microphone = audio.createMediaStreamDestination();
const loudness = new GainNode(audio, { gain: 0 });
const tone = new OscillatorNode(audio, { frequency: 220 });
tone.connect(loudness).connect(microphone);
tone.start();

let client;
let events = [];
let read = 0;
let shared;

/** What `find` gives, once it is something. Polls: what came before it was waited for counts as well. */
async function until(what, find) {
  const end = performance.now() + DEADLINE_MS;
  for (;;) {
    const found = await find();
    if (found) return found;
    if (performance.now() > end) throw new Error(`never came: ${what}. Events: ${JSON.stringify(events).slice(-1500)}`);
    await pause(5);
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** An event as JSON: sound as its length, a stream as nothing. */
const asJson = (word) => (word instanceof ArrayBuffer ? word.byteLength : word instanceof MediaStream ? null : word);

function play(stream) {
  const player = new Audio(); // a track that isn't played is not decoded
  player.srcObject = stream;
  player.play();
}

const inbound = async () =>
  [...(await client.peer.peerConnection.getStats()).values()].find((report) => report.type === 'inbound-rtp');

window.stock = {
  /** Connects; gives the milliseconds that it took. */
  async start(signallingUrl, reconnection = {}) {
    client = new LLMRTCWebClient({ signallingUrl, reconnection });
    events = [];
    read = 0;
    for (const name of EVENTS) client.on(name, (...words) => events.push([name, ...words.map(asJson)]));
    client.on('ttsTrack', play);
    const begun = performance.now();
    await client.start();
    return performance.now() - begun;
  },
  async share() {
    shared = await client.shareAudio(microphone.stream.clone());
  },
  /** Stops sharing, and waits until the server has answered that. */
  async unshare() {
    const { peerConnection } = client.peer;
    const states = [];
    peerConnection.addEventListener('signalingstatechange', () => states.push(peerConnection.signalingState));
    await shared.stop();
    await until('an offer and its answer', () => states.at(-1) === 'stable');
  },
  /** Shares a camera whose every frame is a green square of so many pixels, and waits for the first. */
  async look(pixels) {
    const square = Object.assign(document.createElement('canvas'), { width: pixels, height: pixels });
    const paint = square.getContext('2d');
    setInterval(() => { paint.fillStyle = 'green'; paint.fillRect(0, 0, pixels, pixels); }, 50);
    const camera = client.shareVideo(square.captureStream(20), 100);
    await until('a picture of the camera', () => camera.getLastFrame());
  },
  async say(ms = 900) {
    loudness.gain.value = 0.4;
    await pause(ms);
    loudness.gain.value = 0;
  },
  record: async (ms) => client.sendAudio(await recordOnce(ms)),
  send: (bytes) => client.sendAudio(Uint8Array.from(bytes).buffer),
  /** The socket goes, as when a laptop changes its network. */
  cut: () => client.ws.close(),
  close: () => client.close(),
  /** The events up to this one, from where reading had come to. */
  async eventsUntil(name) {
    const from = read;
    const at = await until(name, () => 1 + events.findIndex(([each], index) => index >= from && each === name));
    read = at;
    return events.slice(from, at);
  },
  /** All so far, whether read or not. */
  events: () => events,
  /** Energy of the agent's voice, in all, once it is heard. */
  voice: () => until('the voice of the agent', async () => (await inbound())?.totalAudioEnergy),
  state: () => client.state,
  session: () => client.currentSessionId,
  /** How many sections its last offer had. */
  sections: () => client.peer.peerConnection.localDescription.sdp.split('\nm=').length - 1,
  asked: () => asked,
};
