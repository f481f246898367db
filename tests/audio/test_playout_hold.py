"""Playout that is held: silent at once, and then on from the word that was cut."""

import asyncio

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout
from tests.support.millisecond_playout import RATE, settled, tone
from tests.support.millisecond_playout import playout as playout

pytestmark = pytest.mark.virtual_clock


def ramp(samples: int, start: int = 1000) -> AudioFrame:
    """Each sample is another, so that it can be told what was read."""
    return AudioFrame(np.arange(start, start + samples).astype(np.int16), RATE)


async def test_held_it_is_silent_and_keeps_its_place(playout: Playout) -> None:
    await playout.write("one two three four", tone(400))
    playout.read(150)
    playout.hold()
    assert not playout.playing and not playout.read(20).any()
    assert playout.heard() == "one"
    assert playout.words() == (["one"], ["two", "three", "four"])
    playout.resume()
    assert playout.playing


async def test_it_goes_on_from_the_word_that_was_cut(playout: Playout) -> None:
    await playout.write("one two three four", ramp(400))
    playout.read(270)
    playout.hold()
    playout.resume()
    assert playout.heard() == "one two"
    read = playout.read(100).tolist()
    assert read[5:] == list(range(1205, 1300)), "from the third word on"
    assert read[0] == 0 and read[4] == 1204, "softly"
    assert playout.read(100).tolist() == list(range(1300, 1400))
    assert playout.heard() == "one two three four"


async def test_a_word_that_had_just_ended_comes_again(playout: Playout) -> None:
    await playout.write("one two three four", ramp(400))
    playout.read(210)
    playout.hold()
    assert playout.heard() == "one two"
    playout.resume()
    assert playout.read(50)[-1] == 1149, "its end may not have been heard"


async def test_held_and_then_stopped(playout: Playout) -> None:
    await playout.write("one two three four", tone(400))
    playout.read(210)
    playout.hold()
    playout.stop()
    async with asyncio.timeout(1):
        await playout.released()
    playout.resume()
    assert not playout.playing and playout.heard() == "one two"


async def test_a_reply_that_begins_while_it_is_held_is_held(playout: Playout) -> None:
    playout.hold()
    playout.begin()
    await playout.write("one", tone(100))
    assert not playout.read(20).any()
    playout.resume()
    assert playout.read(20).any()


async def test_what_waits_for_its_sound_or_its_end_waits_on_while_it_is_held(playout: Playout) -> None:
    await playout.write("one", tone(100))
    playout.complete()
    playout.hold()
    waiting = [
        asyncio.create_task(each) for each in (playout.sounding(), playout.finished(), playout.released())
    ]
    await settled()
    assert not any(task.done() for task in waiting)
    playout.resume()
    await settled()
    assert [task.done() for task in waiting] == [True, False, True]
    playout.read(100)
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)


async def test_what_was_read_ahead_is_read_again(playout: Playout) -> None:
    """The client threw it away."""
    playout.ahead = 0.3
    playout.begin()
    await playout.write("one two three four five six seven eight nine ten", ramp(1000))
    playout.complete()
    finished = asyncio.create_task(playout.finished())
    playout.read(1000)
    await asyncio.sleep(0.15)
    playout.hold()
    assert playout.heard() == "one two three four five six seven eight"
    await asyncio.sleep(5)
    assert playout.heard() == "one two three four five six seven eight" and not finished.done()
    playout.resume()
    assert playout.read(10)[-1] == 1809, "from the ninth word on, which was cut"
    playout.read(1000)
    await asyncio.wait_for(finished, 0.31)


async def test_no_more_is_kept_for_going_back_than_is_needed(playout: Playout) -> None:
    await playout.write("a long word", tone(60_000))
    for _ in range(2900):
        playout.read(20)
    assert playout._reply.at - playout._reply.start < 1600
    playout.hold()
    playout.resume()
    assert playout.read(20).any()
