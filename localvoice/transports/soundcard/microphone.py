"""The sound card: its microphone in, the agent's voice out, through PortAudio.

PortAudio calls back on threads of its own, which must never wait. What is recorded is posted to the event
loop; what is to be played is read there and handed over in blocks. Nobody is told when a device is unplugged:
its callbacks stop, and that is what is watched.
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
from localvoice.transports.soundcard.devices import Device, Direction, device_error
from localvoice.transports.soundcard.portaudio import (
    BLOCKS_A_SECOND,
    Callback,
    Side,
    devices_now,
    list_devices,
)

__all__ = ["Device", "SoundCard", "list_devices"]

log = logging.getLogger(__name__)

_HANDED_OVER: Final = 3
"""Blocks read ahead of the device. They are played even after a barge-in, and 60 ms of that go unnoticed; but
they are all there is to play while the event loop is busy, so with fewer it would crackle sooner."""
_LOOK_SECONDS: Final = 0.25
_LOST_LOOKS: Final = 10
"""Looks in a row, 2.5 s, without a callback: the device is gone. Looks and not seconds: a process
that was held up, and its callbacks with it, is no reason. On a loaded machine PortAudio
itself pauses for up to 2 s after an underrun."""
_STARTING_LOOKS: Final = 20
"""5 s of patience after opening: sound servers and Bluetooth headsets stall for up to 2 s when they start."""
_RETRY_SECONDS: Final = 2.0
_PATIENT_TRIES: Final = 10
"""For the device that was in use, 20 s in all: then the default takes its place."""
_ANSWER_SECONDS: Final = 15.0
"""For stopping both devices, looking for them and opening them. A driver may hang when one is unplugged."""


class SoundCard:
    """A microphone and headphones, or what stands in for them; one device or two."""

    def __init__(self, inbox: FrameInbox, microphone: Side, output: Side) -> None:
        self.rate: Final = output.rate
        """Samples a second that are played: what the `Playout` has to have."""
        self._inbox = inbox
        self._microphone = microphone
        self._output = output
        self._heard_anything = False

    @classmethod
    def open(cls, inbox: FrameInbox, input_name: str | None, output_name: str | None) -> "SoundCard":
        """Choose the devices and see that they can be used; nothing is recorded before `run`.

        A name is a device's number, its name or a part of it; None takes the default. Raises `VoiceError`
        AUDIO_PROCESSING_ERROR, which says what to do.
        """
        devices = list_devices()
        return cls(
            inbox,
            Side(Direction.INPUT, input_name, devices),
            Side(Direction.OUTPUT, output_name, devices),
        )

    async def run(self, playout: Playout) -> None:
        """Record and play until cancelled; a device that goes away is waited for.

        Raises `VoiceError` AUDIO_PROCESSING_ERROR if the devices can't be opened in the first place.
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
            devices = devices_now()
            self._microphone.find_again(devices, stand_in=stand_in)
            self._output.find_again(devices, self.rate, stand_in)
            start()

        # PortAudio isn't thread-safe, and to look for devices can take it a second: one thread for all of it.
        card = Worker("sound card")
        try:
            await card.run(start)
            while True:
                await self._until_lost()
                await self._until_back(lambda stand_in: card.run(partial(restart, stand_in)))
        finally:
            with suppress(TimeoutError):  # a driver that hangs must not keep the process from ending
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await card.run(stop)
            await card.close()

    def _recording(self, loop: asyncio.AbstractEventLoop) -> Callback:
        """What PortAudio calls with a block that was recorded."""
        side, inbox = self._microphone, self._inbox

        def record(block: npt.NDArray[np.int16], count: int, time: Any, status: Any) -> None:
            side.beat(lost=bool(status))
            samples = block[:, 0].copy()  # PortAudio uses the block again
            self._heard_anything = self._heard_anything or bool(samples.any())
            loop.call_soon_threadsafe(inbox.put, AudioFrame(samples, side.rate))

        return record

    def _playing(self, playout: Playout, loop: asyncio.AbstractEventLoop) -> Callback:
        """What PortAudio calls for the next block to play."""
        side = self._output
        ready: deque[Samples] = deque()

        def top_up() -> None:
            while len(ready) < _HANDED_OVER:
                ready.append(playout.read(self.rate // BLOCKS_A_SECOND))

        def play(block: npt.NDArray[np.int16], count: int, time: Any, status: Any) -> None:
            side.beat(lost=bool(status) or not ready)
            block[:] = ready.popleft()[:, np.newaxis] if ready else 0
            loop.call_soon_threadsafe(top_up)

        top_up()
        return play

    async def _until_lost(self) -> None:
        """Watch both streams, and tell when one of them no longer calls back."""
        sides = self._microphone, self._output
        for look in itertools.count(1):
            await asyncio.sleep(_LOOK_SECONDS)
            patience = _STARTING_LOOKS if look <= _STARTING_LOOKS else _LOST_LOOKS
            still = {side: side.looks_without_block() for side in sides}
            silent = {side.name for side in sides if still[side] >= patience}
            if silent:
                log.warning(
                    "The sound stopped: no answer from %s. Unplugged? Connect it again, and the conversation "
                    "goes on.",
                    " and ".join(f'"{name}"' for name in sorted(silent)),
                )
                return
            if look == _STARTING_LOOKS and not still[self._microphone] and not self._heard_anything:
                log.warning(
                    'Only digital silence comes from "%s". Is it muted, or is this terminal not allowed '
                    "to use it (macOS: System Settings, Privacy & Security, Microphone)?",
                    self._microphone.name,
                )
            for side in sides:
                side.log_lost_blocks()

    async def _until_back(self, restart: Callable[[bool], Awaitable[None]]) -> None:
        """Try again until both devices are open. Raises `VoiceError` if PortAudio doesn't answer any more."""
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
