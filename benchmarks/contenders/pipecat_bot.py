# mypy: disable-error-code="import-not-found"
"""pipecat's voice agent, in its own environment: `pipecat_bot.py LLM WHISPER VOICE PROMPT [--tuned]`.

The pipeline is the one that pipecat's own project template makes for STT, LLM and TTS in a cascade: Silero,
Smart Turn v3 and its other turn strategies by default. The models are loaded once, before anyone calls.
"""

import argparse
import functools
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import BackgroundTasks, FastAPI
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.piper.tts import PiperTTSService
from pipecat.services.whisper.stt import WhisperSTTService
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.request_handler import SmallWebRTCRequest, SmallWebRTCRequestHandler
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.workers.runner import WorkerRunner


class Bot:
    """The services of one caller; a process serves one."""

    def __init__(self, options: argparse.Namespace) -> None:
        settings = WhisperSTTService.Settings(model=options.whisper)
        if options.tuned:
            self._stt = WhisperSTTService(settings=settings, device="cpu", compute_type="int8")
            model = self._stt._model  # there is no setting for the beam
            model.transcribe = functools.partial(model.transcribe, beam_size=1)
        else:
            self._stt = WhisperSTTService(settings=settings)
        self._llm = OpenAILLMService(
            base_url=f"{options.llm}/v1",
            api_key="none",
            settings=OpenAILLMService.Settings(
                model="local", system_instruction=options.prompt, temperature=0.0, max_tokens=256
            ),
        )
        voice = Path(options.voice)
        self._tts = PiperTTSService(
            download_dir=voice.parent, settings=PiperTTSService.Settings(voice=voice.stem)
        )
        self._vad = SileroVADAnalyzer()

    async def converse(self, connection: Any) -> None:
        """One conversation, until the caller hangs up."""
        transport = SmallWebRTCTransport(
            webrtc_connection=connection,
            params=TransportParams(audio_in_enabled=True, audio_out_enabled=True),
        )
        user, assistant = LLMContextAggregatorPair(
            LLMContext(), user_params=LLMUserAggregatorParams(vad_analyzer=self._vad)
        )
        worker = PipelineWorker(
            Pipeline(
                [transport.input(), self._stt, user, self._llm, self._tts, transport.output(), assistant]
            )
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)

        async def hang_up(*_: Any) -> None:
            await runner.cancel()

        transport.add_event_handler("on_client_disconnected", hang_up)
        await runner.run()


def main() -> None:
    """Load the models, then serve on a free port of this machine and print the address."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("llm", "whisper", "voice", "prompt"):
        parser.add_argument(name)
    parser.add_argument("--tuned", action="store_true")
    # Its default, every debug line, would cost time.
    logger.remove()
    logger.add(sys.stderr, level="INFO")
    bot = Bot(parser.parse_args())
    handler = SmallWebRTCRequestHandler()

    async def offer(request: SmallWebRTCRequest, background_tasks: BackgroundTasks) -> Any:
        async def connected(connection: Any) -> None:
            background_tasks.add_task(bot.converse, connection)

        return await handler.handle_web_request(request, connected)

    app = FastAPI()
    app.add_api_route("/api/offer", offer, methods=["POST"])
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
