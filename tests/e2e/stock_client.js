// A client in the stock client's order, to be run in a page of the server's:
//   WebSocket → ready → offer with only a data channel → channel opens → second offer with the microphone,
//   a ping now and then; after a drop: new WebSocket → ready → reconnect with the old id → offers anew.
// It reads payload from the data channel or from the WebSocket, as `read` says. Every wait has a deadline.
async ({ read, wav, picture }) => {
  const DEADLINE_MS = 30_000;
  const PING_EVERY_MS = 300;
  const UTTERANCE_MS = 900;
  const SIGNALLING = ['ready', 'pong', 'signal', 'reconnect-ack'];

  const audio = new AudioContext();
  const microphone = audio.createMediaStreamDestination();
  const loudness = new GainNode(audio, { gain: 0 });
  const tone = new OscillatorNode(audio, { frequency: 220 });
  tone.connect(loudness).connect(microphone);
  tone.start();
  // The real device is opened, too, as the stock client does; what is said comes from the tone.
  audio.createMediaStreamSource(await navigator.mediaDevices.getUserMedia({ audio: true })).connect(new GainNode(audio, { gain: 0 })).connect(microphone);

  const say = async () => {
    loudness.gain.value = 0.4;
    await new Promise((resolve) => setTimeout(resolve, UTTERANCE_MS));
    loudness.gain.value = 0;
  };

  class Client {
    bySocket = [];
    byChannel = [];
    taken = { ready: 0, signal: 0, pong: 0, 'reconnect-ack': 0, payload: 0 };
    state = () => `${this.peer?.connectionState}, ${this.channel?.readyState}, socket ${this.socket.readyState}`;

    constructor() {
      this.socket = new WebSocket(`ws://${location.host}/`);
      this.socket.onmessage = ({ data }) => this.bySocket.push(JSON.parse(data));
      this.pinging = setInterval(() => this.send({ type: 'ping', timestamp: Date.now() }), PING_EVERY_MS);
    }

    send(message) {
      if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
    }

    // Polls rather than listens: what came before it was waited for counts as well.
    async until(what, find) {
      const end = performance.now() + DEADLINE_MS;
      for (;;) {
        const found = find();
        if (found) return found;
        if (performance.now() > end) {
          const seen = `WebSocket: ${this.bySocket.map(({ type }) => type).join(' ')}; `
            + `channel: ${this.byChannel.map(({ type }) => type).join(' ')}`;
          throw new Error(`never came: ${what} (${this.state()}). ${seen}`.slice(0, 2000));
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }

    // The next message of a type that belongs to signalling: on the WebSocket only.
    signalling(type) {
      return this.until(type, () => {
        const found = this.bySocket.filter((message) => message.type === type)[this.taken[type]];
        if (found) this.taken[type] += 1;
        return found;
      });
    }

    get payload() {
      return read === 'channel' ? this.byChannel : this.payloadOnSocket;
    }

    get payloadOnSocket() {
      return this.bySocket.filter(({ type }) => !SIGNALLING.includes(type));
    }

    // Reads on until a payload of this type; gives all from where reading had come to.
    async payloadUntil(type) {
      const from = this.taken.payload;
      await this.until(type, () => {
        const at = this.payload.findIndex((message, index) => index >= from && message.type === type);
        if (at >= 0) this.taken.payload = at + 1;
        return at >= 0;
      });
      return this.payload.slice(from, this.taken.payload);
    }

    async connect() {
      const ready = await this.signalling('ready');
      this.iceServers = ready.iceServers;
      const begun = performance.now();
      this.peer = new RTCPeerConnection({ iceServers: ready.iceServers });
      this.channel = this.peer.createDataChannel('data', { ordered: true });
      this.channel.onmessage = ({ data }) => this.byChannel.push(JSON.parse(data));
      return { ready, begun };
    }

    async openChannel() {
      await this.negotiate();
      await this.until('an open data channel', () => this.channel.readyState === 'open');
    }

    async addMicrophone() {
      let sounds = false;
      this.peer.ontrack = ({ track, streams }) => {
        const player = new Audio(); // a track that nobody plays is not decoded
        player.srcObject = streams[0] ?? new MediaStream([track]);
        player.play();
        track.onunmute = () => { sounds = true; };
        sounds ||= !track.muted; // its first packet may have come before this event
      };
      this.peer.addTrack(microphone.stream.getAudioTracks()[0], microphone.stream);
      await this.negotiate();
      await this.until('the agent’s track', () => sounds);
    }

    async negotiate() {
      await this.peer.setLocalDescription(await this.peer.createOffer());
      await this.until('all candidates', () => this.peer.iceGatheringState === 'complete');
      this.send({ type: 'offer', signal: this.peer.localDescription });
      const { signal } = await this.signalling('signal');
      await this.peer.setRemoteDescription(signal);
    }

    async energy() {
      const reports = [...(await this.peer.getStats()).values()];
      return reports.find(({ type }) => type === 'inbound-rtp').totalAudioEnergy;
    }

    drop() {
      clearInterval(this.pinging);
      this.socket.close();
      this.peer.close();
    }
  }

  const report = {};
  const first = new Client();
  const { ready, begun } = await first.connect();
  await first.openChannel();
  report.milliseconds = [performance.now() - begun];
  report.firstMessage = first.bySocket[0];
  report.servers = ready.iceServers.map(({ urls }) => urls);
  await first.addMicrophone();

  // A turn, with a picture that was sent ahead of it on the data channel.
  first.channel.send(JSON.stringify({ type: 'attachments', attachments: [{ data: picture, mimeType: 'image/png', alt: 'a dot' }] }));
  const talking = say();
  report.turn = await first.payloadUntil('tts-complete');
  await talking;
  report.energy = await first.energy();

  // A turn that the user interrupts.
  await say();
  report.long = await first.payloadUntil('tts-start');
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const interrupting = say();
  report.interruption = await first.payloadUntil('tts-cancelled');
  await interrupting;
  report.afterInterruption = await first.payloadUntil('tts-complete');

  // A third is cut by the drop of the connection.
  await say();
  await first.payloadUntil('tts-start');
  await new Promise((resolve) => setTimeout(resolve, 700));
  const all = () => first.byChannel.length === first.payloadOnSocket.length;
  report.same = await first.until('the same on both ways', () => all() && JSON.stringify(first.byChannel) === JSON.stringify(first.payloadOnSocket));
  report.pongs = first.bySocket.filter(({ type }) => type === 'pong').map(({ timestamp }) => timestamp);
  first.drop();

  const second = new Client();
  const again = await second.signalling('ready');
  second.taken.ready = 0; // connect() reads it, too
  second.send({ type: 'reconnect', sessionId: ready.id });
  report.ack = await second.signalling('reconnect-ack');
  report.ids = [ready.id, again.id];
  const { begun: begunAgain } = await second.connect();
  await second.openChannel();
  report.milliseconds.push(performance.now() - begunAgain);
  await second.addMicrophone();
  second.channel.send(JSON.stringify({ type: 'audio', data: wav }));
  report.resumed = await second.payloadUntil('tts-complete');
  report.energyAgain = await second.energy();
  second.drop();
  return report;
}
