"""The joins between the pieces of a reply, as they are heard."""

from collections.abc import AsyncGenerator
from itertools import pairwise

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame, concatenate
from tests.support.fakes import FakeLlm, FakeStt, FakeTts, loud
from tests.support.session_room import STEP, Rooms

pytestmark = pytest.mark.virtual_clock

RATE = 16_000
LEAD, WORD, TAIL = 0.06, 0.4, 0.2


class BreathingTts(FakeTts):
    """Leaves silence before and after each piece, as Piper does."""

    async def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        self.said.append(text)
        still = (AudioFrame(np.zeros(int(seconds * RATE), np.int16), RATE) for seconds in (LEAD, TAIL))
        yield concatenate([next(still), loud(WORD), next(still)])


async def test_a_sentence_in_two_pieces_has_no_gap_and_two_sentences_have_one(room: Rooms) -> None:
    r = room(FakeStt("And bees?"), FakeLlm("Bees make honey, and wax. They sting."), BreathingTts())
    await r.says()
    await r.session.settle()
    assert r.tts.said == ["Bees make honey,", "and wax.", "They sting."]
    sounding = [at for at, sound in r.played if sound]
    steps = [later - at for at, later in pairwise(sounding)]
    gaps = [step - STEP for step in steps if step > 2.5 * STEP]
    (between_sentences,) = gaps
    assert between_sentences == pytest.approx(LEAD + TAIL, abs=2 * STEP)
    assert sounding[-1] - sounding[0] == pytest.approx(3 * WORD + LEAD + TAIL, abs=0.1), "nothing else is cut"


class HalvingTts(BreathingTts):
    """Gives the same piece in frames of 0.1 s, so that the first and the last are silent in part."""

    async def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        async for piece in super().synthesize(text):
            for at in range(0, len(piece.samples), RATE // 10):
                yield AudioFrame(piece.samples[at : at + RATE // 10], RATE)


async def test_a_piece_in_several_frames_sounds_as_one(room: Rooms) -> None:
    played = []
    for voice in (BreathingTts(), HalvingTts()):
        r = room(FakeStt("And bees?"), FakeLlm("Bees make honey, and wax. They sting."), voice)
        await r.says()
        await r.session.settle()
        sounding = [at for at, sound in r.played if sound]
        played.append([round((at - sounding[0]) / STEP) for at in sounding])
        assert r.said()[-1] == ("assistant", "Bees make honey, and wax. They sting.")
    assert played[0] == played[1]
