"""How long a session holds what was said."""

import gc
import weakref
from typing import Any, ClassVar

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.engines.types import Transcript
from tests.support.fakes import FakeStt, silent
from tests.support.session_room import Rooms


@pytest.mark.virtual_clock
async def test_what_was_said_is_in_memory_until_the_next_words(room: Rooms) -> None:
    class Ears(FakeStt):
        seen: ClassVar[list[weakref.ref[Any]]] = []

        async def transcribe(self, speech: AudioFrame) -> Transcript:
            samples = speech.samples
            while isinstance(samples.base, np.ndarray):
                samples = samples.base
            self.seen.append(weakref.ref(samples))
            return Transcript("Hello.")

    r = room(Ears())
    for _ in range(2):
        await r.says()
        await r.session.settle()
    await r.user(silent(1.0))
    gc.collect()
    first, second = Ears.seen
    assert first() is None, "the sound of the first utterance is still held"
