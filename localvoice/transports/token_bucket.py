"""A token bucket: what passes at once, and how much passes in the long run. The caller gives the time."""

from typing import Final

_ROUNDING: Final = 1e-9
"""Of a token. A client that waits as long as it was told must not fail by the last bit of a float."""


class TokenBucket:
    """Lets a burst pass at once, and after that so many a second."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        """Full at first. `burst` below 1 counts as 1; times are seconds of one monotonic clock."""
        self._per_second = per_second
        self._size = max(1.0, burst)
        self._tokens = self._size
        self._seen = now

    def take(self, now: float, cost: float = 1.0) -> float:
        """0 if this one may pass; otherwise the seconds until one may, and nothing is taken."""
        seconds = self.wait(now, cost)
        if not seconds:
            self._tokens = max(0.0, self._tokens - cost)
        return seconds

    def spend(self, now: float, cost: float) -> None:
        """Take it, whether it is there or not: what is missing has to come back before anything passes."""
        self.wait(now, cost)
        self._tokens -= cost

    def wait(self, now: float, cost: float = 1.0) -> float:
        """What `take` would give, with nothing taken."""
        self._tokens = min(self._size, self._tokens + (now - self._seen) * self._per_second)
        self._seen = now
        return 0.0 if self._tokens >= cost - _ROUNDING else (cost - self._tokens) / self._per_second
