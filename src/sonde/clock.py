"""Time, as a seam: the system's clocks, and one that tests move by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where sonde reads the time. Implementations are thread-safe and never block."""

    def time_ns(self) -> int:
        """Unix time in nanoseconds; it may jump."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment; it never goes back."""
        ...


class SystemClock:
    """The operating system's clocks.

    >>> SystemClock().time_ns() > 1_600_000_000 * 10**9
    True
    """

    time_ns = staticmethod(time.time_ns)
    monotonic_s = staticmethod(time.monotonic)


class ManualClock:
    """A clock that stands still until it is moved: for tests, yours included.

    >>> clock = ManualClock(time_ns=5)
    >>> clock.advance(1.5)
    >>> clock.time_ns(), clock.monotonic_s()
    (1500000005, 1.5)
    """

    def __init__(self, time_ns: int = 0) -> None:
        """Start at ``time_ns`` (Unix time) and monotonic second 0."""
        self._time_ns = time_ns
        self._monotonic_ns = 0

    def time_ns(self) -> int:
        """Unix time in nanoseconds."""
        return self._time_ns

    def monotonic_s(self) -> float:
        """Seconds advanced so far."""
        return self._monotonic_ns / 1e9

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by ``seconds``."""
        step_ns = round(seconds * 1e9)
        self._time_ns += step_ns
        self._monotonic_ns += step_ns

    def set_time_ns(self, time_ns: int) -> None:
        """Set the wall clock alone, backwards too, as an administrator or NTP may do."""
        self._time_ns = time_ns


SYSTEM_CLOCK = SystemClock()
