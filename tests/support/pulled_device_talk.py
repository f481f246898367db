"""`localvoice talk` with scripted engines on whatever sound device there is; prints its log."""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console

from localvoice.config import Settings
from localvoice.contract.errors import VoiceError
from localvoice.conversation.agent import Agent
from localvoice.process import talk
from localvoice.transports.soundcard import card
from tests.support.fakes import fake_engines


@asynccontextmanager
async def scripted(settings: Settings, _console: Console) -> AsyncIterator[Agent]:
    yield Agent(settings, fake_engines())


vars(talk)["ready_agent"] = scripted
vars(card).update(_CHECK_SECONDS=0.1, _RETRY_SECONDS=0.3)
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
# A shell that starts tests in the background has Ctrl-C ignored, and its children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings: Any = Settings()
try:
    asyncio.run(talk.talk_on_sound_card(settings, Console(width=200)))
except VoiceError as error:
    print(error, flush=True)
    sys.exit(1)
except KeyboardInterrupt:
    print("ended", flush=True)
