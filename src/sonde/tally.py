"""Tally that any thread and any signal handler may increment, exactly and without a lock."""

from __future__ import annotations

from itertools import count


class Tally:
    """Counts calls. ``increment`` is one call into C, so no thread, signal or interrupt can tear it.

    ``n += 1`` is three steps, and a signal handler that runs between them loses a count; a lock would deadlock in it.
    CPython's free-threaded builds make ``next(count())`` one atomic step, too, since the first of them (3.13); that is
    their word and not our measurement. Looking at one with ``repr`` was a plain load there until July 2026.

    >>> calls = Tally()
    >>> calls.increment()
    0
    >>> calls.value
    1
    """

    __slots__ = ("_count", "increment")

    def __init__(self) -> None:
        self._count = count()
        self.increment = self._count.__next__
        """Add one; gives the value before."""

    @property
    def value(self) -> int:
        """How often ``increment`` was called."""
        # The only way to look at a count() without moving it that every Python version has.
        return int(repr(self._count)[6:-1])
