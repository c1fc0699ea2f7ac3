"""Tending: a store's own upkeep, done by the persister's thread in moments without events."""

from __future__ import annotations

import time
from collections.abc import Callable

from sonde.failures import FailureLog
from sonde.store import EventStore
from sonde.store.upkeep import Tended

_IDLE_S = 0.1
"""No event for so long is a moment."""
_PAUSE_S = 5.0
"""Where no such moment comes, one step in so many seconds: some 0.2 % of a processor."""
_ENDING_S = 0.03


class Tending:
    """When to tend a store. For the persister's thread. A failure is logged and puts it off to the next commit."""

    def __init__(self, store: EventStore, failures: FailureLog) -> None:
        """A store that needs no tending is left alone."""
        self._store = store if isinstance(store, Tended) else None
        self._failures = failures
        self._is_due = self._has_written = False
        self._last_s = time.monotonic()

    def note(self) -> None:
        """Something was written."""
        self._is_due = self._has_written = self._store is not None

    def within(self, sleep_s: float) -> float:
        """How long the thread may sleep."""
        return min(sleep_s, _IDLE_S) if self._is_due else sleep_s

    def begin(self, is_wanted: Callable[[], bool]) -> None:
        """Nothing has come for a while: do all that is due, until something comes."""
        while self._is_due and not is_wanted():
            self._step(is_ending=False)

    def keep_up(self, is_wanted: Callable[[], bool]) -> None:
        """Events come all the time: do a step between two of them if there was no moment for it in a while."""
        if self._is_due and not is_wanted() and time.monotonic() - self._last_s > _PAUSE_S:
            self._step(is_ending=False)

    def end(self, deadline_s: float | None) -> None:
        """Nothing more will be written: do what is due, for 30 ms at most; the next recording does the rest."""
        until_s = time.monotonic() + _ENDING_S
        if deadline_s is not None:
            until_s = min(until_s, deadline_s)
        self._is_due = self._has_written
        while self._is_due and time.monotonic() < until_s:
            self._step(is_ending=True)

    def _step(self, *, is_ending: bool) -> None:
        self._last_s = time.monotonic()
        try:
            self._is_due = self._store is not None and self._store.tend(is_ending=is_ending)
        except Exception as error:  # noqa: BLE001  # nothing is lost by it, and the thread must not end
            self._is_due = False
            self._failures.add("tend", f"cannot tend the store, it stays larger: {error}", error=error)
