"""Appending: of records to a store that may be locked, full, dead or replaced, in order, while there is time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sonde.errors import (
    StoreClosedError,
    StoreCorruptError,
    StoreError,
    StoreFormatError,
    StoreNotFoundError,
    StorePermissionError,
    StoreUnavailableError,
)
from sonde.events import Event, EventType, PublishedEvent
from sonde.failures import FailureLog
from sonde.hub import Hub
from sonde.metrics import Histogram
from sonde.persister.absence import Absence
from sonde.persister.announcement import Announcements
from sonde.persister.gap import Gaps
from sonde.persister.preparation import Preparation
from sonde.persister.tending import Tending
from sonde.store import EventStore, Record
from sonde.store.open_file import Change

FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 5.0
_COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Errors of a store that may pass: it is locked, full, remounted read-only, or its file is being put back.
_PASSING = (
    StoreUnavailableError,
    StorePermissionError,
    StoreNotFoundError,
    StoreFormatError,
    StoreCorruptError,
    OSError,
)


class Appending:
    """Carries the records of one writer into a store, and counts what it could not. For one thread at a time.

    A write that fails is tried again with growing pauses; a record that the store refuses is found and replaced by one
    that says so; what is in another file than the one at the path by now is missing, and a gap there says so.

    Attributes:
        stop_at_s: when no more is tried, of the monotonic clock; ``None`` while recording.
        error: why the store takes nothing at the moment, if so.
        given_up: events that it will never have, by reason.
        durations: how long the store took for each transaction that it did, in seconds.
        tending: the store's own upkeep.
    """

    def __init__(
        self,
        hub: Hub,
        store: EventStore,
        gaps: Gaps,
        *,
        preparation: Preparation,
        stream_of: Callable[[Event], str],
        announcements: Announcements,
        before_retry: Callable[[], object],
        failures: FailureLog,
    ) -> None:
        """Nothing is written yet. ``before_retry`` is called before each pause."""
        self._hub = hub
        self._store = store
        self._gaps = gaps
        self._preparation = preparation
        self._stream_of = stream_of
        self._announcements = announcements
        self._before_retry = before_retry
        self._failures = failures
        self._absence = Absence(store, session_id=hub.session_id)
        self.tending = Tending(store, failures)
        self.durations = Histogram("sonde_commit_duration_seconds", buckets=_COMMIT_BUCKETS)
        self.given_up: dict[str, int] = {}
        self.error: str | None = None
        self.stop_at_s: float | None = None
        self._is_mixed = False
        self._registered = ""

    @property
    def missing(self) -> int:
        """Events that were committed, and are in a file that is gone."""
        return sum(self._absence.missing.values())

    @property
    def lost(self) -> dict[str, int]:
        """What is not in the store that is there and never will be, by reason: given up, or committed and gone."""
        found = dict(self.given_up)
        for reason, number in self._absence.missing.items():
            found[reason] = found.get(reason, 0) + number
        return found

    def register_writer(self) -> None:
        """Declare the hub's writer, if that is not done.

        Raises:
            StoreError: the store cannot take it.
        """
        writer_id = self._hub.writer_id
        if self._registered != writer_id:
            self._store.register_writer(writer_id)
            self._registered = writer_id
            self._look_at_file()

    def append(self, records: Sequence[Record], gaps: Sequence[PublishedEvent]) -> int:
        """Append, in order, until it is done, the store is closed, or the time to stop has come.

        ``gaps``: which of them are gaps. How many of the other events were given up.
        """
        if self._registered != self._hub.writer_id:  # in a forked child
            try:
                self.register_writer()
            except Exception as error:  # noqa: BLE001  # it tells whether we live; events matter more, and we try again
                self._failures.add("register", f"cannot declare writer {self._hub.writer_id}: {error}", error=error)
        self._is_mixed = bool(gaps)
        before = sum(self.given_up.values())
        self._append(records)
        given_up = sum(self.given_up.values()) - before
        if gaps and not given_up:
            self._absence.noted(gaps)
        if self._absence.is_behind():  # it went to a file that came into the path's place just before
            try:
                self._look_at_file()
            except _PASSING as error:  # the next write tries again
                self._failures.add("file", f"cannot say what is missing in {self._store.url}: {error}", error=error)
        return given_up

    def give_up(self, events: int, reason: str) -> None:
        """The store will never have so many events."""
        self.given_up[reason] = self.given_up.get(reason, 0) + events

    def pause(self, pause_s: float) -> bool:
        """Wait before the next try. Whether there is time for one: stopping gives up at its deadline."""
        until_s = time.monotonic() + pause_s
        while (now_s := time.monotonic()) < until_s:
            if self.stop_at_s is not None and now_s >= self.stop_at_s:
                return False
            time.sleep(min(FIRST_RETRY_S, until_s - now_s))
        return True

    def end(self) -> None:
        """Nothing more will be written: declare the end of the writer. Blocks for as long as the store does."""
        if not self._registered:
            return
        try:
            self._store.release_writer(self._registered)
            self.tending.end(self.stop_at_s)
        except (StoreError, OSError) as error:
            self._failures.add("release", f"cannot declare the end of writer {self._registered}: {error}", error=error)

    def _append(self, records: Sequence[Record]) -> None:
        pause_s = FIRST_RETRY_S
        while records:
            try:
                self._look_at_file()
                began_s = time.perf_counter()
                self._store.append_batch(records)
                self.durations.observe(time.perf_counter() - began_s)
                self._absence.committed(self._own(records))
                self.tending.note()
                self.error = None
                self._announcements.add(records)
                return
            except _PASSING as error:
                self.error = str(error)
                self._announcements.tell()
                self._failures.add("write", f"cannot write {len(records)} events, trying again: {error}", error=error)
                self._before_retry()
                if not self.pause(pause_s):
                    self._give_up(records, "not_written")
                    return
                pause_s = min(_LONGEST_RETRY_S, pause_s * 2)
            except StoreClosedError as error:
                self.error = str(error)
                self._give_up(records, "store_closed")
                return
            except Exception as error:  # noqa: BLE001  # something in a record: find which, and write the others
                self._failures.add("record", f"store refuses {len(records)} events: {error!r}", error=error)
                if len(records) > 1:
                    half = len(records) // 2
                    self._append(records[:half])
                    records = records[half:]
                else:
                    self._append_stand_in(records[0], error)
                    return

    def _append_stand_in(self, record: Record, error: Exception) -> None:
        try:
            stand_in = [self._preparation.unrecordable(record, error)]
            self._store.append_batch(stand_in)
            self._absence.committed(self._own(stand_in))
            self._announcements.add(stand_in)
        except Exception as second:  # noqa: BLE001  # counted, and the next gap says so
            self._failures.add("stand-in", f"store refuses even a stand-in: {second!r}", error=second)
            self._give_up([record], "refused")

    def _look_at_file(self) -> None:
        """Where the file is another by now, let a gap there say what it lacks of what was committed."""
        gaps = self._absence.look(
            self._hub.writer_id, self._gaps.writer_id, gaps_for=self._gaps.events, found=self._file_changed
        )
        if gaps is not None:
            if gaps:
                self._store.append_batch(self._preparation.records(gaps, self._stream_of))
            self._absence.told()

    def _file_changed(self, change: Change, absent: int) -> None:
        self._failures.add(
            "file",
            f"{self._store.url} was not left alone ({change.value}): recording goes on in the file that is there now, "
            f"which lacks {absent:,} committed events",
        )

    def _give_up(self, records: Sequence[Record], reason: str) -> None:
        self.give_up(sum(1 for record in records if record.event.type != EventType.GAP.value), reason)

    def _own(self, records: Sequence[Record]) -> int:
        """How many are the hub's, and no gaps. Those of a batch are seldom mixed."""
        writer_id = self._hub.writer_id
        return len(records) if not self._is_mixed else sum(record.writer_id == writer_id for record in records)
