"""Tally that any thread and any signal handler may increment, exactly and without a lock."""

from __future__ import annotations

from itertools import count


class Tally:
    """Counts calls. ``increment`` is one call into C, so no thread, signal or interrupt can tear it.

    ``n += 1`` is three steps, and a signal handler that runs between them loses a count; a lock would deadlock in it.
    On free-threaded builds ``next(count())`` is documented as safe, too.

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
