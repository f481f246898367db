"""What the agent needs of each model. Engines are shared by all sessions; a `VadStream` belongs to one.

Every method may raise `VoiceError` with the code of its component; nothing else comes out of an engine.
Cancelling the awaiting task, or closing the iterator, stops the work in the engine's thread soon after.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from localvoice.audio.frames import AudioFrame
from localvoice.engines.chat import ChatMessage, Prompt, ReplyItem, Sampling, ToolOffer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Transcript:
    """What the STT heard."""

    text: str
    """Empty when nothing was said: silence and noise are no error."""
    language: str = "en"
    """ISO 639-1 code."""


class VadStream(Protocol):
    """Voice activity of one audio stream. Runs inline on the event loop."""

    def __call__(self, window: "npt.NDArray[np.float32]") -> float:
        """Speech probability, 0 to 1, of the next 512 samples at 16 kHz, shape (512,), float32 in [-1, 1)."""

    def reset(self) -> None:
        """Start again, as a fresh stream."""


class Engine(Protocol):
    """What every engine in a worker has in common."""

    @property
    def name(self) -> str:
        """The model's catalogue name."""

    async def warm_up(self) -> None:
        """Run once on a small input, so that the first turn is as quick as the second."""

    async def close(self) -> None:
        """End the worker; running work is cancelled."""


class Vad(Protocol):
    """Voice activity detection; makes one stream for each audio source."""

    def stream(self) -> VadStream:
        """A fresh stream with a state of its own."""


class TurnDetector(Engine, Protocol):
    """Tells by the sound of it whether a speaker has finished."""

    async def complete(self, speech: AudioFrame) -> float:
        """Probability, 0 to 1, that the turn is complete; speech at 16 kHz with some silence at its end."""


class Stt(Engine, Protocol):
    """Speech to text."""

    async def transcribe(self, speech: AudioFrame) -> Transcript:
        """The words of one utterance at 16 kHz, 0.1 to 60 s."""


class Llm(Engine, Protocol):
    """The language model. Messages may be a `Prompt` anywhere."""

    async def prompt(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> Prompt:
        """Tokenise the messages, away from the event loop, also while a reply is being written."""

    def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[ReplyItem, None]:
        """The assistant's next message: text deltas while it is being written, or one whole tool call.

        Text that `max_tokens` ended is followed by a `CutOff`. Without an offer it is always text. A question
        `aside` leaves the conversation that has been read as it is, so that its next prompt costs no more.
        Hold it in `aclosing()`.
        """

    async def prepare(self, messages: Sequence[ChatMessage], offer: ToolOffer | None = None) -> None:
        """Read messages that the next prompt will begin with, so that only its end is left to read then."""

    async def forget(self) -> None:
        """Keep nothing of what was read and written, of any conversation, except what still goes on."""

    @property
    def sees(self) -> bool:
        """Whether it can look at the images of a message; otherwise it is told their `alt` text."""

    @property
    def context_tokens(self) -> int:
        """Size of the model's context."""


class Tts(Engine, Protocol):
    """Text to speech."""

    def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        """The text as sound, at the voice's own rate, without markup and emoji; no frame if nothing is left.

        A sentence may come in several frames: joined, they are its sound, each with the words that end in it.
        """


@runtime_checkable
class PacedTts(Tts, Protocol):
    """A voice that can also speak slower and faster. The agent asks for that only where this is there."""

    def synthesize_at(self, text: str, pace: float) -> AsyncGenerator[AudioFrame, None]:
        """As `synthesize`, `pace` times as fast as the voice's own: from 0.5 to 2."""


@dataclass(frozen=True)
class OwnEngines:
    """Engines of the application's own. The profile's take the place of None; only they need model files.

    The agent calls `warm_up` at the start of each run, and `close` at its end. It adds the settings'
    deadlines, and to an LLM also retries and the fallback.
    """

    vad: Vad | None = None
    stt: Stt | None = None
    llm: Llm | None = None
    tts: Tts | None = None
    turn: TurnDetector | None = None


@dataclass(frozen=True)
class Engines:
    """The models of one process."""

    vad: Vad
    stt: Stt
    llm: Llm
    tts: Tts
    turn: TurnDetector | None = None
    """None where only the length of a silence ends a turn."""
    turn_seconds: float = 0.0
    """What a turn takes of the models on this machine, as rehearsed; 0 where it was not."""
