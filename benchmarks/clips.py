"""What is spoken into a server: sentences in a profile's own voice, and recordings."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.people import NoRecordings, said_by_people
from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.audio.wav import read_wav
from localvoice.catalog import load_catalog, models_folder, ready
from localvoice.engines.piper import PiperTts

QUESTIONS: Final = (
    "What is the capital of France?",
    "How many days are there in a week?",
    "Can you tell me what a volcano is?",
    "What should I cook for dinner tonight?",
    "Why is the sky blue?",
    "Who wrote the play Romeo and Juliet?",
    "What is a good name for a small brown dog?",
    "How do I make a cup of tea?",
    "Tell me something about the moon.",
    "What do bees make?",
)


async def spoken(profile: str, sentences: Sequence[str] = QUESTIONS) -> list[AudioFrame]:
    """Sentences in the profile's own voice, a clip each, at the voice's rate."""
    files = ready(load_catalog(), profile, models_folder())
    voice = await PiperTts.load(files.profile.tts, files.voice_file, files.voice_config_file, 1)
    try:
        return [concatenate([frame async for frame in voice.synthesize(text)]) for text in sentences]
    finally:
        await voice.close()


def recorded(folder: Path) -> list[AudioFrame]:
    """The WAV files of a folder in the order of their names; the program ends where there is none."""
    return [read_wav(path) for path in sorted(folder.glob("*.wav"))] or sys.exit(
        f"There is no WAV file in {folder}: name a folder that holds some."
    )


def by_people(most: int) -> list[AudioFrame]:
    """At most so many sentences by people; none, with the reason printed, where they can't be had."""
    try:
        return said_by_people(most) if most else []
    except NoRecordings as error:
        print(f"There are no clips by people. {error}", file=sys.stderr)
        return []
