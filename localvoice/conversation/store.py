"""Conversations on disk, so that they survive a restart: one file each, readable by their owner only."""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError

from localvoice.config import ConfigError
from localvoice.conversation.manner import SavedManner
from localvoice.files import TEMPORARY_SUFFIX, read_private, write_private
from localvoice.tools.reminders import LIMIT, Kind

log = logging.getLogger(__name__)

_PLAIN_SUFFIX: Final = ".json"
_SEALED_SUFFIX: Final = ".sealed"
_SALT_FILE: Final = "salt"
_LOCK_FILE: Final = "lock"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
"""What AES-GCM wants; a random one is safe for 2^32 writes with one key."""
_SCRYPT_COST: Final = 2**15
_SCRYPT_BLOCK: Final = 8
_SCRYPT_PASSES: Final = 3
"""With the two above: 32 MiB and some tenths of a second, once a start, for each guess at the passphrase."""


class SavedReminder(BaseModel):
    """A reminder that was pending."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    due: FiniteFloat
    """Wall-clock time, Unix seconds."""
    text: str
    # What follows isn't in files of version 0.3 and earlier.
    by_clock: bool = False
    kind: Kind | None = None
    label: str = ""
    seconds: FiniteFloat = 0.0


class SessionRecord(BaseModel):
    """A conversation as its file holds it. Times are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    """Of this format."""
    id: str = Field(min_length=1)
    """The session's: the file's name is only a hash of it."""
    history: dict[str, JsonValue]
    """From `History.save`."""
    director: dict[str, JsonValue]
    """From `Director.save`."""
    reminders: tuple[SavedReminder, ...] = Field((), max_length=LIMIT)
    announcements: tuple[str, ...] = ()
    """What was due and could not be said yet."""
    manner: SavedManner = SavedManner()
    turns: int = Field(0, ge=0)
    """How often the user has said something."""
    told_blind: bool = False
    """Only in files of version 0.2 and earlier, which are read still."""
    started: FiniteFloat
    last_active: FiniteFloat


class SessionStore:
    """A folder of sessions. All methods block for disk, so they belong in a thread.

    With a key each file is sealed with AES-256-GCM, bound to its name; the cipher's key is made from the
    passphrase by scrypt with a random salt, which lies in the folder and is no secret. Without a key the
    files are plain JSON. With a key, no file is trusted that is not sealed.
    """

    def __init__(self, folder: Path, key: str | None) -> None:
        """Makes the folder if there is none. `key` is a passphrase; None seals nothing.

        Takes some tenths of a second with a key. Raises `ConfigError` if the folder can't be used, is open to
        others or in use by another process, and if the key is empty.
        """
        if key == "":
            raise ConfigError("server.sessions_key is empty. Give a passphrase, or leave the setting out.")
        self._folder = folder
        # By default a lock belongs to the thread that took it, but another may be the one to give it back.
        self._lock = FileLock(folder / _LOCK_FILE, mode=0o600, thread_local=False)
        try:
            _make_private(folder)
            self._lock.acquire(timeout=0)
            self._cipher = None if key is None else _cipher_of(folder, key)
        except Timeout:  # an OSError, too
            raise ConfigError(
                f"Another localvoice keeps its sessions in {folder}. Give this one a folder of its own "
                "(server.sessions_dir)."
            ) from None
        except OSError as error:
            self._lock.release()
            raise ConfigError(
                f"The folder for sessions {folder} can't be used ({error.strerror or error}). Give another "
                "one as server.sessions_dir, or none."
            ) from error
        except ConfigError:
            self._lock.release()
            raise

    def read_all(self) -> list[SessionRecord]:
        """All sessions in the folder. What can't be read is logged and left where it is."""
        records: list[SessionRecord] = []
        for path in sorted(self._folder.iterdir()):
            try:
                if path.suffix == TEMPORARY_SUFFIX:
                    path.unlink()  # half a copy, of a process that died: we have the lock
                elif path.suffix in (_PLAIN_SUFFIX, _SEALED_SUFFIX):
                    records.append(self._read(path))
            except _Unreadable as why:
                log.warning("the session file %s is left alone: %s", path.name, why)
            except OSError as error:
                log.warning("the session file %s can't be read: %s", path.name, error.strerror or error)
        return records

    def write(self, session_id: str, record: bytes) -> None:
        """Put a session's record, as JSON, in the place of its last one; `OSError` leaves that."""
        path = self._path(session_id)
        if self._cipher is not None:
            nonce = secrets.token_bytes(_NONCE_BYTES)
            record = nonce + self._cipher.encrypt(nonce, record, path.stem.encode())
        write_private(path, record)

    def remove(self, *session_ids: str) -> None:
        """Forget sessions; without effect where there is no file. Raises `OSError`."""
        for session_id in session_ids:
            self._path(session_id).unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.release()

    def _path(self, session_id: str) -> Path:
        return self._folder / (_name_of(session_id) + (_SEALED_SUFFIX if self._cipher else _PLAIN_SUFFIX))

    def _read(self, path: Path) -> SessionRecord:
        content = read_private(path)
        if path.suffix == _SEALED_SUFFIX:
            content = self._unseal(path, content)
        elif self._cipher is not None:
            raise _Unreadable("it is not encrypted, but server.sessions_key is set. Delete it if you can")
        try:
            record = SessionRecord.model_validate_json(content)
        except ValidationError:  # its text quotes the file, and what was said is not for the log
            raise _Unreadable("it is damaged, or another version of localvoice wrote it") from None
        if _name_of(record.id) != path.stem:
            raise _Unreadable("it holds another session than its name says")
        return record

    def _unseal(self, path: Path, content: bytes) -> bytes:
        if self._cipher is None:
            raise _Unreadable("it is encrypted. Set server.sessions_key to the passphrase of then")
        try:
            return self._cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], path.stem.encode())
        except (InvalidTag, ValueError):  # ValueError is for less than a nonce
            raise _Unreadable("it is damaged, or encrypted with another key") from None


class SessionWriter:
    """Writes a store's sessions in threads, each session's in order. Of several that wait, the newest."""

    def __init__(self, store: SessionStore) -> None:
        self.store: Final = store
        self._waiting: dict[str, bytes | None] = {}
        self._jobs: dict[str, asyncio.Task[bool]] = {}
        self.failing = False
        """Whether the latest write failed."""

    def write(self, session_id: str, record: bytes | None) -> asyncio.Task[bool]:
        """Write a record, or with None remove it. The task never raises: False means that it failed.

        Don't cancel it; a record that was given is to be written.
        """
        self._waiting[session_id] = record
        if session_id not in self._jobs:
            self._jobs[session_id] = asyncio.create_task(self._work(session_id), name="session writer")
        return self._jobs[session_id]

    async def remove_all(self, session_ids: Collection[str]) -> None:
        """Remove many in one go. Not for sessions of which a write is under way."""
        await self._attempt(self.store.remove, *session_ids)

    async def close(self) -> None:
        """Write all that was given, then let another process have the folder."""
        await self.flush()
        self.store.close()

    async def flush(self) -> None:
        """Wait until all that was given is written."""
        while self._jobs:
            await asyncio.wait(self._jobs.values())

    def fail(self, why: str) -> None:
        """A session could not be saved. Logged once until one can: a full disk fails after every turn."""
        if not self.failing:
            log.error("sessions can't be saved: %s. A restart would lose them; the conversations go on", why)
        self.failing = True

    async def _work(self, session_id: str) -> bool:
        """Write what waits for this session until nothing does; whether the last of it is written."""
        written = True
        try:
            while session_id in self._waiting:
                if (record := self._waiting.pop(session_id)) is None:
                    written = await self._attempt(self.store.remove, session_id)
                else:
                    written = await self._attempt(self.store.write, session_id, record)
        finally:
            del self._jobs[session_id]
        return written

    async def _attempt(self, work: Callable[..., None], *arguments: str | bytes) -> bool:
        try:
            await asyncio.to_thread(work, *arguments)
        except Exception as error:  # whatever the reason: what was given later is still to be written
            strerror = error.strerror if isinstance(error, OSError) else None
            self.fail(strerror or str(error) or type(error).__name__)
            return False
        if self.failing:
            log.info("sessions can be saved again")
        self.failing = False
        return True


class _Unreadable(Exception):
    """Why a file is left alone."""


def _name_of(session_id: str) -> str:
    """A hash: the id opens the conversation, and names of files end up in listings and logs."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        raise ConfigError(
            f"Others can look into the folder for sessions {folder}. Close it with `chmod 700 {folder}`, or "
            "give one that doesn't exist yet as server.sessions_dir."
        )


def _cipher_of(folder: Path, passphrase: str) -> AESGCM:
    """The passphrase's cipher, with the folder's salt, which is made on its first use with a key."""
    path = folder / _SALT_FILE
    if not path.exists():
        write_private(path, secrets.token_bytes(_SALT_BYTES))
    salt = read_private(path)
    if len(salt) != _SALT_BYTES:
        raise ConfigError(
            f"{path} is damaged, and without it no session in the folder can be decrypted. Bring it back "
            "from a backup, or move the folder away to start with an empty one."
        )
    scrypt = Scrypt(salt, length=32, n=_SCRYPT_COST, r=_SCRYPT_BLOCK, p=_SCRYPT_PASSES)
    return AESGCM(scrypt.derive(passphrase.encode()))
