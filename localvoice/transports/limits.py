"""Rate limits: a token bucket, and the error for a client that exceeds one."""

import math
from typing import Final

from localvoice.contract.errors import Component, ErrorCode, VoiceError

_ROUNDING: Final = 1e-9
"""Tokens. A client that waits exactly as long as it was told must not fail on a float's last bit."""


class TokenBucket:
    """Lets a burst pass at once, and `per_second` after that. The caller gives the time."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        """Starts full. A `burst` below 1 counts as 1; times are seconds of one monotonic clock."""
        self._per_second = per_second
        self._size = max(1.0, burst)
        self._tokens = self._size
        self._seen = now

    def take(self, now: float, cost: float = 1.0) -> float:
        """0 if `cost` may pass. Otherwise takes nothing and gives the seconds until it may."""
        seconds = self.wait(now, cost)
        if not seconds:
            self._tokens = max(0.0, self._tokens - cost)
        return seconds

    def spend(self, now: float, cost: float) -> None:
        """Take `cost` even if it overdraws the bucket; nothing passes until the debt is refilled."""
        self.wait(now, cost)
        self._tokens -= cost

    def wait(self, now: float, cost: float = 1.0) -> float:
        """What `take` would give, without taking anything."""
        self._tokens = min(self._size, self._tokens + (now - self._seen) * self._per_second)
        self._seen = now
        return 0.0 if self._tokens >= cost - _ROUNDING else (cost - self._tokens) / self._per_second


def rate_limited(reason: str, seconds: float) -> VoiceError:
    """RATE_LIMITED: `reason` without a full stop, and after how many seconds to try again."""
    wait = math.ceil(seconds)
    words = f"{reason}. Try again in {wait} s."
    return VoiceError(ErrorCode.RATE_LIMITED, Component.SERVER, words, retry_after=wait)
