"""What a session tells: messages, failures, hooks outside a turn, and the trace of its floor."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVarTuple

from localvoice.application.hooks import ErrorContext, Outcome, notify
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import (
    ErrorMessage,
    ServerMessage,
    SpeechStart,
    StageChangeMessage,
    StateMessage,
)
from localvoice.contract.metrics import Metric
from localvoice.conversation.agent import Agent, StageChange
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.moves import SPEECH_STARTED, FloorTransition, State
from localvoice.observability.log_context import failure, spoken
from localvoice.observability.stopwatch import unix_ms

log = logging.getLogger(__name__)

Args = TypeVarTuple("Args")

_LAST_SECONDS: Final = 2.0
"""For hooks at the end of their session. No turn waits for them, and the client may be about to come back."""
_LEAVE_SECONDS: Final = 0.1
"""For what a cancelled one has to put in order. One that doesn't end is left behind."""


class Reporter:
    """Tells of what happens in one session. Nothing here waits, so it may be called where frames are read."""

    def __init__(
        self, agent: Agent, session_id: Callable[[], str], emit: Callable[[ServerMessage], None]
    ) -> None:
        self._agent = agent
        self._session_id = session_id
        self.emit = emit  # sends a message to the client; never waits
        self.trace = Trace()  # the latest transitions of the floor
        self._running: set[asyncio.Task[None]] = set()

    def follow(self, transition: FloorTransition) -> None:
        """Tell the client what it is to know of a transition of the floor, and keep it in the trace."""
        self.trace.add(transition.source, transition.event, transition.target)
        if transition.event == SPEECH_STARTED:
            self.emit(SpeechStart())
        told = told_as(transition.target)
        # A turn may take another's place while that one thinks: the client must know whose words come next.
        if told != told_as(transition.source) or transition.target is State.THINKING:
            self.emit(StateMessage(told))

    def tell_judgement(
        self, conversation: Conversation, change: StageChange | None, turn_id: str | None = None
    ) -> None:
        """Report what failed while a playbook judged, and begin the stage that it leads to, if any."""
        for problem in conversation.director.take_problems():
            self.report(problem, turn_id)
        if change is not None:
            self.emit(StageChangeMessage(change.from_stage, change.to_stage, change.reason))
            conversation.leave_stage(change.clear_history)

    def report(self, error: VoiceError, turn_id: str | None = None) -> None:
        """Tell the client, the application, the metrics and the log what failed."""
        # What a tool or a playbook's handler complains of may quote what the user said.
        theirs = error.component in (Component.TOOL, Component.PLAYBOOK)
        words = spoken(error.message) if theirs else error.message
        log.warning("%s: %s", error.code, words, extra={"code": error.code, "component": error.component})
        self._agent.metrics.increment(Metric.ERRORS, 1, {"code": error.code, "component": error.component})
        self.emit(ErrorMessage(error.code, error.message))
        context = ErrorContext(error.code, error.component, self._session_id(), turn_id, unix_ms())
        self.fire(self._agent.hooks.on_error, error, context)

    def report_any(self, error: BaseException, turn_id: str | None = None) -> None:
        if not isinstance(error, VoiceError):  # a bug, told and logged as such
            log.error("something failed in an unforeseen way: %s", failure(error))
            words = "Something went wrong inside the server. Say it again; the server's log has the details."
            error = VoiceError(ErrorCode.INTERNAL_ERROR, Component.SERVER, words)
        self.report(error, turn_id)

    def report_failed(self, task: asyncio.Task[Any]) -> None:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            self.report_any(error)

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


SIZE: Final = 256
"""Transitions that are kept: some 60 turns; 50 KB."""


@dataclass(frozen=True)
class TraceEntry:
    """A transition, as it is logged."""

    time: float  # seconds since the epoch, as in the log
    source: str
    event: str
    target: str

    def as_dict(self) -> dict[str, Any]:
        return {"time": self.time, "from": self.source, "event": self.event, "to": self.target}


class Trace:
    """The transitions of one session, oldest first; old ones make room for new ones."""

    def __init__(self, size: int = SIZE, clock: Callable[[], float] = time.time) -> None:
        self._transitions: deque[TraceEntry] = deque(maxlen=size)
        self._clock = clock

    def __len__(self) -> int:
        return len(self._transitions)

    def __iter__(self) -> Iterator[TraceEntry]:
        """Oldest first; what is added meanwhile is not seen."""
        return iter(tuple(self._transitions))

    def add(self, source: str, event: str, target: str) -> None:
        """Keep a transition and log it at debug level, with the structured field `transition`."""
        transition = TraceEntry(self._clock(), source, event, target)
        self._transitions.append(transition)
        log.debug("%s: %s -> %s", event, source, target, extra={"transition": transition.as_dict()})

    def as_dicts(self) -> list[dict[str, Any]]:
        return [transition.as_dict() for transition in self._transitions]


def told_as(state: State) -> str:
    """What clients are told. They hear silence while a turn is held: the agent listens."""
    return State.LISTENING.value if state is State.HELD else state.value
