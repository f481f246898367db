"""The manner of speaking: a request for it is carried out at once, and holds for the conversation."""

from collections.abc import AsyncGenerator

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.levels import PEAK, amplified
from localvoice.conversation.manner import FASTEST, LOUDEST, SLOWEST, Manner, SavedManner, spoken
from localvoice.conversation.store import SessionRecord
from localvoice.engines.deadlines import tts_within
from localvoice.engines.types import PacedTts
from tests.support.fakes import FakeLlm, FakeTts, loud
from tests.support.session_room import Room, Rooms

pytestmark = pytest.mark.virtual_clock


class FakePacedTts(FakeTts):
    """Notes at which pace it is asked to speak."""

    def __init__(self) -> None:
        super().__init__()
        self.paces: list[float] = []

    async def synthesize_at(self, text: str, pace: float) -> AsyncGenerator[AudioFrame, None]:
        self.paces.append(round(pace, 2))
        async for frame in self.synthesize(text):
            yield frame


async def say(r: Room, *words: str) -> None:
    for each in words:
        r.session.answer_text(each)
        await r.session.settle()


async def test_each_step_is_said_in_its_own_manner_and_the_last_one_is_told(room: Rooms) -> None:
    r = room(tts=(tts := FakePacedTts()), llm=FakeLlm("Yes."))
    await say(r, "Slower, please.", "Are you there?")
    assert tts.said == ["Okay, I'll speak more slowly.", "Yes."] and tts.paces == [0.8, 0.8]
    await say(r, *["Slower."] * -SLOWEST)
    assert tts.said[-1].startswith("I can't speak any more slowly") and r.conversation.manner.speed == SLOWEST
    await say(r, "Normal speed.", "Faster.")
    assert tts.paces[-1] == 1.25 and r.conversation.manner == Manner(speed=1)
    assert len(r.llm.asked) == 1 and [m.content for m in r.llm.asked[0][1:]] == ["Are you there?"]


async def test_louder_and_softer_change_the_sound_itself(room: Rooms) -> None:
    r = room()
    levels = []
    for words in ("Hi.", "Louder.", "Quieter, please.", "Softer."):
        r.played.clear()
        r.session.answer_text(words)
        levels.append(max(abs(frame.samples).max() for frame in await _sound(r)))
    usual, louder, same, softer = (float(level) for level in levels)
    assert louder > 1.5 * usual and same == pytest.approx(usual, rel=0.02) and softer < 0.7 * usual
    await say(r, *["Louder."] * (LOUDEST + 2))
    assert r.tts.said[-1].startswith("This is as loud as I can")


async def _sound(r: Room) -> list[AudioFrame]:
    sound: list[AudioFrame] = []
    write = r.playout.write

    async def note(text: str, frame: AudioFrame) -> None:
        sound.append(frame)
        await write(text, frame)

    r.playout.write = note  # type: ignore[method-assign]
    await r.session.settle()
    r.playout.write = write  # type: ignore[method-assign]
    return sound


async def test_the_last_answer_again_slower(room: Rooms) -> None:
    r = room(tts=(tts := FakePacedTts()), llm=FakeLlm("It is blue."))
    await say(r, "What color is the sky?", "Slower.", "Say that again.", "Can you repeat that more slowly?")
    assert tts.said[2:] == ["It is blue.", "Okay, I'll speak more slowly.", "It is blue."]
    assert tts.paces == [0.8, 0.8, 0.64, 0.64]


async def test_a_voice_with_one_speed_says_so(room: Rooms) -> None:
    r = room()
    await say(r, "Faster.")
    assert r.tts.said == ["I can't change how fast this voice speaks."] and r.conversation.manner == Manner()


async def test_a_voice_with_one_speed_still_gets_louder_where_another_was_slowed_down(room: Rooms) -> None:
    r = room()
    r.conversation.manner = Manner(speed=-1)  # from before a restart with another voice
    await say(r, "Louder.")
    assert r.tts.said == ["Okay, I'll speak louder."] and r.conversation.manner == Manner(-1, 1)


def test_a_deadline_leaves_a_voice_what_it_can() -> None:
    assert isinstance(tts_within(FakePacedTts(), 1), PacedTts)
    assert not isinstance(tts_within(FakeTts(), 1), PacedTts)


async def test_a_paced_voice_within_its_deadline_is_asked_for_its_pace() -> None:
    tts = FakePacedTts()
    frames = [frame async for frame in spoken(tts_within(tts, 1), "One two.", Manner(speed=FASTEST))]
    assert tts.paces == [1.95] and len(frames) == 1


def test_louder_sound_does_not_clip() -> None:
    frame = loud(0.1)
    louder = amplified(frame, Manner(volume=LOUDEST).gain)
    peak = np.abs(louder.samples).max() / 32767
    assert louder.rms_dbfs > frame.rms_dbfs + 6 and peak <= PEAK
    same = amplified(frame, 1.0).samples.astype(int)
    assert np.abs(same - frame.samples).max() <= 1


def test_a_session_that_was_saved_before_there_were_manners_is_read() -> None:
    old = {"id": "a", "history": {}, "director": {}, "started": 1.0, "last_active": 2.0}
    assert SessionRecord.model_validate(old).manner.as_manner() == Manner()
    with pytest.raises(ValueError, match="speed"):
        SavedManner.model_validate({"speed": FASTEST + 1})
