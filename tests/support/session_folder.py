"""A folder of sessions, which each test opens again as a restarted process would."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localvoice.conversation import store as session_store
from localvoice.conversation.store import SavedReminder, SessionRecord, SessionStore

Open = Callable[..., SessionStore]


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real cost is meant to take its time."""
    monkeypatch.setattr(session_store, "_SCRYPT_COST", 16)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "sessions"


@pytest.fixture
def open_store(place: Path) -> Iterator[Open]:
    """Opens the folder again, as a restarted process would."""
    opened: list[SessionStore] = []

    def reopen(key: str | None = None) -> SessionStore:
        close()
        opened.append(SessionStore(place, key))
        return opened[-1]

    def close() -> None:
        for store in opened:
            store.close()

    yield reopen
    close()


def record(session_id: str = "an id", text: str = "My secret is 4711.", turns: int = 1) -> SessionRecord:
    return SessionRecord(
        id=session_id,
        history={"messages": [{"role": "user", "content": text}]},
        director={"stage": "greeting"},
        reminders=(SavedReminder(due=2e9, text="The tea is ready."),),
        announcements=("Hello again.",),
        turns=turns,
        started=1e9,
        last_active=1.5e9,
    )


def put(store: SessionStore, kept: SessionRecord) -> None:
    store.write(kept.id, kept.model_dump_json().encode())


def session_files(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.suffix in (".json", ".sealed", ".tmp")]
