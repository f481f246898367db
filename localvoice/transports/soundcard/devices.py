"""Which sound device is meant: by its number, its name, a part of its name, or as the default."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from localvoice.contract.errors import Component, ErrorCode, VoiceError


class Direction(StrEnum):
    """Whether a device is listened to or spoken through; the values are the names of the options."""

    INPUT = "input"
    OUTPUT = "output"

    @property
    def noun(self) -> str:
        """What such a device is called in a message."""
        return "microphone" if self is Direction.INPUT else "output device"


@dataclass(frozen=True)
class Device:
    """A sound device as PortAudio lists it."""

    number: int
    """Its place in the list; another one when devices come and go."""
    name: str
    """As the system calls it; several devices may share one."""
    inputs: int
    """Channels that can be recorded; 0 if it is no microphone."""
    outputs: int
    """Channels that can be played; 0 if nothing can be heard through it."""
    rate: int
    """Samples a second that suit it best."""
    default_input: bool = False
    """Whether it is the microphone that is taken when none is named."""
    default_output: bool = False
    """Whether it is the output that is taken when none is named."""

    @property
    def default(self) -> bool:
        """Whether it is taken, one way or the other, when nothing is named."""
        return self.default_input or self.default_output

    def channels(self, direction: Direction) -> int:
        """How many channels it has in this direction."""
        return self.inputs if direction is Direction.INPUT else self.outputs

    def is_default(self, direction: Direction) -> bool:
        """Whether it is the one that is taken in this direction when none is named."""
        return self.default_input if direction is Direction.INPUT else self.default_output


def choose(devices: Sequence[Device], wanted: str | None, direction: Direction) -> Device:
    """The device that is meant by `wanted`: a number, a name, a part of one, or None for the default.

    Case doesn't matter, and a whole name goes before a part. Raises `VoiceError` AUDIO_PROCESSING_ERROR,
    which lists what there is, if it is none or several.
    """
    able = [device for device in devices if device.channels(direction)]
    if not able:
        raise device_error(
            f"There is no {direction.noun} on this machine. Connect one and try again, or talk in a browser: "
            "`localvoice serve`."
        )
    if not wanted:
        found = [device for device in able if device.is_default(direction)]
        problem = f"The system names no default {direction.noun}"
    else:
        found = _matching(able, wanted)
        unknown = f'No {direction.noun} is called or numbered "{wanted}"'
        problem = f'"{wanted}" fits several devices' if found else unknown
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f'{device.number} "{device.name}"' for device in found or able)
    raise device_error(
        f"{problem}. Choose one with --{direction}, by its number or a part of its name: {listed}."
    )


def device_error(message: str) -> VoiceError:
    """A sound card that can't be used; `message` says why and what to do."""
    return VoiceError(ErrorCode.AUDIO_PROCESSING_ERROR, Component.SERVER, message)


def _matching(devices: list[Device], wanted: str) -> list[Device]:
    if wanted.isdecimal():
        return [device for device in devices if device.number == int(wanted)]
    folded = wanted.casefold()
    whole = [device for device in devices if device.name.casefold() == folded]
    return whole or [device for device in devices if folded in device.name.casefold()]
