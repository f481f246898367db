"""The voice's track: at once when there is something to say, rare in silence, and whole."""

import asyncio
import gc
import sys
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from localvoice.audio.frames import AUDIBLE, AudioFrame
from localvoice.audio.playout import Playout
from localvoice.transports.webrtc.sound import FRAME, SpeechTrack
from tests.support.fakes import loud

RATE = 48_000
pytestmark = pytest.mark.virtual_clock


@dataclass
class Sent:
    at: float
    pts: int
    data: bytes


class Listener:
    """Takes packet after packet, as aiortc's sender does."""

    def __init__(self) -> None:
        self.playout = Playout(RATE)
        self.track = SpeechTrack(self.playout)
        self.sent: list[Sent] = []

    async def run(self, seconds: float) -> list[Sent]:
        """What is sent in this time."""
        loop = asyncio.get_running_loop()
        before = len(self.sent)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    given = await self.track.recv()
                    assert isinstance(given, av.Packet) and given.pts is not None
                    self.sent.append(Sent(loop.time(), given.pts, bytes(given)))
        except TimeoutError:
            return self.sent[before:]

    async def say(self, seconds: float) -> None:
        self.playout.begin()
        await self.playout.write("word", loud(seconds, RATE))
        self.playout.complete()


def decoded(sent: list[Sent]) -> AudioFrame:
    """What a client hears; a rest is silence."""
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", RATE
    whole = np.zeros(sent[-1].pts - sent[0].pts + FRAME, np.int16)
    for each in sent:
        (frame,) = decoder.decode(av.Packet(each.data))
        assert isinstance(frame, av.AudioFrame)
        whole[each.pts - sent[0].pts :][:FRAME] = frame.to_ndarray()[0]
    return AudioFrame(whole, RATE)


async def test_it_begins_without_a_gap_and_rests_in_silence() -> None:
    listener = Listener()
    first = await listener.run(5.0)
    assert len(first) == 250 and {b.pts - a.pts for a, b in zip(first, first[1:], strict=False)} == {FRAME}
    assert len(await listener.run(60)) == pytest.approx(150, abs=5)
    assert all(len(each.data) == 1 for each in listener.sent[260:]), "as Opus says that there is nothing"
    assert not decoded(listener.sent).samples.any()
    for each in listener.sent:
        assert each.at - listener.sent[0].at == pytest.approx(each.pts / RATE, abs=0.001)


@pytest.mark.parametrize("moment", [0.001, 0.013, 0.1999, 0.3, 0.399])
async def test_what_is_said_amid_a_rest_is_sent_at_once_and_whole(moment: float) -> None:
    listener = Listener()
    await listener.run(8 + moment)
    said = asyncio.get_running_loop().time()
    await listener.say(0.5)
    sent = await listener.run(2)
    assert sent[0].at == pytest.approx(said, abs=0.001) and len(sent[0].data) > 20
    assert sent[1].at - said <= 0.041
    heard = decoded(listener.sent)
    audible = np.flatnonzero(np.abs(heard.samples, dtype=np.int32) > AUDIBLE)
    assert audible[-1] - audible[0] == pytest.approx(0.5 * RATE, abs=0.01 * RATE), "nothing is cut off"
    assert audible[0] / RATE + listener.sent[0].at - said < 0.03
    steps = {b.pts - a.pts for a, b in zip(sent[:30], sent[1:30], strict=False)}
    assert steps == {FRAME}, "no gap within speech, nor right after it"


async def test_a_pause_between_two_sentences_is_no_gap() -> None:
    listener = Listener()
    await listener.run(8)
    await listener.say(0.2)
    sent = await listener.run(0.35)
    await listener.say(0.2)
    sent += await listener.run(0.3)
    assert {b.pts - a.pts for a, b in zip(sent, sent[1:], strict=False)} == {FRAME}


async def test_when_the_user_speaks_it_is_awake_before_the_answer() -> None:
    """Out of a rest, a browser plays the first sound later."""
    listener = Listener()
    await listener.run(8.05)
    woken = asyncio.get_running_loop().time()
    asyncio.get_running_loop().call_later(0.1, listener.track.wake)
    sent = [each for each in await listener.run(3) if each.at > woken + 0.09]
    assert sent[0].at == pytest.approx(woken + 0.1, abs=0.001)
    assert {b.pts - a.pts for a, b in zip(sent[:100], sent[1:100], strict=False)} == {FRAME}
    assert len(sent) > 140 and all(len(each.data) > 1 for each in sent)


async def test_it_may_be_woken_at_the_very_moment_at_which_a_rest_ends() -> None:
    listener, loop = Listener(), asyncio.get_running_loop()
    sent = await listener.run(8)
    expired: list[bool] = []

    def wake() -> None:
        rest = listener.track._rest_end
        expired.append(rest is not None and rest.expired())
        listener.track.wake()  # an error would end the connection whose packet brought the sound
        expired.append(True)

    loop.call_at(sent[-1].at + 0.4 + 5e-10, wake)
    assert len(await listener.run(1)) > 20
    assert expired == [True, True]


async def test_hold_silences_at_once_and_resume_wakes_it() -> None:
    listener = Listener()
    await listener.run(8)
    await listener.say(3)
    await listener.run(0.5)
    listener.playout.hold()
    held = await listener.run(8)
    assert not np.abs(decoded(held[1:]).samples).max() > AUDIBLE and len(held) < 265
    listener.playout.resume()
    resumed = asyncio.get_running_loop().time()
    (first, *_) = await listener.run(0.3)
    assert first.at == pytest.approx(resumed, abs=0.001) and len(first.data) > 20
    listener.playout.stop()
    stopped = await listener.run(1)
    assert np.abs(decoded(stopped[1:]).samples).max() < AUDIBLE


async def test_for_another_codec_it_gives_frames_without_rests() -> None:
    listener = Listener()
    listener.track.encodes = False
    begun = asyncio.get_running_loop().time()
    for number in range(500):
        frame = await listener.track.recv()
        assert isinstance(frame, av.AudioFrame) and (frame.pts, frame.samples) == (number * FRAME, FRAME)
    assert asyncio.get_running_loop().time() - begun == pytest.approx(499 * 0.02, abs=0.01)


async def test_after_it_is_stopped_there_is_nothing() -> None:
    listener = Listener()
    await listener.run(0.1)
    listener.track.stop()
    with pytest.raises(MediaStreamError):
        await listener.track.recv()


def native_threads() -> int:
    """With those of libraries, which Python doesn't know."""
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's threads as files")
async def test_its_threads_end_with_it_and_not_when_garbage_is_collected() -> None:
    gc.disable()
    try:
        before = native_threads()
        listener = Listener()
        await listener.say(0.1)
        await listener.run(0.21)
        assert native_threads() > before, "those of the encoder's filter"
        waiting = asyncio.create_task(listener.track.recv())
        await asyncio.sleep(0)
        listener.track.stop()
        with pytest.raises(MediaStreamError):
            await waiting
        assert native_threads() == before
    finally:
        gc.enable()
