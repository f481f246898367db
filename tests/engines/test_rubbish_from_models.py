"""Models that give no numbers, or nothing: an error that is told, and the next piece of work as always."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.engines import loading
from localvoice.engines.jobs import Stop
from localvoice.engines.loading import warm_up_all
from localvoice.engines.piper import _Voice
from localvoice.engines.piper_voice import Loudness
from localvoice.engines.silero import SileroStream
from localvoice.engines.smart_turn import SmartTurn
from localvoice.engines.worker import Worker
from tests.support.fakes import FakeLlm, FakeTts, loud
from tests.support.session_room import Rooms


class Net:
    """A network that gives NaN the first time, and its state with it, as they do."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, _names: None, inputs: Any, _options: Any = None) -> list[Any]:
        self.runs += 1
        state = inputs.get("state", np.zeros(1, np.float32))
        value = np.nan if self.runs == 1 or np.isnan(state).any() else 0.9
        return [np.full((1, 1), value, np.float32), np.full_like(state, value)]


def test_a_vad_without_a_number_is_told_and_not_deaf_for_ever() -> None:
    stream = SileroStream(Net())
    window = loud(0.1).as_float()[:512]
    with pytest.raises(VoiceError, match="gave no number.*models verify") as caught:
        stream(window)
    assert caught.value.code is ErrorCode.VAD_ERROR
    assert stream(window) == pytest.approx(0.9)


async def test_a_turn_detector_without_a_number() -> None:
    detector = SmartTurn("tact", Worker("turn"), Net())
    with pytest.raises(VoiceError, match="gave no number.*the length of a silence decides"):
        await detector.complete(loud(0.5))
    assert await detector.complete(loud(0.5)) == pytest.approx(0.9)
    await detector.close()


@pytest.mark.filterwarnings("error")
def test_a_voice_without_sound() -> None:
    chunk = SimpleNamespace(sound=np.full(100, np.nan, np.float32), begin=0.0, end=1.0)
    voice = SimpleNamespace(
        _phonemes=SimpleNamespace(phonemes_to_ids=lambda _: [1]),
        scales=np.zeros(3, np.float32),
        _config=SimpleNamespace(default_speaker_id=0, sample_rate=22_050),
        _model=SimpleNamespace(speak=lambda *_: (None, iter([chunk]))),
        _loudness=Loudness(22_050),
        _shares=lambda *_: [],
    )
    ends: Any = SimpleNamespace(take=lambda _: [])
    with pytest.raises(ValueError, match="gave no sound"):
        list(_Voice._say(voice, ["a"], 1.0, ends, Stop()))  # type: ignore[arg-type]


@pytest.mark.virtual_clock
@pytest.mark.parametrize("reply", ["", "   \n ", "\ufffd\ufffd", "\x00\x07"])
async def test_a_reply_of_nothing_ends_the_turn_and_the_next_one_is_answered(room: Rooms, reply: str) -> None:
    r = room(llm=FakeLlm(reply, "Fine."))
    for words in ("Hello?", "Hello again?"):
        r.session.answer_text(words)
        await r.session.settle()
    assert r.states()[-1] == "idle" and r.said()[-1] == ("assistant", "Fine.")


@pytest.mark.virtual_clock
async def test_a_model_that_does_not_warm_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def for_ever() -> None:
        await asyncio.sleep(10 * loading.WARM_UP_SECONDS)

    voice = FakeTts()
    monkeypatch.setattr(voice, "warm_up", for_ever)
    engines: Any = SimpleNamespace(stt=voice, tts=voice, llm=voice, turn=None)
    with pytest.raises(VoiceError, match="fake-voice gave no answer within 300 s"):
        await warm_up_all(engines)
