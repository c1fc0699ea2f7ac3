"""Following: new events as they are committed, by any process, each exactly once."""

from __future__ import annotations

import time
from _thread import LockType, allocate_lock
from collections.abc import Callable, Iterator
from contextlib import suppress

from sonde.errors import StoreClosedError
from sonde.events import RecordedEvent

POLL_S = 0.05
"""How often another process's commits are looked for: one seek in a b-tree each, some 10 µs."""


class Bell:
    """Wakes the followers of this process when it appends, and when it closes. Thread-safe.

    Ringing costs 0.1 µs while nobody waits. It is no part of correctness: who misses a stroke looks again soon.
    ``threading.Condition`` has places at which Ctrl-C leaves its lock held for good; a raw lock for each sleeper has
    none.
    """

    def __init__(self) -> None:
        self.strokes = 0
        self._sleepers: list[LockType] = []

    def ring(self) -> None:
        """Wake all who wait."""
        self.strokes += 1
        while self._sleepers:
            try:
                self._sleepers.pop().release()
            except IndexError:  # another thread rings, too, or the sleeper has gone
                return

    def wait(self, heard: int, timeout_s: float) -> None:
        """Return once there is a stroke that ``heard`` doesn't count, or after ``timeout_s``. Ctrl-C interrupts it."""
        lock = allocate_lock()
        lock.acquire()
        self._sleepers.append(lock)
        try:
            if self.strokes == heard:
                lock.acquire(timeout=timeout_s)
        finally:
            with suppress(ValueError):  # it was woken
                self._sleepers.remove(lock)


def follow(
    look: Callable[[int], tuple[list[RecordedEvent], int]],
    start: int,
    *,
    bell: Callable[[], Bell],
    timeout_s: float | None,
) -> Iterator[RecordedEvent]:
    """Yield what ``look`` finds behind a position, which it also moves on, until it raises ``StoreClosedError``.

    Positions are given inside the writing transaction, so they follow the order of commits: what is behind the last one
    seen is new, and nothing can appear before it.
    """
    position = start
    quiet_since_s = time.monotonic()
    while True:
        strokes = bell().strokes  # before the look, so that no commit falls between look and wait
        try:
            events, reached = look(position)
        except StoreClosedError:
            return
        if reached != position:  # forward; or to the beginning of another file
            position = reached
            if events:
                yield from events
                quiet_since_s = time.monotonic()
            continue
        wait_s = POLL_S
        if timeout_s is not None:
            wait_s = min(wait_s, quiet_since_s + timeout_s - time.monotonic())
            if wait_s <= 0:
                return
        bell().wait(strokes, wait_s)
