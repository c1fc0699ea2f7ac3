"""Timer: seconds from a start to an end."""

from __future__ import annotations

from types import TracebackType

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.metrics.histogram import Histogram


class Timer:
    """A stop watch on the monotonic clock; it runs from its making. For one thread.

    As a context manager it starts at the block's begin and stands still after its end.

    >>> latency = Histogram("model_latency_seconds")
    >>> with Timer() as timer:
    ...     pass
    >>> timer.observe(latency) == timer.elapsed_s
    True
    >>> latency.count
    1
    """

    __slots__ = ("_clock", "_start_s", "_stop_s")

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._stop_s: float | None = None
        self._start_s = clock.monotonic_s()

    def start(self) -> None:
        """Begin anew, now."""
        self._stop_s = None
        self._start_s = self._clock.monotonic_s()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start; of a block that has ended, its length."""
        stop_s = self._clock.monotonic_s() if self._stop_s is None else self._stop_s
        return stop_s - self._start_s

    def observe(self, histogram: Histogram) -> float:
        """Observe the seconds elapsed, and give them back."""
        elapsed_s = self.elapsed_s
        histogram.observe(elapsed_s)
        return elapsed_s

    def __enter__(self) -> Timer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_s = self._clock.monotonic_s()
