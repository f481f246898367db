"""Failures and hooks outside a turn: told to the client, the application, the figures and the log."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVarTuple

from localvoice.application.hooks import ErrorContext, Outcome, notify
from localvoice.application.stopwatch import unix_ms
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import ErrorMessage, ServerMessage
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent
from localvoice.observability.log_context import failure, spoken

log = logging.getLogger(__name__)

Args = TypeVarTuple("Args")

_LAST_SECONDS: Final = 2.0
"""For hooks at the end of their session, which nobody waits for: its client may be about to come back."""
_LEAVE_SECONDS: Final = 0.1
"""For what a cancelled one has to put in order. One that doesn't end is left behind."""


class Reporter:
    """Tells of what happens in one session. Nothing here waits, so it may be called where frames are read."""

    def __init__(
        self, agent: Agent, session_id: Callable[[], str], emit: Callable[[ServerMessage], None]
    ) -> None:
        self._agent = agent
        self._session_id = session_id
        self.emit = emit
        """Sends a message to the client; never waits."""
        self._running: set[asyncio.Task[None]] = set()

    def report(self, error: VoiceError, turn_id: str | None = None) -> None:
        """Tell everyone what failed."""
        # What a tool or a playbook's handler complains of may quote what the user said.
        theirs = error.component in (Component.TOOL, Component.PLAYBOOK)
        words = spoken(error.message) if theirs else error.message
        log.warning("%s: %s", error.code, words, extra={"code": error.code, "component": error.component})
        self._agent.metrics.increment(Metric.ERRORS, 1, {"code": error.code, "component": error.component})
        self.emit(ErrorMessage(error.code, error.message))
        context = ErrorContext(error.code, error.component, self._session_id(), turn_id, unix_ms())
        self.fire(self._agent.hooks.on_error, error, context)

    def report_any(self, error: BaseException, turn_id: str | None = None) -> None:
        """Whatever was raised."""
        if isinstance(error, VoiceError):
            self.report(error, turn_id)
        else:
            self.report_unforeseen(error, turn_id)

    def report_unforeseen(self, error: BaseException, turn_id: str | None = None) -> None:
        """An exception that nobody foresaw: a bug, told and logged as such."""
        log.error("something failed in a way that nobody foresaw: %s", failure(error))
        words = "Something went wrong inside the server. Say it again; the server's log has the details."
        self.report(VoiceError(ErrorCode.INTERNAL_ERROR, Component.SERVER, words), turn_id)

    def fire(self, hook: Callable[[*Args], Outcome] | None, *args: *Args) -> None:
        """Call a hook soon, without waiting for it."""
        if hook is not None:
            task = asyncio.create_task(notify(hook, *args), name="hook")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Wait until the hooks that were fired have ended, for 2 s; then cancel them."""
        if self._running:
            await asyncio.wait(self._running, timeout=_LAST_SECONDS)
        for task in self._running:
            log.warning("a hook that was called without waiting for it is cancelled: its session has ended")
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=_LEAVE_SECONDS)
