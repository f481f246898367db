"""What a turn begins with. Times are the event loop's."""

import asyncio
from dataclasses import dataclass

from localvoice.audio.frames import AudioFrame
from localvoice.conversation.phrases import ForgetRequest
from localvoice.engines.types import Transcript
from localvoice.observability.stopwatch import Timing


@dataclass(frozen=True)
class Heard:
    """What the user said, with the time that it took to know it."""

    transcript: Transcript
    """Its words."""
    timing: Timing | None
    """The transcription alone; None for a typed message."""
    known: float | None = None
    """When its words were known, the event loop's time; None for a typed message."""


@dataclass(eq=False)
class Spoken:
    """The user has said something."""

    transcription: asyncio.Task[Heard]
    """Its words, which may still be under way."""
    speech: AudioFrame
    """The sound, at 16 kHz."""
    at: float
    """When their voice ended."""
    endpoint: float | None = None
    """When that was certain; None for an utterance that was sent as a whole."""


@dataclass(frozen=True, eq=False)
class Typed:
    """The user has written something."""

    text: str
    at: float


@dataclass(frozen=True, eq=False)
class Announced:
    """The agent says something that the user has not asked for."""

    text: str
    at: float


@dataclass(frozen=True, eq=False)
class Forget:
    """The user has pressed the button that forgets."""

    request: ForgetRequest
    at: float


TurnOpening = Spoken | Typed | Announced | Forget
