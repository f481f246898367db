"""Conversations by id: they outlive their connection, and end after a time without a sign of life."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from localvoice.agent.history import History
from localvoice.contract.errors import Component, ErrorCode, VoiceError

SWEEP_SECONDS: Final = 300.0
_EXPIRED_REMEMBERED: Final = 1_000
"""Ids of ended sessions that are still told apart from unknown ones; 22 characters each."""


@dataclass
class Conversation:
    """What stays of a session when its connection is gone."""

    id: str
    """128 random bits, made here; a client never chooses one."""
    history: History = field(default_factory=History)
    last_active: float = 0.0
    """The event loop's time at the last sign of life."""
    leave: Callable[[], None] | None = None
    """Tells the connection that has this conversation to let go of it; None while it has none."""

    def touch(self) -> None:
        """A sign of life."""
        self.last_active = _now()


class Sessions:
    """All conversations of a server."""

    def __init__(self, minutes_to_live: float) -> None:
        self._seconds_to_live = minutes_to_live * 60
        self._by_id: dict[str, Conversation] = {}
        self._expired: deque[str] = deque(maxlen=_EXPIRED_REMEMBERED)

    def __len__(self) -> int:
        """Conversations that are alive."""
        return len(self._by_id)

    def create(self) -> Conversation:
        """A new conversation with an id of its own."""
        conversation = Conversation(secrets.token_urlsafe(16), last_active=_now())
        self._by_id[conversation.id] = conversation
        return conversation

    def resume(self, session_id: str) -> Conversation:
        """The live conversation of this id. Raises `VoiceError` SESSION_NOT_FOUND or SESSION_EXPIRED."""
        self.sweep()
        conversation = self._by_id.get(session_id)
        if conversation is not None:
            conversation.touch()
            return conversation
        if session_id in self._expired:
            raise VoiceError(
                ErrorCode.SESSION_EXPIRED,
                Component.SERVER,
                "This session has ended after a long silence. A new one has begun.",
            )
        raise VoiceError(
            ErrorCode.SESSION_NOT_FOUND,
            Component.SERVER,
            "There is no such session on this server. A new one has begun.",
        )

    def discard(self, conversation: Conversation) -> None:
        """Forget a conversation that nobody will come back to."""
        self._by_id.pop(conversation.id, None)

    def sweep(self) -> None:
        """Forget conversations without a sign of life for too long."""
        oldest = _now() - self._seconds_to_live
        for conversation in list(self._by_id.values()):
            if conversation.last_active < oldest:
                del self._by_id[conversation.id]
                self._expired.append(conversation.id)

    async def keep_sweeping(self) -> None:
        """Sweep every five minutes until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()


def _now() -> float:
    return asyncio.get_running_loop().time()
