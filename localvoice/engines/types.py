"""What the agent needs of each model. Engines are shared by all sessions; a `VadStream` belongs to one.

Every method may raise `VoiceError` with the code of its component; nothing else comes out of an engine.
Cancelling the awaiting task, or closing the iterator, stops the work in the engine's thread soon after.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self, runtime_checkable

from localvoice.audio.frames import AudioFrame
from localvoice.engines.pictures import Image as Image

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Role = Literal["system", "user", "assistant", "tool"]

CHOOSE_FREELY: Final = "auto"
"""The LLM decides between calling a tool and talking."""
CALL_OR_NOTHING: Final = "optional"
"""The LLM calls a tool, or writes nothing and is asked again, without tools."""
CALL_NOTHING: Final = "none"
"""The LLM sees the tools, so that its prompt stays the same, but talks."""
CALL_SOMETHING: Final = "required"
"""The LLM calls one of the tools."""
OPENING: Final = object()
"""The `Prompt.talk` of what all conversations begin with: what was read of it stays for good."""


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the LLM sees it."""

    name: str
    """What a call names: letters, digits, _ and -."""
    description: str
    """When it is of use, in a sentence."""
    parameters: Mapping[str, Any]
    """JSON Schema of its arguments, an object."""


@dataclass(frozen=True)
class ToolOffer:
    """The tools of one request to the LLM."""

    tools: tuple[ToolSpec, ...]
    """At least one."""
    choice: str = CHOOSE_FREELY
    """`auto`, `optional`, `none`, `required`, or the name of the tool to call."""


@dataclass(frozen=True)
class ToolCall:
    """The LLM wants a tool to run. Decoded under a grammar, so its arguments fit the schema's types."""

    call_id: str
    """Unique in this process."""
    name: str
    """A tool of the offer."""
    arguments: Mapping[str, Any]
    """Decoded from JSON."""


@dataclass(frozen=True)
class CutOff:
    """Ends a reply that came to its limit of tokens, or to the end of the context, before its own end."""


@dataclass(frozen=True)
class Thinking:
    """The LLM reasons before it answers, and it lasts: the listener is told so."""


@dataclass(frozen=True)
class Retracted:
    """The text of the reply so far was no answer, but reasoning that did not look like it."""


ReplyItem = str | ToolCall | CutOff | Thinking | Retracted
"""Items of an LLM's reply: text deltas, after which a `CutOff` may follow, or one whole call.

Reasoning is in no delta: the agent takes it out of the text, also of an `Llm` of the application's own.
"""


@dataclass(frozen=True)
class ChatMessage:
    """One message as the LLM reads it."""

    role: Role
    """Who said it; `tool` for what a tool answered."""
    content: str
    """Plain text; a tool's answer is JSON."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The tools that the assistant called with this message."""
    tool_call_id: str = ""
    """Of a tool's answer: the call that it answers."""
    images: tuple[Image, ...] = ()
    """Pictures that the user sent with it."""
    aside: bool = False
    """Whether the LLM isn't given it, as it has no use for it: "stop", "say that again"."""


class Prompt(tuple[ChatMessage, ...]):
    """Messages, oldest first, with their tokens; made by `Llm.prompt`, and taken wherever messages are.

    The model that made it doesn't tokenise it again. Any other model reads its messages.
    """

    offer: ToolOffer | None
    """The tools that it tells of."""
    tokens: int
    """About how many tokens of context it takes; never fewer than it really does."""
    encoded: object
    """The model's own form of it; None where a model takes the messages as they are."""
    talk: object
    """One object for all prompts of a conversation until something is forgotten, or `OPENING`, or None. What
    was read for a prompt may serve another of this talk that leaves some of it out."""

    def __new__(
        cls,
        messages: Iterable[ChatMessage],
        offer: ToolOffer | None = None,
        tokens: int = 0,
        encoded: object = None,
    ) -> Self:
        """Of these messages."""
        prompt = super().__new__(cls, messages)
        prompt.offer, prompt.tokens, prompt.encoded, prompt.talk = offer, tokens, encoded, None
        return prompt


@dataclass(frozen=True)
class Transcript:
    """What the STT heard."""

    text: str
    """Empty when nothing was said: silence and noise are no error."""
    language: str = "en"
    """ISO 639-1 code."""


@dataclass(frozen=True)
class Sampling:
    """How the LLM picks its tokens.

    A number that is None is the model's own, as the catalogue has it: hooks may see it, an `Llm` of the
    application's own is never given it.
    """

    temperature: float | None = 0.0
    """0 is greedy, and the same question gets the same answer."""
    top_p: float | None = 0.95
    """Nucleus; without effect at temperature 0."""
    repeat_penalty: float | None = 1.1
    """Above 1, words of the last sentences are less likely: small models repeat themselves otherwise."""
    max_tokens: int = 256
    """Tokens of one reply at most. Spoken answers are short."""
    stop: tuple[str, ...] = ()
    """Texts that end the reply, in addition to the model's own end-of-turn token."""
    top_k: int | None = 40
    """So many of the likeliest tokens are picked from; 0 is all. Without effect at temperature 0."""
    min_p: float | None = 0.05
    """Tokens are left out that are less likely than this share of the likeliest. Without effect at
    temperature 0."""

    def filled(self, model: "Sampling") -> "Sampling":
        """The same, with the model's own number wherever there is None."""
        unsaid = {
            each.name: getattr(model, each.name) for each in fields(self) if getattr(self, each.name) is None
        }
        return replace(self, **unsaid)


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
