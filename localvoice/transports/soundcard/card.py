"""The sound card: its microphone in, the agent's voice out, through PortAudio.

PortAudio calls back on threads of its own, which must never wait. Recorded blocks are posted to the event
loop; blocks to play are read there and queued for PortAudio. It reports no unplugged device: the callbacks
stop, and that is what is watched.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from localvoice.audio.frames import AudioFrame, Samples
from localvoice.audio.playout import Playout
from localvoice.contract.errors import VoiceError
from localvoice.engines.worker import Worker
from localvoice.transports.inbox import FrameInbox
from localvoice.transports.soundcard.devices import (
    COMMON_RATES,
    Device,
    Direction,
    accepted_format,
    cannot_open,
    choose,
    device_error,
    list_devices,
    portaudio,
    refreshed_devices,
)

log = logging.getLogger(__name__)

_BLOCKS_A_SECOND: Final = 50  # 20 ms each, as a session expects of any transport
_QUEUED_BLOCKS: Final = 3
"""Blocks read ahead of the device. They are played even after a barge-in, and 60 ms of that go unnoticed;
with fewer, playback would crackle sooner while the event loop is busy."""
_CHECK_SECONDS: Final = 0.25
_LOST_CHECKS: Final = 10
"""Checks in a row, 2.5 s, without a callback: the device is gone. Checks, because a process that was stopped
has no callbacks either. On a loaded machine PortAudio pauses for up to 2 s after an underrun."""
_STARTING_CHECKS: Final = 20
"""5 s after opening: sound servers and Bluetooth headsets stall for up to 2 s when they start."""
_RETRY_SECONDS: Final = 2.0
_PATIENT_TRIES: Final = 10  # for the device that was in use, 20 s in all; then the default takes its place
_ANSWER_SECONDS: Final = 15.0
"""To stop, find and open both devices. A driver may hang when its device is unplugged."""

Callback = Callable[[npt.NDArray[np.int16], int, Any, Any], None]
"""(block of shape (samples, channels), samples, times, status flags), as PortAudio calls it."""


class SoundCard:
    """A microphone and an output; one device or two."""

    def __init__(self, inbox: FrameInbox, input_name: str | None, output_name: str | None) -> None:
        """Choose the devices and check that they can be used; nothing is recorded before `run`.

        A name is a device's number, its name or a part of it; None takes the default. Raises `VoiceError`
        AUDIO_PROCESSING_ERROR, which says what to do.
        """
        devices = list_devices()
        self._inbox = inbox
        self._microphone = _Stream(Direction.INPUT, input_name, devices)
        self._output = _Stream(Direction.OUTPUT, output_name, devices)
        self.rate: Final = self._output.rate
        """Hz that is played: the rate that the `Playout` needs."""
        self._heard_anything = False

    async def run(self, playout: Playout) -> None:
        """Record and play until cancelled; wait for a device that goes away.

        Raises `VoiceError` AUDIO_PROCESSING_ERROR if the devices can't be opened at first.
        """
        loop = asyncio.get_running_loop()
        record, play = self._recording(loop), self._playing(playout, loop)

        def start() -> None:
            try:
                self._microphone.start(record)
                self._output.start(play)
            except VoiceError:
                stop()
                raise

        def stop() -> None:
            self._microphone.stop()
            self._output.stop()

        def restart(stand_in: bool) -> None:
            stop()
            devices = refreshed_devices()
            self._microphone.find_again(devices, stand_in)
            self._output.find_again(devices, stand_in, self.rate)
            start()

        # PortAudio isn't thread-safe, and takes up to a second to find devices: one thread for all of it.
        card = Worker("sound card")
        try:
            await card.run(start)
            while True:
                await self._until_lost()
                await self._until_back(lambda stand_in: card.run(partial(restart, stand_in)))
        finally:
            with suppress(TimeoutError):  # a driver that hangs must not keep the process running
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await card.run(stop)
            await card.close()

    def _recording(self, loop: asyncio.AbstractEventLoop) -> Callback:
        side, inbox = self._microphone, self._inbox

        def record(block: npt.NDArray[np.int16], count: int, time: Any, status: Any) -> None:
            side.beat(lost=bool(status))
            samples = block[:, 0].copy()  # PortAudio reuses the block
            self._heard_anything = self._heard_anything or bool(samples.any())
            loop.call_soon_threadsafe(inbox.put, AudioFrame(samples, side.rate))

        return record

    def _playing(self, playout: Playout, loop: asyncio.AbstractEventLoop) -> Callback:
        side = self._output
        ready: deque[Samples] = deque()

        def top_up() -> None:
            while len(ready) < _QUEUED_BLOCKS:
                ready.append(playout.read(self.rate // _BLOCKS_A_SECOND))

        def play(block: npt.NDArray[np.int16], count: int, time: Any, status: Any) -> None:
            side.beat(lost=bool(status) or not ready)
            block[:] = ready.popleft()[:, np.newaxis] if ready else 0
            loop.call_soon_threadsafe(top_up)

        top_up()
        return play

    async def _until_lost(self) -> None:
        """Return when one of the streams no longer calls back."""
        sides = self._microphone, self._output
        for check in itertools.count(1):
            await asyncio.sleep(_CHECK_SECONDS)
            patience = _STARTING_CHECKS if check <= _STARTING_CHECKS else _LOST_CHECKS
            still = {side: side.checks_without_block() for side in sides}
            if silent := sorted({f'"{side.name}"' for side in sides if still[side] >= patience}):
                log.warning(
                    "The sound stopped: no answer from %s. Unplugged? Connect it again, and the conversation "
                    "goes on.",
                    " and ".join(silent),
                )
                return
            if check == _STARTING_CHECKS and not still[self._microphone] and not self._heard_anything:
                log.warning(
                    'Only digital silence comes from "%s". Is it muted, or is this terminal not allowed '
                    "to use it (macOS: System Settings, Privacy & Security, Microphone)?",
                    self._microphone.name,
                )
            for side in sides:
                side.log_lost_blocks()

    async def _until_back(self, restart: Callable[[bool], Awaitable[None]]) -> None:
        """Try again until both devices are open. Raises `VoiceError` if PortAudio stops answering."""
        reason = ""
        for tries in itertools.count():
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await restart(tries >= _PATIENT_TRIES)
            except TimeoutError as error:
                raise device_error(
                    f"The sound system gave no answer for {_ANSWER_SECONDS:g} s. Start localvoice again."
                ) from error
            except VoiceError as error:
                if error.message != reason:
                    log.info("Not back yet. %s", error.message)
                reason = error.message
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                log.info('The sound is back: "%s" and "%s".', self._microphone.name, self._output.name)
                return


class _Stream:
    """One direction of the sound card: the device that is wanted, the one that was found, and its stream."""

    def __init__(self, direction: Direction, wanted: str | None, devices: list[Device]) -> None:
        self._direction = direction
        self._wanted = wanted
        self._stream: Any = None
        # Written on PortAudio's thread and read on the event loop: plain numbers need no lock.
        self._blocks = self._lost = 0
        self._blocks_seen = self._lost_seen = self._checks = 0
        self._use(choose(devices, wanted, direction))
        if wanted and wanted.isdecimal():
            # Numbers change when devices come and go: from here on the name decides.
            self._wanted = self.name

    def find_again(self, devices: list[Device], stand_in: bool, rate: int | None = None) -> None:
        """Use the device that was in use, at `rate` if that is given.

        If it is not there, `stand_in` chooses again; without it, raises `VoiceError`: while a sound server
        restarts, the system's default is another device for a moment.
        """
        same = [each for each in devices if each.name == self.name and each.channels(self._direction)]
        if not same and not stand_in:
            raise device_error(f'"{self.name}" is not there.')
        self._use(same[0] if len(same) == 1 else choose(devices, self._wanted, self._direction), rate)

    def _use(self, device: Device, rate: int | None = None) -> None:
        rates = (device.rate, *COMMON_RATES) if rate is None else (rate,)
        self.rate, self._channels = accepted_format(device, self._direction, rates)
        self.name, self._number = device.name, device.number

    def start(self, callback: Callback) -> None:
        """Open the stream, which calls back from now on. Raises `VoiceError`."""
        library = portaudio()
        kind = library.InputStream if self._direction is Direction.INPUT else library.OutputStream
        try:
            self._stream = kind(
                device=self._number,
                samplerate=self.rate,
                channels=self._channels,
                blocksize=self.rate // _BLOCKS_A_SECOND,
                dtype="int16",
                latency="low",
                callback=callback,
            )
            self._stream.start()
        except library.PortAudioError as error:
            raise cannot_open(self.name, self._direction, error) from error
        self._checks = 0

    def stop(self) -> None:
        if self._stream is not None:
            # Stopped first: closing alone cancels PortAudio's thread, which may be waiting for the GIL.
            self._stream.stop()
            self._stream.close()
            self._stream = None

    def beat(self, lost: bool) -> None:
        """Note a callback, and whether sound was lost since the one before. Any thread."""
        self._blocks += 1
        self._lost += lost

    def checks_without_block(self) -> int:
        """How often in a row this was called without a callback in between."""
        self._checks = self._checks + 1 if self._blocks == self._blocks_seen else 0
        self._blocks_seen = self._blocks
        return self._checks

    def log_lost_blocks(self) -> None:
        lost = self._lost
        if lost > self._lost_seen:
            log.debug("%s: sound was lost in %d blocks", self.name, lost - self._lost_seen)
            self._lost_seen = lost
