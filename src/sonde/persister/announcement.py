"""Announcements: whoever wants to know is told what was committed, once the writer has time for it."""

from __future__ import annotations

import time
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sonde.failures import FailureLog
from sonde.store import Record

OnCommit = Callable[[Sequence[Record]], None]

_STEP_S = 0.25


class Announcements:
    """What was committed and not yet told, in order; each record is told once, or never if its process forks before.

    A writer that is behind commits first and tells later, so that who flushes waits for the disk alone. What waits to
    be told is held in memory, up to ``max_bytes``.

    ``add``, ``tell`` and ``is_due`` are for the writer, one thread at a time; ``wait`` is for any.
    """

    def __init__(self, on_commit: OnCommit | None, *, failures: FailureLog, max_bytes: int) -> None:
        """``on_commit`` is called by ``tell``. An exception in it is counted and logged, and costs nothing else."""
        self._on_commit = on_commit
        self._failures = failures
        self._max_bytes = max_bytes
        self._batches: deque[Sequence[Record]] = deque()
        self._bytes = 0
        self._added = self._told = 0
        self._waiters: deque[tuple[int, Any]] = deque()

    def add(self, records: Sequence[Record]) -> None:
        """Note what was committed."""
        if self._on_commit is not None:
            self._batches.append(records)
            self._added += 1

    def is_due(self, size_bytes: int) -> bool:
        """Whether to tell although there is more to write: ``size_bytes`` more wait, or somebody waits for it."""
        self._bytes += size_bytes
        return self._bytes >= self._max_bytes or bool(self._waiters)

    def tell(self) -> None:
        """Tell all that was added."""
        self._bytes = 0
        while self._batches and self._on_commit is not None:
            records = self._batches.popleft()
            try:
                self._on_commit(records)
            except Exception as error:  # noqa: BLE001  # a listener; the events are safe
                self._failures.add(
                    "on_commit", f"cannot tell of {len(records)} committed events: {error!r}", error=error
                )
            self._told += 1
        for told, lock in list(self._waiters):
            if self._told >= told and lock.locked():
                lock.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait until all is told that is added by now, ``timeout_s`` seconds at most; whether it is."""
        target = self._added
        deadline_s = time.monotonic() + timeout_s
        lock = allocate_lock()
        lock.acquire()
        waiter = (target, lock)
        self._waiters.append(waiter)
        try:
            while self._told < target and (left_s := deadline_s - time.monotonic()) > 0:
                lock.acquire(timeout=min(_STEP_S, left_s))
        finally:
            self._waiters.remove(waiter)
        return self._told >= target
