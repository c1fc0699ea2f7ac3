"""RetentionKeeper: holds a recorder's store to its retention while the recorder is open, on a thread of its own."""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import replace

from sonde.errors import ConfigError, StoreClosedError, StoreError
from sonde.failures import FailureLog
from sonde.hub import Ticker
from sonde.store import EventStore, PruneReport, Removal, Retention, SQLiteStore
from sonde.store.retention import merged

BYTES_INTERVAL_S = 1.0
"""How often the size is looked at, at some 30 µs: at 5,000 events a second it grows by a megabyte meanwhile."""

SESSIONS_INTERVAL_S = 60.0
"""How often age and number are: some 10 µs for each session that the store knows."""

NOTE_INTERVAL_S = 60.0
_FORGET_INTERVAL_S = 60.0
_FORGET_SHARE = 0.01  # of the time at most goes into looking for names that nobody uses
_LAST_S = 0.5


class RetentionKeeper:
    """Prunes every so often, for as long as the recorder is open.

    Not on the recorder's own ticker, where a prune of seconds would keep metrics and profiles waiting. What one program
    removes in a minute is one ``sonde.retention`` event. Recorders of several programs take turns: who finds another
    at it leaves it to that one. Raises nothing; failures are counted and logged. A forked child goes on by itself.
    """

    def __init__(self, store: EventStore, retention: Retention) -> None:
        """Start nothing yet.

        Raises:
            ConfigError: the store cannot be pruned.
        """
        if not isinstance(store, SQLiteStore) or store.read_only:
            raise ConfigError(
                f"cannot prune '{store.url}' by a retention: expected a store in a file, open for writing"
            )
        self._store = store
        self._retention = retention
        self.failures = FailureLog()
        self._ticker = Ticker("sonde-retention", failures=self.failures)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._stop: threading.Event = threading.Event()
        self._sessions_due_s = self._forget_due_s = 0.0
        self._has_looked = self._has_removed = False
        self._noted_s = time.monotonic() - NOTE_INTERVAL_S
        self._removals: list[Removal] = []
        self._bytes_before = 0
        self._bytes_after = 0

    def start(self) -> None:
        """Prune from a second from now on."""
        if not self._retention.is_unlimited:
            self._ticker.every(BYTES_INTERVAL_S, self.look)

    def look(self) -> None:
        """Prune what is due."""
        if os.getpid() != self._pid:
            self._begin()
        self._has_looked = True
        now_s = time.monotonic()
        retention = self._retention
        if now_s < self._sessions_due_s:
            retention = replace(retention, max_age_s=None, max_sessions=None)
        else:
            self._sessions_due_s = now_s + min(SESSIONS_INTERVAL_S, max(1.0, (retention.max_age_s or math.inf) / 10))
        try:
            self._prune(retention)
            self._note(only_if_due=True)
            self._forget()
        except StoreClosedError:
            return
        except StoreError as error:
            self.failures.add("retention", f"cannot prune, trying again: {error}", error=error)

    def _prune(self, retention: Retention) -> None:
        if retention.is_unlimited:
            return
        report = self._store.prune(retention, stop=self._stop, is_thorough=False, is_noted=False)
        if report.events:
            self._removals = merged([*self._removals, *report.removals])
            self._bytes_before = self._bytes_before or report.bytes_before
            self._bytes_after = report.bytes_after
            self._has_removed = True
        if report.is_over:
            self.failures.add(
                "retention",
                f"'{self._store.url}' is larger than max_bytes={retention.max_bytes}, and what is left is still being "
                "recorded or to be kept; raise max_bytes, or end sessions sooner",
            )

    def _note(self, *, only_if_due: bool) -> None:
        now_s = time.monotonic()
        if not self._removals or (only_if_due and now_s - self._noted_s < NOTE_INTERVAL_S):
            return
        self._store.note_prune(
            PruneReport(self._removals, bytes_before=self._bytes_before, bytes_after=self._bytes_after)
        )
        self._removals = []
        self._bytes_before = 0
        self._noted_s = now_s

    def _forget(self) -> None:
        began_s = time.monotonic()
        if self._has_removed and began_s >= self._forget_due_s:
            self._has_removed = not self._store.forget_names(stop=self._stop)
            took_s = time.monotonic() - began_s
            self._forget_due_s = began_s + max(_FORGET_INTERVAL_S, took_s / _FORGET_SHARE)

    def stop(self) -> None:
        """Prune no more; what is under way ends within milliseconds. Does not block. Idempotent."""
        if os.getpid() != self._pid:
            self._begin()
        self._stop.set()
        self._ticker.stop()

    def finish(self) -> None:
        """The end, before the store is closed: put on record what was removed.

        A program that was too short for a first look takes one now, of half a second at most: a store that only such
        programs use must not grow for ever.
        """
        self._ticker.stop(_LAST_S)
        try:
            if not self._has_looked:
                self._stop = _Deadline(_LAST_S)
                self._prune(self._retention)
            self._note(only_if_due=False)
        except StoreError as error:
            self.failures.add("retention", f"cannot prune: {error}", error=error)


class _Deadline(threading.Event):
    """Set once the time is over."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._end_s = time.monotonic() + timeout_s

    def is_set(self) -> bool:
        return time.monotonic() >= self._end_s
