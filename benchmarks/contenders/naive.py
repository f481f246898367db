"""The voice agent that one writes first, with the files WHISPER GGUF VOICE VAD as arguments.

700 ms of silence end the turn. Then the whole of it is transcribed by faster-whisper's own call, the whole
reply is written, the whole of it is spoken. Each library at its defaults; no interruptions.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import av
import llama_cpp
import numpy as np
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from faster_whisper import WhisperModel
from piper import PiperVoice

from benchmarks.call import PacedTrack
from benchmarks.contenders.llm_server import CONTEXT_TOKENS, REPEAT_PENALTY, serve_app
from localvoice.audio.endpointing import Endpointing, UtteranceEnded, Windows
from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.audio.recordings import Resampler
from localvoice.config import SYSTEM_PROMPT, AgentSettings, ListeningSettings
from localvoice.engines.silero import SileroVad

SILENCE_MS: Final = 700
AGENT: Final = AgentSettings()


class Models:
    """The models, as their libraries load them. Blocking."""

    def __init__(self, whisper: str, llm: str, voice: str, vad: str) -> None:
        self._whisper = WhisperModel(whisper, device="cpu", compute_type="int8")
        self._llama = llama_cpp.Llama(llm, n_ctx=CONTEXT_TOKENS, verbose=False)
        self._piper = PiperVoice.load(voice)
        self.vad = SileroVad(Path(vad))

    def answer(self, speech: AudioFrame, history: list[dict[str, str]]) -> AudioFrame | None:
        """Stage after stage, each of them whole; None where nothing was understood."""
        segments, _ = self._whisper.transcribe(speech.as_float(), language="en")
        text = "".join(segment.text for segment in segments).strip()
        if not text:
            return None
        history.append({"role": "user", "content": text})
        completed: Any = self._llama.create_chat_completion(
            history,  # type: ignore[arg-type]
            temperature=0.0,
            repeat_penalty=REPEAT_PENALTY,
            max_tokens=AGENT.max_tokens,
        )
        reply: str = completed["choices"][0]["message"]["content"]
        history.append({"role": "assistant", "content": reply})
        chunks = [chunk.audio_int16_array for chunk in self._piper.synthesize(reply)]
        return AudioFrame(np.concatenate(chunks), self._piper.config.sample_rate) if chunks else None


class Conversation:
    """One caller. While the answer is made and spoken, it doesn't listen."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._loudspeaker = PacedTrack()
        self._history = [{"role": "system", "content": SYSTEM_PROMPT}]
        self._answering: asyncio.Task[None] | None = None
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.on("track", self._on_track)

    async def answer(self, offer: dict[str, str]) -> dict[str, str]:
        await self._peer.setRemoteDescription(RTCSessionDescription(offer["sdp"], offer["type"]))
        self._peer.addTrack(self._loudspeaker)
        await self._peer.setLocalDescription(await self._peer.createAnswer())
        local = self._peer.localDescription
        return {"sdp": local.sdp, "type": local.type}

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._listening = asyncio.create_task(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        resample, windows = Resampler(SPEECH_RATE), Windows()
        settings = ListeningSettings(pause_ms=SILENCE_MS, end_ms=SILENCE_MS)
        endpointing, vad = Endpointing(settings), self._models.vad.stream()
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, av.AudioFrame)
            mono = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            for window in windows(resample(AudioFrame(np.ascontiguousarray(mono), frame.sample_rate))):
                if self._busy:
                    continue
                event = endpointing(window, vad(AudioFrame(window, SPEECH_RATE).as_float()))
                if isinstance(event, UtteranceEnded):
                    self._answering = asyncio.create_task(self._answer(event.speech))

    @property
    def _busy(self) -> bool:
        return self._loudspeaker.speaking or (self._answering is not None and not self._answering.done())

    async def _answer(self, speech: AudioFrame) -> None:
        sound = await asyncio.to_thread(self._models.answer, speech, self._history)
        if sound is not None:
            self._loudspeaker.put(sound)


async def serve(*files: str) -> None:
    """Serve until the process is ended."""
    models, conversations = Models(*files), list[Conversation]()

    async def offer(request: web.Request) -> web.Response:
        conversations.append(Conversation(models))
        return web.json_response(await conversations[-1].answer(await request.json()))

    app = web.Application()
    app.router.add_post("/api/offer", offer)
    await serve_app(app)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
