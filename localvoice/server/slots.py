"""Conversation slots: as many conversations at a time as this machine serves well, which is measured.

A turn keeps the models busy for some seconds: one is rehearsed at the start, and every real one counts after
it. There are as many slots as conversations that together keep the models busy half of the time, so that a
turn seldom waits for another's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from localvoice.config import LimitSettings
from localvoice.contract.errors import VoiceError
from localvoice.conversation.moves import SPEECH_STARTED, TURN_STARTED, FloorTransition, State
from localvoice.engines.jobs import Work
from localvoice.observability.stopwatch import now
from localvoice.transports.limits import rate_limited

KEEP_SECONDS: Final = 15.0
"""A conversation keeps its slot this long after a turn: a user who thinks about the answer isn't done."""
LEAST: Final = 2
"""Slots on however slow a machine: a user's second tab must not be refused because of the first."""
PACE_SECONDS: Final = 8.0
"""From one turn to the next: a question of 2 s, an answer of 4 s, and what is between them."""
_BUSY_SHARE: Final = 0.5
"""Of the time, in which the models may be busy. Above it, waiting times grow fast."""
_NEWEST_WEIGHT: Final = 0.1
"""Of the latest turn in a mean: it follows a change of the machine's load within a dozen turns."""
_LONGEST_WAIT: Final = 60


@dataclass
class _Slot:
    """Times are the event loop's."""

    taken: float
    turn_began: float | None
    """None between turns."""
    kept_until: float
    """When the slot is free, if there is no other turn."""
    awaiting_return: bool = False
    """Whether the client was cut off and may return."""

    @property
    def until(self) -> float:
        return math.inf if self.turn_began is not None else self.kept_until


def _averaged(mean: float | None, value: float) -> float:
    return value if mean is None else mean + _NEWEST_WEIGHT * (value - mean)


class ConversationSlots:
    """The slots of a server, by conversation id."""

    def __init__(
        self,
        settings: LimitSettings,
        turn_seconds: float,
        on_change: Callable[[int, int], None] = lambda taken, count: None,
    ) -> None:
        """`turn_seconds` of the models' work were rehearsed. `on_change` gets the slots taken, and all."""
        self._settings = settings
        self._work_seconds = turn_seconds
        self._turn_seconds: float | None = None
        self._stay_seconds: float | None = None
        self._slots: dict[str, _Slot] = {}
        self._on_change = on_change

    @property
    def count(self) -> int:
        if self._settings.conversations is not None:
            return self._settings.conversations
        most, work, time = self._settings.connections, self._work_seconds, _BUSY_SHARE * PACE_SECONDS
        return most if work * most <= time else min(most, max(LEAST, int(time / work)))

    @property
    def taken(self) -> int:
        for conversation_id, slot in list(self._slots.items()):
            if slot.until <= now():
                self.free(conversation_id)
        return len(self._slots)

    @property
    def full(self) -> bool:
        return self.taken >= self.count

    @property
    def awaiting_return(self) -> bool:
        """Whether a slot is kept for a client that was cut off."""
        return self.taken > 0 and any(slot.awaiting_return for slot in self._slots.values())

    def has(self, conversation_id: str) -> bool:
        return self.taken > 0 and conversation_id in self._slots

    def take(self, conversation_id: str) -> None:
        """A turn begins. The conversation gets a slot even if none is free: call `check` before."""
        slot = self._slots.setdefault(conversation_id, _Slot(now(), None, now()))
        if slot.turn_began is None:
            slot.turn_began = now()
        self._on_change(len(self._slots), self.count)

    def check(self, conversation_id: str) -> None:
        """Raises `VoiceError` RATE_LIMITED if this conversation has no slot and none is free."""
        if not self.has(conversation_id) and self.full:
            raise self.refusal()

    def rest(self, conversation_id: str, answered: bool = True, cut_off: bool = False) -> None:
        """The turn is over. After an answer the slot is kept for a while; a cough changes nothing.

        A client that was cut off may return, so its slot is kept as after an answer.
        """
        slot = self._slots.get(conversation_id)
        if slot is None:
            return
        slot.awaiting_return = cut_off
        if slot.turn_began is None:
            return
        if answered:
            self._turn_seconds = _averaged(self._turn_seconds, now() - slot.turn_began)
            slot.kept_until = now() + KEEP_SECONDS
        slot.turn_began = None
        if slot.kept_until <= now():
            self.free(conversation_id)

    def free(self, conversation_id: str) -> None:
        if slot := self._slots.pop(conversation_id, None):
            stay = min(now(), slot.until) - slot.taken
            self._stay_seconds = _averaged(self._stay_seconds, stay)
            self._on_change(len(self._slots), self.count)

    def note_work(self, seconds: float) -> None:
        self._work_seconds = _averaged(self._work_seconds, seconds)

    def refusal(self) -> VoiceError:
        """RATE_LIMITED, for a client that finds no slot."""
        count = f"{self.count} conversation" + ("s" if self.count > 1 else "")
        return rate_limited(f"The server is full: it serves {count} at a time", self._wait())

    def _wait(self) -> float:
        """Seconds until a slot is likely to be free: what is left of the one that may be free first.

        Once the length of conversations is known, no less than the time in which one of them ends.
        """
        turn = self._turn_seconds or 0.0
        left = [
            slot.kept_until - now()
            if slot.turn_began is None
            else max(0.0, slot.turn_began + turn - now()) + KEEP_SECONDS
            for slot in self._slots.values()
        ]
        usual = (self._stay_seconds or 0.0) / self.count
        return min(_LONGEST_WAIT, max(1.0, min(left, default=0.0), usual))


class ConnectionSlot:
    """One connection's slot: follows the transitions of its session's floor."""

    def __init__(
        self,
        slots: ConversationSlots,
        work: Work,
        conversation_id: Callable[[], str],
        leave: Callable[[], object],
    ) -> None:
        """`work` counts what the models do for this connection; `leave` ends it."""
        self._slots = slots
        self._work = work
        self._conversation_id = conversation_id
        self._leave = leave
        self._asked = False
        self._answers = 0
        self.refusal: VoiceError | None = None
        """The error that the client gets before its connection ends."""

    def may_converse(self) -> bool:
        """Whether the user may have a turn; otherwise the connection ends with `refusal`."""
        try:
            self._slots.check(self._conversation_id())
        except VoiceError as error:
            self.refusal = error
            self._leave()
            return False
        return True

    def follow(self, transition: FloorTransition) -> None:
        """Take or keep the slot; without one, the connection ends."""
        if transition.event == SPEECH_STARTED and not self.may_converse():
            return
        match transition.target:
            case State.IDLE:
                self.rest()
            case State.SPEAKING:
                self._answers += self._asked
                self._asked = False
            case State.THINKING | State.LISTENING | State.HELD:
                self._slots.take(self._conversation_id())
                self._asked = self._asked or transition.event == TURN_STARTED

    def rest(self) -> None:
        """No turn is under way any more."""
        if self._answers:
            self._slots.note_work(self._work.take() / self._answers)
        self._slots.rest(self._conversation_id(), self._answers > 0)
        self._answers, self._asked = 0, False

    def leave(self, cleanly: bool) -> None:
        """The connection ends. Unless it ended cleanly, the slot is kept for the client to return."""
        if cleanly:
            self._slots.free(self._conversation_id())
        else:
            self._slots.rest(self._conversation_id(), cut_off=True)
