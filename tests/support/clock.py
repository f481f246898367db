"""An event loop whose clock jumps: hours of time-outs pass in microseconds, and always in the same order."""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any


class _JumpingSelector(selectors.BaseSelector):
    """Moves the clock instead of waiting, whenever nothing is ready."""

    def __init__(self) -> None:
        self.now = 0.0
        self._selector = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # A loop with nothing to wait for but another thread still has to wait for that.
        ready = self._selector.select(5.0 if timeout is None else 0)
        if not ready and timeout is None:
            raise RuntimeError("nothing will ever happen on this event loop: a test waits in vain")
        if not ready and timeout:
            self.now += timeout
        return ready

    def close(self) -> None:
        self._selector.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map()


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """For tests marked `virtual_clock`. Time begins at 0 and passes only while everything waits."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds of virtual time."""
        return self._jumping.now
