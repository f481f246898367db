"""How a conversation is spoken: slower or faster, louder or softer than the voice's own way."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from localvoice.audio.frames import AudioFrame
from localvoice.audio.levels import amplified
from localvoice.engines.types import PacedTts, Tts

Way = Literal["slower", "faster", "louder", "softer", "normal"]

SLOWEST: Final = -3
FASTEST: Final = 3
SOFTEST: Final = -3
LOUDEST: Final = 2
_PACE_STEP: Final = 1.25
_GAIN_STEP: Final = 10 ** (4 / 20)
"""4 dB: a step is heard, and the loudest rounds few peaks of a voice at its usual level."""


@dataclass(frozen=True)
class Manner:
    """In steps; 0 is the voice's own."""

    speed: int = 0
    volume: int = 0

    @property
    def pace(self) -> float:
        """How many times as fast as the voice's own."""
        return _PACE_STEP**self.speed

    @property
    def gain(self) -> float:
        """What samples are multiplied by."""
        return _GAIN_STEP**self.volume

    def changed(self, way: Way) -> "Manner":
        """One step that way; the same where it is at its end."""
        match way:
            case "slower":
                return replace(self, speed=max(self.speed - 1, SLOWEST))
            case "faster":
                return replace(self, speed=min(self.speed + 1, FASTEST))
            case "softer":
                return replace(self, volume=max(self.volume - 1, SOFTEST))
            case "louder":
                return replace(self, volume=min(self.volume + 1, LOUDEST))
            case "normal":
                return Manner()


async def spoken(tts: Tts, text: str, manner: Manner) -> AsyncGenerator[AudioFrame, None]:
    """The text's sound in this manner, as far as the voice can. Hold it in `aclosing()`."""
    if manner.speed and isinstance(tts, PacedTts):
        sound = tts.synthesize_at(text, manner.pace)
    else:
        sound = tts.synthesize(text)
    async with aclosing(sound) as frames:
        async for frame in frames:
            yield amplified(frame, manner.gain) if manner.volume else frame


class SavedManner(BaseModel):
    """A manner in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speed: int = Field(default=0, ge=SLOWEST, le=FASTEST)
    volume: int = Field(default=0, ge=SOFTEST, le=LOUDEST)

    @classmethod
    def of(cls, manner: Manner) -> Self:
        return cls(speed=manner.speed, volume=manner.volume)

    def as_manner(self) -> Manner:
        return Manner(self.speed, self.volume)
