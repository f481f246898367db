"""Who may converse: as many at a time as this machine serves well, which is measured.

A turn keeps the models at work for some seconds: one is rehearsed at the start, and every real one counts
after it. There are as many places as conversations together keep the models at work half of the time, so
that a turn seldom waits for another's.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from localvoice.config import LimitSettings
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import ServerMessage, SpeechStart, StateMessage, TurnMetrics
from localvoice.conversation.surroundings import AgentState
from localvoice.engines.work import Work
from localvoice.server.limits import limited

KEEP_SECONDS: Final = 15.0
"""For so long after a turn its conversation keeps its place: who thinks about an answer isn't done."""
LEAST: Final = 2
"""Places on however slow a machine: somebody's second tab must not be turned away because of the first."""
PACE_SECONDS: Final = 8.0
"""From one turn to the next: a question of 2 s, an answer of 4 s, and what is between them."""
_BUSY: Final = 0.5
"""Share of the time that the models may be at work. Above it, waiting times grow fast."""
_NEWEST: Final = 0.1
"""What the latest turn counts for in the mean: it follows a change of the machine's load within a dozen."""
_LONGEST_WAIT: Final = 60


@dataclass
class _Place:
    taken: float
    """When; the event loop's time."""
    turn_began: float | None
    """None between turns."""
    kept_until: float
    """When it is free again, if there is no other turn."""
    awaited: bool = False
    """Whether its client was cut off and may return."""

    @property
    def until(self) -> float:
        """When it is free, as things are."""
        return math.inf if self.turn_began is not None else self.kept_until


class _Mean:
    """Of what was measured lately."""

    def __init__(self, value: float | None = None) -> None:
        self.value = value

    def add(self, value: float) -> None:
        self.value = value if self.value is None else self.value + _NEWEST * (value - self.value)


class Places:
    """All of a server."""

    def __init__(
        self,
        settings: LimitSettings,
        turn_seconds: float,
        on_change: Callable[[int, int], None] = lambda taken, count: None,
    ) -> None:
        """`turn_seconds` of the models' work were rehearsed. `on_change` gets places taken, and all."""
        self._settings = settings
        self._work = _Mean(turn_seconds)
        self._turn = _Mean()
        self._stay = _Mean()
        self._taken: dict[str, _Place] = {}
        self._on_change = on_change

    @property
    def count(self) -> int:
        """How many there are."""
        if self._settings.conversations is not None:
            return self._settings.conversations
        most = self._settings.connections
        work, time = self._work.value or 0.0, _BUSY * PACE_SECONDS
        return most if work * most <= time else min(most, max(LEAST, int(time / work)))

    @property
    def taken(self) -> int:
        """Conversations that have one."""
        for who, place in list(self._taken.items()):
            if place.until <= _now():
                self.free(who)
        return len(self._taken)

    @property
    def full(self) -> bool:
        """Whether none is free."""
        return self.taken >= self.count

    @property
    def awaits(self) -> bool:
        """Whether a place is kept for a client that was cut off."""
        return self.taken > 0 and any(place.awaited for place in self._taken.values())

    def has(self, who: str) -> bool:
        """Whether this conversation has one."""
        return self.taken > 0 and who in self._taken

    def take(self, who: str) -> None:
        """A turn of this conversation begins. It gets a place even if there is none: ask `check` before."""
        now = _now()
        place = self._taken.setdefault(who, _Place(now, None, now))
        if place.turn_began is None:
            place.turn_began = now
        self._changed()

    def check(self, who: str) -> None:
        """Raises `VoiceError` RATE_LIMITED if this conversation has no place and none is free."""
        if not self.has(who) and self.full:
            raise self.refusal()

    def rest(self, who: str, answered: bool = True) -> None:
        """Nobody speaks any more. After an answer it keeps its place for a while; a cough changes nothing."""
        place = self._taken.get(who)
        if place is None:
            return
        place.awaited = False
        if place.turn_began is None:
            return
        now = _now()
        if answered:
            self._turn.add(now - place.turn_began)
            place.kept_until = now + KEEP_SECONDS
        place.turn_began = None
        if place.kept_until <= now:
            self.free(who)

    def lose(self, who: str) -> None:
        """The client of this conversation was cut off. Its place is kept as after a turn."""
        self.rest(who)
        place = self._taken.get(who)
        if place is not None:
            place.awaited = True

    def free(self, who: str) -> None:
        """This conversation has gone."""
        place = self._taken.pop(who, None)
        if place is not None:
            self._stay.add(min(_now(), place.until) - place.taken)
            self._changed()

    def note_work(self, seconds: float) -> None:
        """What a turn has taken of the models."""
        self._work.add(seconds)

    def refusal(self) -> VoiceError:
        """For whoever finds no place."""
        words = f"All places are taken, for this machine serves {self.count} at a time"
        return limited(words, self._wait())

    def _wait(self) -> int:
        """Whole seconds until a place is likely to be free: what is left of the one that may be so first.

        Where it is known how long conversations last, no less than the time in which one of them ends.
        """
        now, turn = _now(), self._turn.value or 0.0
        left = [
            place.kept_until - now
            if place.turn_began is None
            else max(0.0, place.turn_began + turn - now) + KEEP_SECONDS
            for place in self._taken.values()
        ]
        usual = (self._stay.value or 0.0) / self.count
        return min(_LONGEST_WAIT, max(1, math.ceil(max(min(left, default=0.0), usual))))

    def _changed(self) -> None:
        self._on_change(len(self._taken), self.count)


class Seat:
    """One connection's part in it: follows what its client is told."""

    def __init__(self, places: Places, work: Work, conversation_id: Callable[[], str]) -> None:
        """`work` is what the models do for this connection."""
        self._places = places
        self._work = work
        self._conversation_id = conversation_id
        self._answers = 0
        self.refusal: VoiceError | None = None
        """What the client is to be told before its connection ends."""

    def may_converse(self) -> bool:
        """Whether the user may have a turn; otherwise the connection is to end with the refusal."""
        try:
            self._places.check(self._conversation_id())
        except VoiceError as error:
            self.refusal = error
            return False
        return True

    def follow(self, message: ServerMessage) -> bool:
        """Notice what happens. False if it must not go on, as where `may_converse` says so."""
        who = self._conversation_id()
        match message:
            case SpeechStart() if not self.may_converse():
                return False
            case SpeechStart() | StateMessage(state=AgentState.THINKING):
                self._places.take(who)
            case TurnMetrics():
                self._answers += 1
            case StateMessage(state=AgentState.IDLE):
                self.rest()
            case _:
                pass
        return True

    def rest(self) -> None:
        """Nobody speaks any more."""
        if self._answers:
            self._places.note_work(self._work.take() / self._answers)
        self._places.rest(self._conversation_id(), self._answers > 0)
        self._answers = 0

    def leave(self, cleanly: bool) -> None:
        """The connection ends. A client that was cut off may come back, and keeps its place meanwhile."""
        if cleanly:
            self._places.free(self._conversation_id())
        else:
            self._places.lose(self._conversation_id())


def _now() -> float:
    return asyncio.get_running_loop().time()
