"""The sound of each turn as WAV files, to hear later what the agent heard and said."""

import asyncio
import logging
import os
import re
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from localvoice.application.hooks import Hooks, TurnContext
from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.audio.wav import wav_bytes
from localvoice.config import ConfigError
from localvoice.observability.log_context import session_tag
from localvoice.observability.stopwatch import Timing

log = logging.getLogger(__name__)

_OURS: Final = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[\w-]+-[\w-]+-(user|agent)\.wav", re.ASCII)
_WAITING: Final = 16
"""Files that may wait to be written; a disk that is slower than that must not fill the memory."""
_CLOSE_SECONDS: Final = 5.0


class DebugAudio:
    """Saves what the user said and the reply as it was made, which is more than was heard after a barge-in.

    Files are named by time (UTC), the session's tag, turn and speaker, and only their owner can read them.
    What can't be written is logged and lost.
    """

    def __init__(self, folder: Path, keep: int = 200) -> None:
        """Makes `folder` if there is none. Beyond `keep` files, two a turn, the oldest are removed.

        Raises `ConfigError` if no file can be written there.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one file has to be kept")
        _try(folder)
        self._folder = folder
        self._keep = keep
        self._replies: dict[str, tuple[str, list[AudioFrame]]] = {}
        """By turn: its session's id, and the sound so far."""
        self._writes: set[asyncio.Task[None]] = set()
        self._disk = threading.Lock()
        # As they were written: after the clock was set back, new names sort before old ones.
        self._own: list[str] = []

    def hooks(self) -> Hooks:
        """The hooks to combine with the application's own. None of them waits for the disk."""
        return Hooks(on_turn_start=self._started, on_tts_chunk=self._sounded, on_turn_end=self._ended)

    async def forget(self, session_id: str) -> bool:
        """Delete what was saved of this session, and save nothing more of its present turn.

        False, and a line in the log, if a file could not be deleted.
        """
        for turn_id in [turn for turn, (session, _) in self._replies.items() if session == session_id]:
            del self._replies[turn_id]
        if self._writes:
            await asyncio.wait(self._writes)
        return await asyncio.to_thread(self._delete, f"-{session_tag(session_id)}-")

    async def close(self) -> None:
        """Wait until all has been written, for 5 s at most."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=_CLOSE_SECONDS)

    def _started(self, ctx: TurnContext, audio: AudioFrame | None) -> None:
        self._replies[ctx.turn_id] = ctx.session_id, []
        if audio is not None:
            self._save(ctx, "user", [audio])

    def _sounded(self, ctx: TurnContext, chunk: AudioFrame, index: int) -> None:
        reply = self._replies.get(ctx.turn_id)
        if reply is not None:  # sound that comes after the turn's end would be kept for ever
            reply[1].append(chunk)

    def _ended(self, ctx: TurnContext, timing: Timing) -> None:
        _, reply = self._replies.pop(ctx.turn_id, ("", []))
        if reply:
            self._save(ctx, "agent", reply)

    def _save(self, ctx: TurnContext, who: Literal["user", "agent"], frames: list[AudioFrame]) -> None:
        if len(self._writes) >= _WAITING:
            log.warning("the sound of a turn was not saved: the disk is too slow")
            return
        write = asyncio.create_task(asyncio.to_thread(self._write, _file_name(ctx, who), frames))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    def _delete(self, session: str) -> bool:
        try:
            with self._disk:
                present = os.listdir(self._folder) if self._folder.is_dir() else []
                for name in present:
                    if _OURS.fullmatch(name) and session in name:
                        (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("the sound of a session could not be deleted: %s", error)
            return False
        return True

    def _write(self, name: str, frames: list[AudioFrame]) -> None:
        # A fallback voice may speak at another rate than the one whose place it takes.
        sound = concatenate([frame.resampled(frames[0].rate) for frame in frames])
        path = self._folder / name
        try:
            with self._disk:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write_private(path, wav_bytes(sound))
                self._own = [*self._own[-self._keep :], name]
                earlier = {each for each in os.listdir(self._folder) if _OURS.fullmatch(each)} - {*self._own}
                for oldest in (sorted(earlier) + self._own)[: -self._keep]:
                    (self._folder / oldest).unlink(missing_ok=True)
        except OSError as error:
            log.warning("the sound of a turn could not be saved as %s: %s", path, error.strerror)


def _try(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"The sound of turns can't be saved in {folder}: {error.strerror}. Name another folder as "
            "monitor.audio_dir, or none."
        ) from error


def _file_name(ctx: TurnContext, who: str) -> str:
    time = datetime.fromtimestamp(ctx.start_time / 1000, UTC)
    stamp = f"{time:%Y%m%dT%H%M%S}.{time.microsecond // 1000:03}Z"
    turn = re.sub(r"[^A-Za-z0-9_-]", "_", ctx.turn_id[:40])
    return f"{stamp}-{session_tag(ctx.session_id)}-{turn}-{who}.wav"


def _write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read; on a full disk, leave no half of it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
    except OSError:
        path.unlink(missing_ok=True)
        raise
