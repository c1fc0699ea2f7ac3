"""Following: new events as they are committed, by any process, each exactly once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from sonde.errors import StoreClosedError
from sonde.events import RecordedEvent

POLL_S = 0.05
"""How often another process's commits are looked for: one seek in a b-tree each, some 10 µs."""


class Bell:
    """Wakes the followers of this process when it appends, and when it closes. Thread-safe.

    Ringing costs 0.1 µs while nobody waits. It is no part of correctness: who misses a stroke looks again soon.
    """

    def __init__(self) -> None:
        self.strokes = 0
        self._condition = threading.Condition(threading.Lock())
        self._waiting = 0

    def ring(self) -> None:
        """Wake all who wait."""
        self.strokes += 1
        if self._waiting:
            with self._condition:
                self._condition.notify_all()

    def wait(self, heard: int, timeout_s: float) -> None:
        """Return once there is a stroke that ``heard`` doesn't count, or after ``timeout_s``. Ctrl-C interrupts it."""
        with self._condition:
            self._waiting += 1
            try:
                if self.strokes == heard:
                    self._condition.wait(timeout_s)
            finally:
                self._waiting -= 1


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
