"""Conversations by id: they outlive their connection, and end after a time without a sign of life."""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.conversation.agent import Director, DirectorMaker
from localvoice.conversation.conversation import MAX_ANNOUNCEMENTS, Conversation
from localvoice.conversation.history import History
from localvoice.conversation.manner import SavedManner
from localvoice.conversation.store import SavedReminder, SessionRecord, SessionStore, SessionWriter
from localvoice.observability.log_context import session_tag
from localvoice.observability.stopwatch import now
from localvoice.tools.reminders import Reminder

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 300.0
MISSED: Final = "While I was away:"
"""Before a timer, alarm or reminder that fell due while the process didn't run."""
_AT_A_TIME: Final = 20
"""Conversations that are brought back or looked at before others may go on."""
_EXPIRED_REMEMBERED: Final = 1_000
"""Ids of ended sessions that are still told apart from unknown ones; 22 characters each."""


class Sessions:
    """All conversations of a server."""

    def __init__(
        self,
        minutes_to_live: float,
        make_director: DirectorMaker,
        store: SessionStore | None = None,
        on_end: Callable[[Conversation], None] = lambda _: None,
    ) -> None:
        """With a `store` they survive a restart. `on_end` gets each that is forgotten, and must not raise."""
        self._seconds_to_live = minutes_to_live * 60
        self._make_director = make_director
        self._writer = None if store is None else SessionWriter(store)
        self._on_end = on_end
        self._by_id: dict[str, Conversation] = {}
        self._expired: deque[str] = deque(maxlen=_EXPIRED_REMEMBERED)

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def saving_fails(self) -> bool:
        """Whether the latest attempt to write to the store failed; the log says why."""
        return self._writer is not None and self._writer.failing

    def create(self) -> Conversation:
        session_id, begun = secrets.token_urlsafe(16), now()
        conversation = Conversation(
            session_id, self._make_director(session_id), started=begun, last_active=begun
        )
        self._by_id[session_id] = conversation
        return conversation

    def resume(self, session_id: str) -> Conversation:
        """The live conversation of this id. Raises `VoiceError` SESSION_NOT_FOUND or SESSION_EXPIRED."""
        conversation = self._by_id.get(session_id)
        if conversation is not None and not self._expire(conversation):
            conversation.touch()
            return conversation
        code, why = ErrorCode.SESSION_NOT_FOUND, "There is no such session on this server."
        if session_id in self._expired:
            code, why = ErrorCode.SESSION_EXPIRED, "This session has ended after a long silence."
        raise VoiceError(code, Component.SERVER, f"{why} A new one has begun.")

    def discard(self, conversation: Conversation) -> None:
        """Forget a conversation to which no client will come back."""
        if self._by_id.get(conversation.id) is conversation:
            self._end(conversation)

    async def sweep(self) -> None:
        """Forget conversations without a sign of life for too long, a few at a time."""
        for number, conversation in enumerate(list(self._by_id.values()), 1):
            if self._by_id.get(conversation.id) is conversation:
                self._expire(conversation)
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def keep_sweeping(self) -> None:
        """Sweep every five minutes until cancelled.

        Signs of life since the last turn are saved then, too, or a crash would make a session look deserted.
        """
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep()
            await self._save_changed()

    async def save(self, conversation: Conversation) -> bool:
        """Write a conversation to the store, if there is one. Cancelling this doesn't stop the writing.

        Never raises, so that no turn breaks: a failure is logged, and `saving_fails` tells it. False if the
        store is left with an older state.
        """
        if self._writer is None or self._by_id.get(conversation.id) is not conversation:
            return True
        begun = now()
        try:
            record = _record_of(conversation).model_dump_json().encode()
        except ValueError:  # pydantic's own; its text quotes what was said
            self._writer.fail(
                f"session {session_tag(conversation.id)} holds something that JSON can't express"
            )
            return False
        written = await asyncio.shield(self._writer.write(conversation.id, record))
        if written:
            conversation.saved_at = begun
        return written

    async def load(self) -> int:
        """At the start: bring back what the store holds and has not expired; how many that are.

        There may be thousands of them, so a few are brought back at a time, and files go in a thread.
        """
        if self._writer is None:
            return 0
        records = await asyncio.to_thread(self._writer.store.read_all)
        expired = {record.id for record in records if self._has_expired(record)}
        self._expired.extend(expired)
        await self._writer.remove_all(expired)
        live = (record for record in records if record.id not in expired)
        for number, record in enumerate(live, 1):
            try:
                self._by_id[record.id] = _conversation_of(record, self._make_director(record.id))
            except (ValueError, TypeError, LookupError) as error:
                log.warning("session %s is left alone in its file: %s", session_tag(record.id), error)
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        return len(self._by_id)

    async def close(self) -> None:
        """At the end of the process, after the last connection: save what lives on, and end the rest."""
        await self._save_changed()
        for conversation in list(self._by_id.values()):
            conversation.reminders.close()
            if self._writer is None:
                self._end(conversation)
        if self._writer is not None:
            await self._writer.close()

    def _has_expired(self, record: SessionRecord) -> bool:
        # No monotonic clock survives a restart, so across one the wall clock has to do. One that was set back
        # in the meantime must not make a sign of life lie in the future.
        return max(0.0, time.time() - record.last_active) > self._seconds_to_live

    def _expire(self, conversation: Conversation) -> bool:
        """End it if it had no sign of life for too long; whether it was.

        One that has a connection stays: it is the heartbeat that lets go of a silent connection.
        """
        over = conversation.leave is None and conversation.last_active < now() - self._seconds_to_live
        if over:
            self._expired.append(conversation.id)
            self._end(conversation)
        return over

    def _end(self, conversation: Conversation) -> None:
        del self._by_id[conversation.id]
        conversation.reminders.close()
        if self._writer is not None:
            self._writer.write(conversation.id, None)
        self._on_end(conversation)

    async def _save_changed(self) -> None:
        for conversation in list(self._by_id.values()):
            if conversation.saved_at is None or conversation.last_active > conversation.saved_at:
                await self.save(conversation)


def _record_of(conversation: Conversation) -> SessionRecord:
    """Without pictures that wait for the next utterance. Raises `ValueError` for what JSON can't express."""
    wall_ahead = time.time() - now()
    return SessionRecord(
        id=conversation.id,
        history=conversation.history.save(),
        director=dict(conversation.director.save()),
        reminders=tuple(
            SavedReminder(
                due=each.due if each.by_clock else each.due + wall_ahead,
                text=each.text,
                by_clock=each.by_clock,
                kind=each.kind,
                label=each.label,
                seconds=each.seconds,
            )
            for each in conversation.reminders.waiting
        ),
        announcements=tuple(conversation.announcements),
        manner=SavedManner.of(conversation.manner),
        turns=conversation.turns,
        started=conversation.started + wall_ahead,
        last_active=conversation.last_active + wall_ahead,
    )


def _conversation_of(record: SessionRecord, director: Director) -> Conversation:
    """Reminders that fell due meanwhile are announced at once. Raises `ValueError` for a broken history."""
    wall_ahead = time.time() - now()
    history = History.restore(record.history)
    director.restore(record.director)
    conversation = Conversation(
        record.id,
        director,
        history,
        manner=record.manner.as_manner(),
        turns=record.turns,
        started=record.started - wall_ahead,
        last_active=min(record.last_active - wall_ahead, now()),
    )
    conversation.saved_at = conversation.last_active
    conversation.announcements.extend(record.announcements[-MAX_ANNOUNCEMENTS:])
    for saved in record.reminders:
        conversation.reminders.add(_reminder_of(saved, wall_ahead))
    return conversation


def _reminder_of(saved: SavedReminder, wall_ahead: float) -> Reminder:
    missed = saved.kind is not None and saved.due <= time.time()
    return Reminder(
        f"{MISSED} {saved.text}" if missed else saved.text,
        saved.due if saved.by_clock else saved.due - wall_ahead,
        saved.by_clock,
        saved.kind,
        saved.label,
        saved.seconds,
    )
