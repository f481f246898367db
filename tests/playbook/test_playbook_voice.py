"""The worked example, by voice, with real models: a caller asks about an order and complains."""

import sys
from collections.abc import Iterator

import pytest
from rich.console import Console

from localvoice import AudioFrame, LocalVoice, Settings
from localvoice.audio.frames import concatenate
from localvoice.catalog import ModelFiles, ModelFilesError, load_catalog, models_folder, ready
from localvoice.contract.messages import StageChangeMessage
from localvoice.engines.piper import PiperTts
from tests.support.folders import EXAMPLES_FOLDER

sys.path.append(str(EXAMPLES_FOLDER))
import support_desk  # noqa: E402  - an example is a program, not a package

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

CALL = (
    "Hello. Please look up my order. The number is five three zero nine.",
    "Well, it has arrived, but the toaster is broken.",
    "It doesn't get hot any more. Please open a ticket for that.",
    "Thank you. That's all, goodbye.",
)


@pytest.fixture
def base_models() -> Iterator[ModelFiles]:
    try:
        yield ready(load_catalog(), "base", models_folder())
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the quality profile: {missing}")


async def spoken(files: ModelFiles, words: str) -> AudioFrame:
    voice = await PiperTts.load(files.profile.tts, files.voice_file, files.voice_config_file, 1)
    try:
        frames = [frame async for frame in voice.synthesize(words)]
    finally:
        await voice.close()
    return concatenate(frames)


async def test_the_support_desk_by_voice(base_models: ModelFiles) -> None:
    said = [await spoken(base_models, words) for words in CALL]
    desk = LocalVoice(
        Settings(profile="base"),
        playbook=support_desk.PLAYBOOK,
        tools=support_desk.TOOLS,
        console=Console(quiet=True),
    )
    stages: list[str] = []
    async with desk.dialogue() as dialogue:
        for frame in said:
            answer = await dialogue.say(frame)
            stages += [each.to for each in answer.messages if isinstance(each, StageChangeMessage)]
            print(f"{answer.transcript} -> {answer.reply} {stages}")
            assert answer.errors == () and answer.sound.seconds > 0.5
    assert stages == ["order", "trouble", "ticket", "farewell"]
    assert support_desk.TICKETS
