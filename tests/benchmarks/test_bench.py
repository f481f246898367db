"""What the benchmarks make of their figures."""

import asyncio
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks import words
from benchmarks.call import RATE, Mouth
from benchmarks.latency_goals import GOALS, Result, first_turn_ratio, late_turn_ratio, show
from benchmarks.programs import cpu_seconds
from benchmarks.report import machine, percentile
from localvoice.audio.frames import AudioFrame
from localvoice.audio.wav import wav_bytes


def result(**figures: Any) -> Result:
    return Result("base", {"cores": 2, "cpu": "a processor"}, clips=10, **figures)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile(list(range(1, 31)), 95) == 29
    assert percentile([5.0], 99) == 5.0


def test_late_turns_are_compared_with_early_ones_of_the_same_clip() -> None:
    clip_times = [100.0 * (number % 10 + 1) for number in range(30)]
    same = result(voice_to_voice=clip_times)
    assert late_turn_ratio(same) == 1.0
    slower = result(
        voice_to_voice=[time * (1.3 if turn >= 19 else 1) for turn, time in enumerate(clip_times)]
    )
    assert late_turn_ratio(slower) == pytest.approx(1.3)
    assert late_turn_ratio(result(voice_to_voice=clip_times[:15])) is None


def test_the_first_turn_is_compared_with_all_others() -> None:
    assert first_turn_ratio(result(voice_to_voice=[1500.0] + [1000.0] * 12)) == 1.5
    assert first_turn_ratio(result(voice_to_voice=[1500.0])) is None


def test_goals_show_whether_they_are_met_and_leave_out_what_was_not_measured() -> None:
    out = StringIO()
    figures = result(voice_to_voice=[800.0] * 29 + [2000.0], idle_percent=3.4)
    show(figures, Console(file=out, width=120, color_system=None))
    lines = {line.split("│")[1].strip(): line for line in out.getvalue().splitlines() if line.count("│") == 5}
    assert "✓" in lines["voice to voice, p50"] and "✓" in lines["voice to voice, p95"]
    assert "✗" in lines["CPU while a client is silent, of a core"]
    assert "two sessions at the same time against one" not in lines


def test_goals_in_milliseconds_are_those_of_the_profile_they_were_set_for() -> None:
    out = StringIO()
    tiny = Result("tiny", {"cores": 2, "cpu": ""}, voice_to_voice=[800.0] * 12, barge_in=[100.0])
    show(tiny, Console(file=out, width=120, color_system=None))
    shown = [goal.what for goal in GOALS if f"│ {goal.what} " in out.getvalue()]
    assert "voice to voice, p50" not in shown and "first turn against the others" in shown


def test_the_cpu_time_of_a_process_is_found_behind_any_name() -> None:
    fields = ["S", *("0" for _ in range(10)), "250", "50", *("0" for _ in range(30))]
    assert cpu_seconds(f"17 (a (strange) name) {' '.join(fields)}") == pytest.approx(3.0)
    assert machine()["cores"] >= 1


def test_numbers_and_spellings_count_as_what_is_said() -> None:
    assert words.normalised("Mr. Smith’s 17 dogs, OK?") == "mister smith's seventeen dogs okay".split()
    assert words.normalised("1,250") == "one thousand two hundred fifty".split()
    assert words.normalised("ill-disposed 10%") == "ill disposed ten percent".split()
    assert words.in_words(340_021) == "three hundred forty thousand twenty one".split()


def test_wrong_words_are_counted_as_few_as_possible() -> None:
    assert words.wrong_words("ten of clubs".split(), "ten of clubs ten of clubs".split()) == 3
    assert words.wrong_words("hello world".split(), []) == 2
    assert words.wrong_words("a b c".split(), "a x c".split()) == 1


def test_a_folder_of_recordings_says_what_is_said_in_them(tmp_path: Path) -> None:
    (tmp_path / "one.wav").write_bytes(wav_bytes(AudioFrame(np.ones(4800, np.int16), 48_000)))
    readme = tmp_path / "README.md"
    readme.write_text("| file | words | from |\n| --- | --- | --- |\n| one.wav | hello world | me |\n")
    (clip,) = words.recordings(tmp_path)
    assert clip.words == ["hello", "world"] and clip.sound.rate == 16_000
    readme.write_text("| two.wav | nothing |\n")
    with pytest.raises(SystemExit, match=r"two\.wav, which the folder doesn't hold"):
        words.recordings(tmp_path)
    readme.unlink()
    with pytest.raises(SystemExit, match="has no table"):
        words.recordings(tmp_path)


async def test_the_client_sends_a_sample_only_when_it_has_been_spoken() -> None:
    mouth = Mouth()
    await mouth.recv()
    sound = np.zeros(RATE // 10, np.int16)
    sound[100:-2000] = 9000
    ended = mouth.say(AudioFrame(sound, RATE))
    assert ended - mouth.onset == pytest.approx((len(sound) - 2101) / RATE)
    while mouth.speaking:
        frame = await mouth.recv()
        if frame.to_ndarray().any():
            last = asyncio.get_running_loop().time()
    assert 0 <= last - ended < 0.03
