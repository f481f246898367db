"""Debug audio: each turn's sound as WAV files, private, few, and never in the way."""

import asyncio
import os
import stat
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from localvoice.application.hooks import TurnContext, notify
from localvoice.audio.frames import AudioFrame
from localvoice.audio.wav import read_wav
from localvoice.config import ConfigError
from localvoice.observability import debug_audio
from localvoice.observability.debug_audio import DebugAudio
from localvoice.observability.log_context import session_tag
from localvoice.observability.stopwatch import Timing

TIMING = Timing(0.0, 1.0, 1.0)
NOON = 1_735_732_800_250.0  # 2025-01-01 12:00:00.250 UTC


def sound(level: int, rate: int = 16_000, samples: int = 160) -> AudioFrame:
    return AudioFrame(np.full(samples, level, np.int16), rate)


async def turn(
    audio: DebugAudio,
    number: int = 0,
    user: AudioFrame | None = None,
    reply: tuple[AudioFrame, ...] = (),
    session_id: str = "abcdefghijkl",
) -> None:
    """A turn from its start to its end, as the agent tells it."""
    hooks = audio.hooks()
    ctx = TurnContext(f"turn-{number}", session_id, NOON + number)
    await notify(hooks.on_turn_start, ctx, user)
    for index, chunk in enumerate(reply):
        await notify(hooks.on_tts_chunk, ctx, chunk, index)
    await notify(hooks.on_turn_end, ctx, TIMING)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


async def test_a_turn_leaves_what_the_user_said_and_the_reply(tmp_path: Path) -> None:
    audio = DebugAudio(tmp_path / "sound")
    await turn(audio, 7, sound(100), (sound(200, 22_050), sound(300, 22_050)))
    await audio.close()
    stem = f"20250101T120000.257Z-{session_tag('abcdefghijkl')}-turn-7"
    assert names(tmp_path / "sound") == [f"{stem}-agent.wav", f"{stem}-user.wav"]
    user = read_wav(tmp_path / "sound" / f"{stem}-user.wav")
    reply = read_wav(tmp_path / "sound" / f"{stem}-agent.wav")
    assert (user.rate, user.samples.tolist()) == (16_000, [100] * 160)
    assert (reply.rate, reply.samples.tolist()) == (22_050, [200] * 160 + [300] * 160)


async def test_forgetting_a_session_deletes_its_sound_and_no_other(tmp_path: Path) -> None:
    audio = DebugAudio(tmp_path)
    await turn(audio, 1, sound(1), (sound(2),), "mine")
    await turn(audio, 2, sound(1), (sound(2),), "another's")
    (tmp_path / "notes.txt").write_text(session_tag("mine"))
    hooks, ctx = audio.hooks(), TurnContext("turn-3", "mine", NOON)
    await notify(hooks.on_turn_start, ctx, sound(3))  # the words that ask for it
    assert await audio.forget("mine")
    await notify(hooks.on_tts_chunk, ctx, sound(4), 0)  # "I have forgotten everything"
    await notify(hooks.on_turn_end, ctx, TIMING)
    await audio.close()
    kept = session_tag("another's")
    stem = f"20250101T120000.252Z-{kept}-turn-2"
    assert names(tmp_path) == [f"{stem}-agent.wav", f"{stem}-user.wav", "notes.txt"]


async def test_a_folder_that_refuses_to_forget_is_owned_up_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    audio = DebugAudio(tmp_path)
    assert await audio.forget("mine"), "nothing was saved"
    await turn(audio, 1, sound(1))
    monkeypatch.setattr(Path, "unlink", refuse)
    assert not await audio.forget("abcdefghijkl")
    assert "could not be deleted" in caplog.text
    await audio.close()


async def test_only_their_owner_can_read_them(tmp_path: Path) -> None:
    audio = DebugAudio(tmp_path / "sound")
    await turn(audio, 0, sound(1), (sound(2),))
    await audio.close()
    assert stat.S_IMODE((tmp_path / "sound").stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "sound").iterdir()} == {0o600}


async def test_a_typed_or_unanswered_turn_leaves_only_what_there_was(tmp_path: Path) -> None:
    audio = DebugAudio(tmp_path)
    await turn(audio, 1, None, (sound(2),))
    await turn(audio, 2, sound(1), ())
    await audio.close()
    assert [name[-16:] for name in names(tmp_path)] == ["turn-1-agent.wav", "-turn-2-user.wav"]


async def test_two_turns_at_once_stay_apart(tmp_path: Path) -> None:
    audio = DebugAudio(tmp_path)
    hooks = audio.hooks()
    one, two = TurnContext("one", "s1", NOON), TurnContext("two", "s2", NOON)
    for ctx in (one, two):
        await notify(hooks.on_turn_start, ctx, None)
    for ctx, level in ((one, 1), (two, 2), (one, 1)):
        await notify(hooks.on_tts_chunk, ctx, sound(level), 0)
    for ctx in (two, one):
        await notify(hooks.on_turn_end, ctx, TIMING)
    await audio.close()
    levels = {name.split("-")[2]: set(read_wav(tmp_path / name).samples.tolist()) for name in names(tmp_path)}
    assert levels == {"one": {1}, "two": {2}}


async def test_a_reply_in_two_voices_is_one_file(tmp_path: Path) -> None:
    audio = DebugAudio(tmp_path)
    await turn(audio, 0, None, (sound(100, 22_050, 22_050), sound(100, 16_000, 16_000)))
    await audio.close()
    (reply,) = (read_wav(tmp_path / name) for name in names(tmp_path))
    assert reply.rate == 22_050
    assert reply.seconds == pytest.approx(2, abs=0.01)


async def test_the_oldest_are_removed_and_nothing_else(tmp_path: Path) -> None:
    others = ["my song.wav", "notes.txt", "20200101T000000.000Z-holiday.wav"]
    for name in others:
        (tmp_path / name).write_text("")
    audio = DebugAudio(tmp_path, keep=3)
    for number in range(5):
        await turn(audio, number, sound(1))
        await audio.close()
    await DebugAudio(tmp_path, keep=2).close()  # nothing happens before a turn
    left = sorted(set(names(tmp_path)) - set(others))
    assert [name.split("-")[-2] for name in left] == ["2", "3", "4"]
    assert set(others) <= set(names(tmp_path))


async def test_after_the_clock_was_set_back_the_new_ones_are_kept_all_the_same(tmp_path: Path) -> None:
    for number in range(3):
        earlier = DebugAudio(tmp_path, keep=3)
        await turn(earlier, 10 + number, sound(1))
        await earlier.close()
    audio = DebugAudio(tmp_path, keep=3)
    for number in (2, 1):
        await turn(audio, number, sound(1))
        await audio.close()
    assert {name.split("-")[-2] for name in names(tmp_path)} == {"12", "2", "1"}


async def test_no_id_leads_out_of_the_folder(tmp_path: Path) -> None:
    audio = DebugAudio(tmp_path / "sound")
    await turn(audio, 0, sound(1), session_id="../../x/")
    await audio.close()
    assert names(tmp_path) == ["sound"]
    assert names(tmp_path / "sound") == [f"20250101T120000.250Z-{session_tag('../../x/')}-turn-0-user.wav"]


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="monitor.audio_dir"):
        DebugAudio(tmp_path / "file" / "sound")


async def test_a_folder_that_is_lost_is_logged_and_breaks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audio = DebugAudio(tmp_path / "sound")
    (tmp_path / "sound").rmdir()
    (tmp_path / "sound").touch()
    await turn(audio, 0, sound(1), (sound(2),))
    await audio.close()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "could not be saved" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
async def test_a_full_disk_is_logged_and_leaves_no_half_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open

    def open_full(path: Path, flags: int, mode: int) -> int:
        os.close(really_open(path, flags, mode))
        return really_open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(debug_audio, "os", _Os(open_full))
    audio = DebugAudio(tmp_path)
    await turn(audio, 0, sound(1))
    await audio.close()
    assert "No space left on device" in caplog.text
    assert names(tmp_path) == []


class _Os:
    """The module `os` with another `open`."""

    def __init__(self, open: object) -> None:
        self.open = open

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


async def test_a_slow_disk_holds_up_no_turn_and_fills_no_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    write = debug_audio._write_private

    def slow(path: Path, data: bytes) -> None:
        assert threading.current_thread() is not threading.main_thread()
        assert free.wait(60)
        write(path, data)

    monkeypatch.setattr(debug_audio, "_write_private", slow)
    audio = DebugAudio(tmp_path)
    try:
        async with asyncio.timeout(30):
            for number in range(20):
                await turn(audio, number, sound(1))
    finally:
        free.set()
    await audio.close()
    assert len(names(tmp_path)) == 16
    assert caplog.text.count("the disk is too slow") == 4


async def test_sound_that_comes_after_the_end_is_dropped(tmp_path: Path) -> None:
    audio = DebugAudio(tmp_path)
    await turn(audio, 0, sound(1))
    await notify(audio.hooks().on_tts_chunk, TurnContext("turn-0", "s", NOON), sound(2), 1)
    await turn(audio, 0)
    await audio.close()
    assert [name.endswith("-user.wav") for name in names(tmp_path)] == [True]


def test_at_least_one_file_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep"):
        DebugAudio(tmp_path, keep=0)
