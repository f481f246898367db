"""Playout: what is read, when it falls silent, and which words were heard of it."""

import asyncio

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout
from tests.support.fakes import loud, silent
from tests.support.millisecond_playout import RATE, settled, tone
from tests.support.millisecond_playout import playout as playout

pytestmark = pytest.mark.virtual_clock


async def test_what_is_written_is_read_and_then_silence(playout: Playout) -> None:
    assert not playout.playing
    assert playout.read(20).tolist() == [0] * 20
    await playout.write("one", AudioFrame(np.arange(1, 31).astype(np.int16), RATE))
    await playout.write("two", AudioFrame(np.arange(31, 51).astype(np.int16), RATE))
    assert playout.playing
    read = np.concatenate([playout.read(20) for _ in range(4)])
    assert read.dtype == np.int16
    assert read.tolist() == [*range(1, 51), *[0] * 30]
    assert not playout.playing


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
async def test_the_voices_rate_becomes_the_transports(rate: int) -> None:
    playout = Playout(48_000)
    playout.begin()
    await playout.write("a", loud(0.5, rate))
    sound = np.concatenate([playout.read(960) for _ in range(30)])
    assert np.count_nonzero(sound[24_100:]) == 0
    spectrum = np.abs(np.fft.rfft(sound[4_800:14_400].astype(float)))
    assert int(spectrum.argmax()) * 5 == 220, "the same pitch"


async def test_stop_is_silence_at_the_next_read(playout: Playout) -> None:
    await playout.write("one two three four", tone(400))
    playout.read(210)
    playout.stop()
    assert not playout.read(20).any()
    await playout.write("five", tone(100))
    assert not playout.playing, "a stopped reply takes no more"
    assert playout.heard() == "one two"


async def test_heard_to_the_word(playout: Playout) -> None:
    await playout.write("Hello there.", tone(200))
    await playout.write("One two three four five.", tone(500))
    await playout.write("", tone(500))  # the piece's second sentence, so to speak
    heard = []
    for _ in range(13):
        heard.append(playout.heard())
        playout.read(100)
    assert heard[:3] == ["", "Hello", "Hello there."]
    assert heard[3] == heard[2], "a word that was begun was not heard"
    assert heard[4] == "Hello there. One"
    assert heard[11] == "Hello there. One two three four"
    assert heard[12] == "Hello there. One two three four five."


async def test_a_new_reply_has_been_heard_not_at_all(playout: Playout) -> None:
    await playout.write("old words", tone(100))
    playout.read(100)
    playout.stop()
    playout.begin()
    assert playout.heard() == ""
    await playout.write("new words", tone(100))
    assert playout.read(100).all()
    assert playout.heard() == "new words"


async def test_begin_throws_away_what_was_left(playout: Playout) -> None:
    await playout.write("old words", tone(500))
    playout.begin()
    assert not playout.playing and not playout.read(20).any()


async def test_writing_waits_while_much_is_unplayed(playout: Playout) -> None:
    async def write() -> None:
        for _ in range(20):
            await playout.write("word", tone(1_000))

    writer = asyncio.create_task(write())
    await settled()
    waiting = 0
    while playout.playing:
        playout.read(1_000)
        waiting += 1
    assert 8 <= waiting <= 10, "some seconds ahead, not all"
    await settled()
    assert playout.playing, "and it goes on"
    playout.stop()
    await writer


async def test_a_writer_of_a_stopped_reply_does_not_speak_in_the_next(playout: Playout) -> None:
    await playout.write("much", tone(20_000))
    writer = asyncio.create_task(playout.write("late", tone(100)))
    await settled()
    playout.stop()
    playout.begin()
    await writer
    assert not playout.playing


async def test_started_is_the_time_of_the_first_audible_sample(playout: Playout) -> None:
    started = asyncio.create_task(playout.started())
    await playout.write("a", silent(0.1, RATE))
    await playout.write("b", tone(100))
    for _ in range(10):
        await asyncio.sleep(0.02)
        playout.read(20)
    assert await started == pytest.approx(0.12)


@pytest.mark.parametrize("ends", ["complete", "stop"])
async def test_started_is_none_when_nothing_was_audible(playout: Playout, ends: str) -> None:
    started = asyncio.create_task(playout.started())
    await playout.write("a", silent(0.1, RATE))
    playout.read(100)
    await settled()
    assert not started.done()
    getattr(playout, ends)()
    assert await started is None


@pytest.mark.parametrize(
    "order",
    [["write", "read", "complete"], ["write", "complete", "read"], ["complete"], ["write", "stop"], ["stop"]],
)
async def test_finished_when_complete_and_read_in_whatever_order(playout: Playout, order: list[str]) -> None:
    finished = asyncio.create_task(playout.finished())
    for step in order:
        await settled()
        assert not finished.done()
        match step:
            case "write":
                await playout.write("a", tone(100))
            case "read":
                playout.read(100)
            case _:
                getattr(playout, step)()
    async with asyncio.timeout(1):
        await finished
        await playout.finished()


async def test_a_frame_without_sound_holds_nothing_up(playout: Playout) -> None:
    await playout.write("a", tone(20))
    await playout.write("b", silent(0, RATE))
    playout.complete()
    finished = asyncio.create_task(playout.finished())
    playout.read(20)
    playout.read(20)
    async with asyncio.timeout(1):
        await finished


async def test_sounding_waits_for_sound(playout: Playout) -> None:
    sounding = asyncio.create_task(playout.sounding())
    await settled()
    assert not sounding.done()
    await playout.write("a", tone(10))
    async with asyncio.timeout(1):
        await sounding


async def test_any_number_may_wait_for_the_same(playout: Playout) -> None:
    waiting = [asyncio.create_task(playout.finished()) for _ in range(3)]
    started = [asyncio.create_task(playout.started()) for _ in range(3)]
    await playout.write("a", tone(40))
    await settled()
    playout.read(20)
    await settled()
    playout.read(20)
    playout.complete()
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting, *started)


# --- a transport that reads ahead of what is heard ---


async def test_what_is_read_ahead_is_heard_later(playout: Playout) -> None:
    playout.ahead = 0.3
    playout.begin()
    await playout.write("one two three four five six seven eight nine ten", tone(1000))
    playout.complete()
    playout.read(playout.rate // 2)
    assert playout.heard() == "one two", "half is read, 0.3 s of it is still to come"
    playout.read(playout.rate // 2)
    begun = asyncio.get_running_loop().time()
    await playout.finished()
    assert asyncio.get_running_loop().time() - begun == pytest.approx(0.3)
    assert playout.heard().split()[-1] == "ten"


async def test_a_cut_counts_from_its_moment(playout: Playout) -> None:
    playout.ahead = 0.3
    playout.begin()
    await playout.write("one two three four five six seven eight nine ten", tone(1000))
    playout.complete()
    playout.read(playout.rate // 2)
    playout.stop()
    await asyncio.wait_for(playout.finished(), 0.01)
    await asyncio.sleep(5)
    assert playout.heard() == "one two"


# --- words that the voice has timed ---


async def test_words_end_where_the_voice_says(playout: Playout) -> None:
    await playout.write(
        "I was unbelievably late.", AudioFrame(tone(900).samples, RATE, (0.1, 0.2, 0.8, 0.85))
    )
    await playout.write("", AudioFrame(tone(100).samples, RATE))
    heard = []
    for _ in range(10):
        playout.read(100)
        heard.append(len(playout.heard().split()))
    assert heard == [1, 2, 2, 2, 2, 2, 2, 3, 4, 4]


async def test_a_sentence_that_has_not_been_made_yet_was_not_heard(playout: Playout) -> None:
    await playout.write("Yes. I will.", AudioFrame(tone(100).samples, RATE, (0.1,)))
    playout.read(100)
    assert playout.heard() == "Yes."
    await playout.write("", AudioFrame(tone(200).samples, RATE, (0.05, 0.2)))
    playout.read(199)
    assert playout.heard() == "Yes. I"


async def test_word_ends_survive_a_cut_lead_in_and_another_rate() -> None:
    sound = np.concatenate([np.zeros(500, np.int16), tone(500).samples])
    frame = AudioFrame(sound, RATE, (0.6, 1.0)).without_lead_in()
    assert frame.word_ends == pytest.approx((0.11, 0.51))
    assert frame.resampled(16_000).word_ends == frame.word_ends
