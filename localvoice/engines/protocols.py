"""What the agent needs of each model. Engines are shared by all sessions; a `VadStream` belongs to one.

Every method may raise `VoiceError` with the code of its component; nothing else comes out of an engine.
Cancelling the awaiting task, or closing the iterator, stops the work in the engine's thread soon after.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import AudioFrame

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class ChatMessage:
    """One message as the LLM reads it."""

    role: Role
    """Who said it."""
    content: str
    """Plain text."""


@dataclass(frozen=True)
class Transcript:
    """What the STT heard."""

    text: str
    """Empty when nothing was said: silence and noise are no error."""
    language: str = "en"
    """ISO 639-1 code."""


@dataclass(frozen=True)
class Sampling:
    """How the LLM picks its tokens."""

    temperature: float = 0.0
    """0 is greedy, and the same question gets the same answer."""
    top_p: float = 0.95
    """Nucleus; without effect at temperature 0."""
    repeat_penalty: float = 1.1
    """Above 1, words of the last sentences are less likely: small models repeat themselves otherwise."""
    max_tokens: int = 256
    """Tokens of one reply at most. Spoken answers are short."""
    stop: tuple[str, ...] = field(default=())
    """Texts that end the reply, beside the model's own end-of-turn token."""


class VadStream(Protocol):
    """Voice activity of one audio stream. Runs inline: 0.1 ms a window."""

    def __call__(self, window: npt.NDArray[np.float32]) -> float:
        """Speech probability, 0 to 1, of the next 512 samples at 16 kHz, shape (512,), float32 in [-1, 1)."""
        ...

    def reset(self) -> None:
        """Forget the stream so far."""
        ...


class Engine(Protocol):
    """What every engine in a worker has in common."""

    @property
    def name(self) -> str:
        """The model's catalogue name."""
        ...

    async def warm_up(self) -> None:
        """Run once on a small input, so that the first turn is as quick as the second."""
        ...

    async def close(self) -> None:
        """End the worker; running work is cancelled."""
        ...


class Vad(Protocol):
    """Voice activity detection; makes one stream for each audio source."""

    def stream(self) -> VadStream:
        """A fresh stream with a state of its own."""
        ...


class Stt(Engine, Protocol):
    """Speech to text."""

    async def transcribe(self, speech: AudioFrame) -> Transcript:
        """The words of one utterance at 16 kHz, 0.1 to 60 s."""
        ...


class Llm(Engine, Protocol):
    """The language model."""

    def reply(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[str, None]:
        """The assistant's next message, as text deltas while it is being written. Hold it in `aclosing()`."""
        ...

    async def prepare(self, messages: Sequence[ChatMessage]) -> None:
        """Read messages that the next prompt will begin with, so that only its end is left to read then."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without the chat template's own."""
        ...

    @property
    def context_tokens(self) -> int:
        """Size of the model's context."""
        ...


class Tts(Engine, Protocol):
    """Text to speech."""

    def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        """The text as sound, a frame a sentence, at the voice's own rate. Markup and emoji are not read out.

        Text with nothing to say gives no frame.
        """
        ...


@dataclass(frozen=True)
class Engines:
    """The models of one process."""

    vad: Vad
    stt: Stt
    llm: Llm
    tts: Tts
