"""Values between the parts of a conversation: what a turn begins with, what happens to the floor, what to do.

Times are the event loop's.
"""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from localvoice.audio.frames import AudioFrame
from localvoice.conversation.phrases.forgetting import ForgetRequest
from localvoice.engines.types import Transcript
from localvoice.observability.stopwatch import Timing

# --- what a turn begins with ---


@dataclass(frozen=True)
class Heard:
    """What the user said, with the time that it took to know it."""

    transcript: Transcript
    timing: Timing | None  # the transcription alone; None for a typed message
    known: float | None = None  # when its words were known, the event loop's time; None for a typed message


@dataclass(eq=False)
class Spoken:
    transcription: asyncio.Task[Heard]  # its words, which may still be under way
    speech: AudioFrame  # at 16 kHz
    at: float  # when their voice ended
    endpoint: float | None = None  # when that was certain; None for an utterance that was sent as a whole


@dataclass(frozen=True, eq=False)
class Typed:
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

# --- what happens ---

Opening = Any
"""A `TurnOpening`, as the floor sees it: told apart by identity, and nothing of it is read."""

SPEECH_STARTED: Final = "speech started"
"""The event of a transition at which the user begins an utterance."""
TURN_STARTED: Final = "turn started"
"""The same at which a turn of the user's begins."""


class State(StrEnum):
    """Who has the floor."""

    IDLE = "idle"
    LISTENING = "listening"
    HELD = "held"
    THINKING = "thinking"
    SPEAKING = "speaking"


@dataclass(frozen=True)
class SpeechStarted:
    """The user begins an utterance; they began so long ago."""

    since_ms: float


@dataclass(frozen=True)
class SpeechResumed:
    """The user goes on after a pause; so much of the utterance was voice before it."""

    voiced_ms: float
    since_ms: float


@dataclass(frozen=True)
class SpeechLasts:
    """The user speaks on; so much of the utterance is voice."""

    voiced_ms: float


@dataclass(frozen=True)
class PauseUnderstood:
    """What the user said before the pause that they make now is known, and asks for the floor or doesn't."""

    wants_floor: bool


@dataclass(frozen=True)
class SpeechEnded:
    """The user has finished an utterance."""

    opening: Opening


@dataclass(frozen=True)
class Understood:
    """The words of an utterance that was undecided are known."""

    opening: Opening
    wants_floor: bool


@dataclass(frozen=True)
class Requested:
    """A turn that begins with no utterance at the microphone: typed, sent, announced, to forget something."""

    opening: Opening
    event: str = TURN_STARTED


@dataclass(frozen=True)
class ReplyStarted:
    """The turn begins its reply."""

    opening: Opening


@dataclass(frozen=True)
class SoundStarted:
    """The first sound of the turn's reply is there to be played."""

    opening: Opening


@dataclass(frozen=True)
class TurnSpent:
    """Nothing is left of the turn to interrupt: it was heard to its end, or has failed."""

    opening: Opening


@dataclass(frozen=True)
class TurnEnded:
    """The turn has ended, hooks and all."""

    opening: Opening


@dataclass(frozen=True)
class Left:
    """The session leaves its conversation."""


@dataclass(frozen=True)
class Entered:
    """The session has another conversation."""


Event = (
    SpeechStarted
    | SpeechResumed
    | SpeechLasts
    | PauseUnderstood
    | SpeechEnded
    | Understood
    | Requested
    | ReplyStarted
    | SoundStarted
    | TurnSpent
    | TurnEnded
    | Left
    | Entered
)


# --- what is to be done ---


@dataclass(frozen=True)
class FloorTransition:
    """The state has changed, or the same one has begun once more; what the session's subscribers get."""

    source: State
    event: str
    target: State


@dataclass(frozen=True)
class Hold:
    """Silence from the next frame on; nothing is lost."""


@dataclass(frozen=True)
class Release:
    """The held turn goes on."""


@dataclass(frozen=True)
class Cut:
    """Silence for good. A turn that is not answering yet notes the user's words before it ends."""

    opening: Opening
    answering: bool
    after_ms: float | None = None
    """How long the user had been speaking at the silence; None where they did something else."""


@dataclass(frozen=True)
class Begin:
    """A turn begins."""

    opening: Opening


@dataclass(frozen=True)
class Await:
    """The words of an utterance decide: `Understood` is to follow."""

    opening: Opening


@dataclass(frozen=True)
class Dismiss:
    """The user's utterance gets no turn."""

    opening: Opening


Effect = FloorTransition | Hold | Release | Cut | Begin | Await | Dismiss
