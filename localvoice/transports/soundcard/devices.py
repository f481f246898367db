"""Sound devices as PortAudio lists them, and how a user chooses one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.transports.soundcard.patches import restart_portaudio

COMMON_RATES: Final = (48_000, 44_100, 16_000)
"""Tried in this order where a device refuses the rate that it calls its own."""


class Direction(StrEnum):
    """Recording or playing; the values are the names of the options."""

    INPUT = "input"
    OUTPUT = "output"

    @property
    def noun(self) -> str:
        return "microphone" if self is Direction.INPUT else "output device"


@dataclass(frozen=True)
class Device:
    number: int  # its place in the list, which changes when devices come and go
    name: str  # as the system calls it; several devices may share one
    inputs: int  # channels to record; 0 if it is no microphone
    outputs: int  # channels to play; 0 if it is no output device
    rate: int  # its own, in Hz
    default_input: bool = False
    default_output: bool = False

    @property
    def default(self) -> bool:
        return self.default_input or self.default_output

    def channels(self, direction: Direction) -> int:
        return self.inputs if direction is Direction.INPUT else self.outputs

    def is_default(self, direction: Direction) -> bool:
        return self.default_input if direction is Direction.INPUT else self.default_output


def list_devices() -> list[Device]:
    library = portaudio()
    default_input, default_output = library.default.device
    return [
        Device(
            number=number,
            name=str(info["name"]),
            inputs=int(info["max_input_channels"]),
            outputs=int(info["max_output_channels"]),
            rate=int(info["default_samplerate"]),
            default_input=number == default_input,
            default_output=number == default_output,
        )
        for number, info in enumerate(library.query_devices())
    ]


def refreshed_devices() -> list[Device]:
    """All devices, also those that came since PortAudio started. Raises `VoiceError`."""
    library = portaudio()
    try:
        restart_portaudio(library)
        return list_devices()
    except library.PortAudioError as error:
        raise device_error(f"PortAudio can't start ({error}). Is the sound server running?") from error


def choose(devices: Sequence[Device], wanted: str | None, direction: Direction) -> Device:
    """The device that `wanted` means: a number, a name, a part of one, or None for the default.

    Ignores case, and prefers a whole name to a part. Raises `VoiceError` AUDIO_PROCESSING_ERROR, which lists
    the candidates, if there is none or more than one.
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
    """AUDIO_PROCESSING_ERROR; `message` says what is wrong and what to do."""
    return VoiceError(ErrorCode.AUDIO_PROCESSING_ERROR, Component.SERVER, message)


def portaudio() -> Any:
    """The sounddevice package. Raises `VoiceError` without PortAudio, where it can't be imported."""
    try:
        import sounddevice
    except OSError as error:
        raise device_error(
            "The sound card can't be used because PortAudio is not installed. Install it (Debian and Ubuntu: "
            "`sudo apt install libportaudio2`; Fedora: `sudo dnf install portaudio`; macOS: "
            "`brew install portaudio`), or talk in a browser: `localvoice serve`."
        ) from error
    return sounddevice


def accepted_format(device: Device, direction: Direction, rates: tuple[int, ...]) -> tuple[int, int]:
    """The first rate, and the number of channels, that the device takes. Raises `VoiceError`."""
    library = portaudio()
    most = device.channels(direction)
    # Mono is enough, but some hardware takes only its own number of channels.
    counts = (1, most) if direction is Direction.INPUT else (min(2, most), 1, most)
    checks = {Direction.INPUT: library.check_input_settings, Direction.OUTPUT: library.check_output_settings}
    refusal = None
    for rate, channels in itertools.product(dict.fromkeys(rates), dict.fromkeys(counts)):
        try:
            checks[direction](device=device.number, channels=channels, dtype="int16", samplerate=rate)
        except library.PortAudioError as error:
            refusal = refusal or error
        else:
            return rate, channels
    raise cannot_open(device.name, direction, refusal)


def cannot_open(name: str, direction: Direction, error: Exception | None) -> VoiceError:
    return device_error(
        f'"{name}" can\'t be opened as {direction.noun} ({error}). Close other programs that use it, or '
        f"choose another with --{direction}; `localvoice talk --list-devices` shows them all."
    )


def _matching(devices: list[Device], wanted: str) -> list[Device]:
    if wanted.isdecimal():
        return [device for device in devices if device.number == int(wanted)]
    folded = wanted.casefold()
    whole = [device for device in devices if device.name.casefold() == folded]
    return whole or [device for device in devices if folded in device.name.casefold()]
