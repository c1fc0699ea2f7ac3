"""Timeline: how many events there were when, in constant memory, whatever span of time they turn out to cover."""

from __future__ import annotations

from typing import NamedTuple

_MAX_BINS = 4_096


class Stretch(NamedTuple):
    """A part of the time, with its end not included, and how many events lie in it."""

    from_ns: int
    to_ns: int
    events: int


class Timeline:
    """Counts times, in any order, in bins of 2^n nanoseconds; as the span grows, bins are joined in pairs.

    >>> timeline = Timeline()
    >>> for time_ns in (1_000, 1_000, 1_400, 1_999):
    ...     timeline.add(time_ns)
    >>> timeline.stretches(2)
    [Stretch(from_ns=1000, to_ns=1500, events=3), Stretch(from_ns=1500, to_ns=2000, events=1)]
    """

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.first_ns = self.last_ns = 0
        self._shift = 0
        self._bins: dict[int, int] = {}

    @property
    def span_ns(self) -> int:
        """From the first to the last event."""
        return self.last_ns - self.first_ns

    def add(self, time_ns: int) -> None:
        """Count an event; one without a time (0) is left out."""
        if time_ns <= 0:
            return
        if not self._bins:
            self.first_ns = self.last_ns = time_ns
        elif time_ns < self.first_ns:
            self.first_ns = time_ns
        elif time_ns > self.last_ns:
            self.last_ns = time_ns
        while (self.last_ns >> self._shift) - (self.first_ns >> self._shift) >= _MAX_BINS:
            self._join()
        index = time_ns >> self._shift
        self._bins[index] = self._bins.get(index, 0) + 1

    def _join(self) -> None:
        joined: dict[int, int] = {}
        for index, count in self._bins.items():
            joined[index >> 1] = joined.get(index >> 1, 0) + count
        self._bins = joined
        self._shift += 1

    def stretches(self, cells: int) -> list[Stretch]:
        """The time from the first to the last event in ``cells`` parts of one length; none without two times.

        An event may be in the part beside its own if it is nearer to it than 1/2048 of the span.
        """
        if self.span_ns < cells:
            return []
        # The last event lies in the last part, not right behind it.
        span_ns = self.span_ns + 1
        counts = [0] * cells
        for index, count in self._bins.items():
            middle_ns = ((2 * index + 1) << self._shift) // 2
            cell = (min(max(middle_ns, self.first_ns), self.last_ns) - self.first_ns) * cells // span_ns
            counts[cell] += count
        bounds = [self.first_ns + span_ns * cell // cells for cell in range(cells + 1)]
        return [Stretch(*part) for part in zip(bounds[:-1], bounds[1:], counts, strict=True)]
