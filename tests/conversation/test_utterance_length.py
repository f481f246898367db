"""An utterance in one piece is no longer than one that is spoken may be."""

import base64

import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.wav import wav_bytes
from localvoice.config import Settings
from localvoice.conversation.agent import Agent
from localvoice.transports.dialogue import dialogue
from tests.support.fakes import FakeStt, fake_engines, loud
from tests.support.server_site import serving
from tests.support.wrong_messages import PICTURE


def encoded(sound: AudioFrame) -> str:
    return base64.b64encode(wav_bytes(sound)).decode()


@pytest.mark.parametrize(("most", "seconds", "rate"), [(60, 375, 4_000), (10, 11, 16_000)])
async def test_a_longer_one_is_refused_in_a_message(most: int, seconds: int, rate: int) -> None:
    stt = FakeStt()
    groups = {"listening": {"max_utterance_seconds": most}}
    async with serving(fake_engines(stt), groups) as site, site.client() as client:
        await client.send("audio", data=encoded(loud(seconds, rate)), attachments=[PICTURE])
        error = await client.expect("error")
        assert error["code"] == "INVALID_AUDIO_FORMAT"
        words = f"longer than the {most} s that one utterance may have. Send it in parts."
        assert words in error["message"]
        assert not stt.heard
        await client.send("audio", data=encoded(loud(1)), attachments=[PICTURE] * 4)
        await client.expect("tts-complete")
        assert len(client.errors()) == 1, "its picture doesn't wait for the next one"


async def test_a_longer_one_is_refused_by_the_library() -> None:
    stt = FakeStt()
    async with dialogue(Agent(Settings(), fake_engines(stt))) as talk:
        answer = await talk.say(loud(61))
        assert [error.code for error in answer.errors] == ["INVALID_AUDIO_FORMAT"] and not stt.heard
        assert (await talk.say(loud(1))).reply
