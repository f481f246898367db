"""The latest state transitions, to see afterwards how something came about."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

log = logging.getLogger(__name__)

SIZE: Final = 256
"""Transitions that are kept: some 60 turns; 50 KB."""


@dataclass(frozen=True)
class Transition:
    """One change of state."""

    time: float
    """Seconds since the epoch, as in the log."""
    source: str
    """The state that ended."""
    event: str
    """What ended it."""
    target: str
    """The state that began."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON types: time, from, event, to."""
        return {"time": self.time, "from": self.source, "event": self.event, "to": self.target}


class Trace:
    """The transitions of one session, oldest first; old ones make room for new ones."""

    def __init__(self, size: int = SIZE, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since the epoch."""
        self._transitions: deque[Transition] = deque(maxlen=size)
        self._clock = clock

    def __len__(self) -> int:
        """Transitions kept."""
        return len(self._transitions)

    def __iter__(self) -> Iterator[Transition]:
        """Oldest first; what is added meanwhile is not seen."""
        return iter(tuple(self._transitions))

    def add(self, source: str, event: str, target: str) -> None:
        """Keep a transition and log it at debug level, with the structured field `transition`."""
        transition = Transition(self._clock(), source, event, target)
        self._transitions.append(transition)
        log.debug("%s: %s -> %s", event, source, target, extra={"transition": transition.as_dict()})

    def as_dicts(self) -> list[dict[str, Any]]:
        """All as JSON types, oldest first."""
        return [transition.as_dict() for transition in self]
