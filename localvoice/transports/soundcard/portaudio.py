"""PortAudio: the sound devices there are, and a stream from or to one of them."""

import itertools
import logging
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from localvoice.contract.errors import VoiceError
from localvoice.transports.soundcard.devices import Device, Direction, choose, device_error

log = logging.getLogger(__name__)

BLOCKS_A_SECOND: Final = 50
"""20 ms each, as a session expects of any transport."""
_COMMON_RATES: Final = (48_000, 44_100, 16_000)
"""Tried in this order where a device refuses the rate that it calls its own."""

Callback = Callable[[npt.NDArray[np.int16], int, Any, Any], None]
"""(block of shape (samples, channels), samples, times, status flags), as PortAudio calls it."""


def list_devices() -> list[Device]:
    """All sound devices there are. Raises `VoiceError` AUDIO_PROCESSING_ERROR without PortAudio."""
    library = _library()
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


class Side:
    """One direction of the sound card: which device is wanted, the one that was found, and its stream."""

    def __init__(self, direction: Direction, wanted: str | None, devices: list[Device]) -> None:
        self._direction = direction
        self._wanted = wanted
        self._stream: Any = None
        # Written on PortAudio's thread and read on the event loop: plain numbers, which need no lock.
        self._blocks = self._lost = 0
        self._blocks_seen = self._lost_seen = self._looks = 0
        self.find(devices)
        if wanted and wanted.isdecimal():
            # Numbers change when devices come and go: from here on the name counts.
            self._wanted = self.name

    def find(self, devices: list[Device]) -> None:
        """Choose the device that is wanted, and how to open it."""
        self._take(choose(devices, self._wanted, self._direction))

    def find_again(self, devices: list[Device], rate: int | None = None, stand_in: bool = False) -> None:
        """Take the device that was in use, at `rate` if that is given.

        With `stand_in`, the device that is wanted now takes its place if it is not there. Without, raises
        `VoiceError`: while a sound server restarts, the system's default is another device for a moment.
        """
        same = [each for each in devices if each.name == self.name and each.channels(self._direction)]
        if len(same) != 1:
            if not same and not stand_in:
                raise device_error(f'"{self.name}" is not there.')
            same = [choose(devices, self._wanted, self._direction)]
        self._take(same[0], rate)

    def _take(self, device: Device, rate: int | None = None) -> None:
        rates = (device.rate, *_COMMON_RATES) if rate is None else (rate,)
        self.rate, self._channels = _accepted(device, self._direction, rates)
        self.name, self._number = device.name, device.number

    def start(self, callback: Callback) -> None:
        """Open the stream; from now on it calls back."""
        library = _library()
        kind = library.InputStream if self._direction is Direction.INPUT else library.OutputStream
        try:
            self._stream = kind(
                device=self._number,
                samplerate=self.rate,
                channels=self._channels,
                blocksize=self.rate // BLOCKS_A_SECOND,
                dtype="int16",
                latency="low",
                callback=callback,
            )
            self._stream.start()
        except library.PortAudioError as error:
            raise _unusable(self.name, self._direction, error) from error
        self._looks = 0

    def stop(self) -> None:
        """Close the stream, if it is open."""
        if self._stream is not None:
            # Stopped first: closing alone cancels PortAudio's thread, which may be waiting for Python's lock.
            self._stream.stop()
            self._stream.close()
            self._stream = None

    def beat(self, lost: bool) -> None:
        """Note a callback, and whether sound was lost since the one before. Any thread."""
        self._blocks += 1
        self._lost += lost

    def looks_without_block(self) -> int:
        """How often in a row this was called with no callback in between."""
        self._looks = self._looks + 1 if self._blocks == self._blocks_seen else 0
        self._blocks_seen = self._blocks
        return self._looks

    def log_lost_blocks(self) -> None:
        """Log how many blocks were lost since the last time, if any."""
        lost = self._lost
        if lost > self._lost_seen:
            log.debug("%s: sound was lost in %d blocks", self.name, lost - self._lost_seen)
            self._lost_seen = lost


def _library() -> Any:
    """The sounddevice package; imported only here, since without PortAudio it can't be."""
    try:
        import sounddevice
    except OSError as error:
        raise device_error(
            "The sound card can't be used because PortAudio is not installed. Install it (Debian and Ubuntu: "
            "`sudo apt install libportaudio2`; Fedora: `sudo dnf install portaudio`; macOS: "
            "`brew install portaudio`), or talk in a browser: `localvoice serve`."
        ) from error
    return sounddevice


def devices_now() -> list[Device]:
    """All devices; PortAudio sees that they came or went only when it is initialized anew."""
    library = _library()
    try:
        if library._initialized:  # it is not, if the last try failed halfway
            library._terminate()
        library._initialize()
        return list_devices()
    except library.PortAudioError as error:
        raise device_error(f"PortAudio can't start ({error}). Is the sound server running?") from error


def _accepted(device: Device, direction: Direction, rates: tuple[int, ...]) -> tuple[int, int]:
    """The first rate, and the number of channels, that the device takes. Raises `VoiceError`."""
    library = _library()
    most = device.channels(direction)
    # Mono is what we have and need, but some hardware takes only what it was built with.
    channel_counts: tuple[int, ...] = (1, most)
    check = library.check_input_settings
    if direction is Direction.OUTPUT:
        channel_counts = min(2, most), 1, most
        check = library.check_output_settings
    refusal = None
    for rate, channels in itertools.product(dict.fromkeys(rates), dict.fromkeys(channel_counts)):
        try:
            check(device=device.number, channels=channels, dtype="int16", samplerate=rate)
        except library.PortAudioError as error:
            refusal = refusal or error
        else:
            return rate, channels
    raise _unusable(device.name, direction, refusal)


def _unusable(name: str, direction: Direction, error: Exception | None) -> VoiceError:
    return device_error(
        f'"{name}" can\'t be opened as {direction.noun} ({error}). Close other programs that use it, or '
        f"choose another with --{direction}; `localvoice talk --list-devices` shows them all."
    )
