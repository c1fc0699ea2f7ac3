"""Token bucket: how many events a second live subscriptions are given."""

from __future__ import annotations

from sonde.clock import Clock


class TokenBucket:
    """Holds ``rate`` tokens, refilled at ``rate`` a second. For one thread.

    Source: the token bucket of ITU-T I.371, as the Go original uses it.
    """

    __slots__ = ("_clock", "_rate", "_seen_s", "_tokens")

    def __init__(self, rate: float, clock: Clock) -> None:
        """Start full: a burst of ``rate`` passes at once."""
        self._rate = rate
        self._clock = clock
        self._tokens = float(max(rate, 1.0))
        self._seen_s = clock.monotonic_s()

    def take(self, wanted: int) -> int:
        """Take up to ``wanted`` tokens; says how many there were."""
        now_s = self._clock.monotonic_s()
        self._tokens = min(max(self._rate, 1.0), self._tokens + (now_s - self._seen_s) * self._rate)
        self._seen_s = now_s
        granted = min(wanted, int(self._tokens))
        self._tokens -= granted
        return granted
