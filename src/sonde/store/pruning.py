"""Pruning: what a retention lets go is removed, the oldest first, while others write.

One process at a time: a lock on a file beside the store, which its death lets go of. A crash between two transactions
leaves streams that begin a little later, and contents that the next time collects.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import apsw

from sonde.errors import StoreCorruptError
from sonde.store import collection, removal
from sonde.store.account import removed_text
from sonde.store.attachment import Attachment
from sonde.store.connections import snapshot, transaction
from sonde.store.contract import StreamInfo
from sonde.store.estimation import Estimation
from sonde.store.file_lock import FileLock
from sonde.store.forgetting import Forgetting
from sonde.store.location import MEMORY
from sonde.store.removal import Pace
from sonde.store.retention import RETENTION_STREAM, PruneReport, Reason, Removal, Retention, merged
from sonde.store.running import Running

Progress = Callable[[int, int], None]

_RUNNING_KEEPS = 1_000  # events, however large: who watches a session needs something to look at
_RESERVE = 0.05  # below the limit, so that not each new event takes an old one with it
_FREE_SHARE = 0.10  # of the file may stay free: the next events fill it
_LOOKED_AT = 5_000  # rows at a time: no read transaction lasts
_AHEAD = 10_000  # versions: more than one transaction removes
_NS_PER_S = 1_000_000_000


class Pruning:
    """One prune. For one thread; use it once.

    ``attached`` gives what the store has open now. ``stop`` ends it between two transactions.
    """

    def __init__(
        self,
        attached: Callable[[], Attachment],
        *,
        stop: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Do nothing yet."""
        self._attached = attached
        self._stop = threading.Event() if stop is None else stop
        self._progress = progress
        self._rows = Pace(500, least=100, most=5_000, wait=self._stop.wait)
        self._blocks = Pace(4, least=1, most=64, wait=self._stop.wait)
        self._pages = Pace(128, least=16, most=1_000, wait=self._stop.wait)
        self._removals: list[Removal] = []
        self._running: list[str] = []
        self._is_over = False
        self._looked_until: dict[str, int] = {}  # by stream: all rows below this version were found
        self._events_done = self._events_due = 0

    # -- what a caller wants -------------------------------------------------------------------------------------------

    def run(self, retention: Retention, *, sessions: Sequence[str], now_ns: int, is_thorough: bool) -> PruneReport:
        """Remove what ``retention`` lets go, and ``sessions``, which are streams.

        ``is_thorough`` gives all free space back and forgets all names; otherwise some may stay for the next time.
        """
        with self._alone() as is_alone:
            if not is_alone:
                return PruneReport(is_complete=False)
            before = self._used()[0]
            try:
                self._remove_sessions(retention, sessions, now_ns)
                if retention.max_bytes is not None and not self._stop.is_set():
                    self._fit(retention)
                self._collect()
                self._give_back(is_thorough=is_thorough)
                if is_thorough and not self._stop.is_set():
                    self.forget()
            except StoreCorruptError as error:
                raise StoreCorruptError(
                    f"{error}; {removed_text(self.removals)}; before pruning, save what can be read with sonde doctor "
                    "--repair"
                ) from error
            return PruneReport(
                self.removals,
                self._running,
                before,
                self._used()[0],
                is_complete=not self._stop.is_set(),
                is_over=self._is_over,
            )

    @property
    def removals(self) -> list[Removal]:
        """What went so far, by session."""
        return merged(self._removals)

    def preview(self, retention: Retention, *, sessions: Sequence[str], now_ns: int) -> PruneReport:
        """What :meth:`run` would do. Changes nothing; of bytes it says an estimate. Reads the events concerned."""
        self._attached().own_reader("prune")
        due = self.plan(retention, sessions, now_ns)
        used = self._used()[0]
        estimation = Estimation(lambda: self._attached().reading())
        removals = []
        freed = 0
        for done, (stream, reason) in enumerate(due, 1):
            size_bytes = estimation.bytes_of(stream.stream_id)
            freed += size_bytes
            removals.append(
                Removal(stream.stream_id, stream.first_version, stream.last_version, True, reason, size_bytes)
            )
            if self._progress is not None:
                self._progress(done, len(due))
        excess = 0
        if retention.max_bytes is not None and used - freed > retention.max_bytes:
            excess = used - freed - int(retention.max_bytes * (1 - _RESERVE))
        if excess:
            gone = {stream.stream_id for stream, _ in due}
            ended, running = self._ended_and_running(retention)
            for stream in [*ended, *running]:
                if excess <= 0:
                    break
                if stream.stream_id in gone:
                    continue
                most = stream.last_version - stream.first_version + 1
                whole_bytes = max(1, estimation.bytes_of(stream.stream_id))
                events = min(most, -(-most * excess // whole_bytes))
                if stream in running:
                    events = min(events, most - _RUNNING_KEEPS)
                if events > 0:
                    size_bytes = whole_bytes * events // most
                    last = stream.first_version + events - 1
                    removals.append(
                        Removal(stream.stream_id, stream.first_version, last, events == most, "bytes", size_bytes)
                    )
                    excess -= size_bytes
                    freed += size_bytes
        return PruneReport(removals, self._running, used, max(0, used - freed), is_over=excess > 0)

    def truncate(self, stream_id: str, before_version: int) -> int:
        """Remove the events of one stream below a version; says how many."""
        count = 0
        for first, end, _ in self._steps(stream_id, before_version):
            count += end - first
        self._collect()  # always: an earlier call may have been killed before this
        if count:
            self._give_back(is_thorough=True)
        return count

    def forget(self) -> bool:
        """Let go of names that nothing names any more; whether it was done to the end."""
        with self._attached().reading() as connection:
            living = Running(self._attached(), connection).writers
        pace = Pace(500, least=50, most=5_000, wait=self._stop.wait)
        return Forgetting(self._attached, living=living, pace=pace, is_stopped=self._stop.is_set).run()

    # -- whole sessions, by name, age and number -----------------------------------------------------------------------

    def _remove_sessions(self, retention: Retention, sessions: Sequence[str], now_ns: int) -> None:
        due = self.plan(retention, sessions, now_ns)
        for stream, _ in due:
            self._require_readable(stream, stream.last_version + 1)
        self._events_due = sum(stream.last_version - stream.first_version + 1 for stream, _ in due)
        for stream, reason in due:
            if self._stop.is_set():
                return
            self._remove(stream, stream.last_version + 1, reason)

    def _require_readable(self, stream: StreamInfo, before_version: int) -> None:
        """That all rows of a stream below a version are found, before they go: a fraction of the work of removing."""
        version = max(stream.first_version, self._looked_until.get(stream.stream_id, 0))
        while version < before_version and not self._stop.is_set():
            end = min(before_version, version + _LOOKED_AT)
            with self._attached().reading() as connection:
                removal.look_at_rows(connection, stream.stream_id, version, end)
            self._looked_until[stream.stream_id] = version = end

    def plan(self, retention: Retention, sessions: Sequence[str], now_ns: int) -> list[tuple[StreamInfo, Reason]]:
        """The sessions that are to go as a whole, the oldest first, each with the limit that it goes for."""
        if not sessions and retention.max_age_s is None and retention.max_sessions is None:
            return []
        with self._attached().reading() as connection, snapshot(connection):
            streams = oldest_first(self._attached(), connection)
            running = Running(self._attached(), connection)
            found: dict[str, tuple[StreamInfo, Reason]] = {}
            excess = 0 if retention.max_sessions is None else len(streams) - retention.max_sessions
            for stream in streams:
                reason = _reason(retention, sessions, stream, now_ns)
                if reason is None and excess > len(found):
                    reason = "count"
                if reason is None or stream.stream_id in retention.keep:
                    continue
                if running.has(stream):
                    self._running.append(stream.stream_id)
                else:
                    found[stream.stream_id] = (stream, reason)
        return list(found.values())

    # -- as much as must, by bytes -------------------------------------------------------------------------------------

    def _fit(self, retention: Retention) -> None:
        limit = retention.max_bytes or 0
        self._collect()
        if self._used()[0] <= limit:
            return
        goal = int(limit * (1 - _RESERVE))
        ended, running = self._ended_and_running(retention)
        self._look_ahead(ended, running, goal)
        for stream in ended:
            if self._is_small(goal):
                return
            self._remove(stream, stream.last_version + 1, "bytes", goal=goal)
        self._shorten(running, goal)
        self._is_over = not self._is_small(limit)

    def _ended_and_running(self, retention: Retention) -> tuple[list[StreamInfo], list[StreamInfo]]:
        with self._attached().reading() as connection, snapshot(connection):
            streams = oldest_first(self._attached(), connection)
            running = Running(self._attached(), connection)
            ended: list[StreamInfo] = []
            others: list[StreamInfo] = []
            for stream in streams:
                if stream.stream_id not in retention.keep:
                    (others if running.has(stream) else ended).append(stream)
        return ended, others

    def _look_ahead(self, ended: list[StreamInfo], running: list[StreamInfo], goal: int) -> None:
        """Look for damage in about what is to go, by the bytes of an average event; in the rest just before it goes."""
        used = self._used()[0]
        with self._attached().reading() as connection:
            total = self._attached().reader.count(connection)
        left = total * (used - goal) // max(1, used)
        for streams, kept in ((ended, 0), (running, _RUNNING_KEEPS)):
            for stream in streams:
                if left <= 0:
                    return
                events = max(0, min(stream.last_version + 1 - stream.first_version - kept, left))
                self._require_readable(stream, stream.first_version + events)
                left -= events

    def _shorten(self, streams: list[StreamInfo], goal: int) -> None:
        """Take the beginnings of sessions that still run, a twentieth in turn: their ends are about equally old."""
        left = {stream.stream_id: stream for stream in streams}
        while left and not self._is_small(goal):
            for stream_id, stream in list(left.items()):
                end = stream.last_version + 1 - _RUNNING_KEEPS
                some = max(_RUNNING_KEEPS, (stream.last_version - stream.first_version) // 20)
                before = min(end, stream.first_version + some)
                if before <= stream.first_version:
                    del left[stream_id]
                    continue
                self._remove(stream, before, "bytes", goal=goal)
                left[stream_id] = stream._replace(first_version=before)
                if self._is_small(goal):
                    return

    def _is_small(self, goal: int) -> bool:
        return self._stop.is_set() or self._used()[0] <= goal

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _remove(self, stream: StreamInfo, before_version: int, reason: Reason, *, goal: int | None = None) -> None:
        """Remove a stream's beginning; with a goal only until the file's content is that small.

        What goes is looked at before: as far as the next steps come, since nobody knows yet how far that is.
        """
        self._require_readable(stream, min(before_version, stream.first_version + _AHEAD))
        for first, end, is_empty in self._steps(stream.stream_id, before_version):
            if end > first:
                self._removals.append(Removal(stream.stream_id, first, end - 1, is_empty, reason))
                self._events_done += end - first
                if self._progress is not None:
                    self._progress(self._events_done, max(self._events_done, self._events_due))
            if goal is not None:
                self._collect()
                if self._is_small(goal):
                    return
            self._require_readable(stream, min(before_version, end + _AHEAD))

    def _steps(self, stream_id: str, before_version: int) -> Iterator[tuple[int, int, bool]]:
        end = 0
        while end < before_version and not self._stop.is_set():
            attachment = self._attached()
            with attachment.writing("prune") as connection, self._rows.step() as rows, transaction(connection):
                first, end, is_empty = removal.remove_some(connection, stream_id, before_version, rows=rows)
            self._rows.pause()
            yield first, end, is_empty
            if end == first or is_empty:
                return

    def _collect(self) -> None:
        done = False
        while not done and not self._stop.is_set():
            attachment = self._attached()
            with attachment.writing("prune") as connection, self._blocks.step() as most, transaction(connection):
                done = collection.collect_some(connection, most=most)
            if not done:
                self._blocks.pause()

    def _give_back(self, *, is_thorough: bool) -> None:
        if self._attached().location.url == MEMORY:
            return
        used, free = self._used()
        if not is_thorough and free <= _FREE_SHARE * (used + free):
            return
        done = free == 0
        while not done and not self._stop.is_set():
            with self._attached().writing("prune") as connection, self._pages.step() as pages:
                done = removal.give_back_some(connection, pages=pages)
            if not is_thorough:
                used, free = self._used()
                done = done or free <= _FREE_SHARE / 2 * (used + free)
            self._pages.pause()
        if is_thorough:  # it holds up who writes for as long as the disk takes; any later checkpoint does the same
            with self._attached().writing("prune") as connection:
                removal.truncate_log(connection)

    def _used(self) -> tuple[int, int]:
        with self._attached().reading() as connection:
            return removal.used_bytes(connection)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether nobody else prunes this store: others' work is ours, and two of them would only wait in turn."""
        url = self._attached().location.url
        if url == MEMORY:
            yield True
            return
        lock = FileLock(f"{url}-prune")
        _LOCKS.add(lock)  # before it is taken: a child that a fork makes now must not hold it on
        is_alone = lock.acquire(time.monotonic())
        try:
            yield is_alone
        finally:
            _LOCKS.discard(lock)
            if is_alone:
                lock.remove()
            else:
                lock.forget()


def oldest_first(attachment: Attachment, connection: apsw.Connection) -> list[StreamInfo]:
    """The streams that hold events, by their last events in order of commit; without retention's own."""
    streams = [
        stream
        for stream in attachment.reader.streams(connection)
        if stream.first_version and stream.stream_id != RETENTION_STREAM
    ]
    return sorted(streams, key=lambda stream: stream.last_position)


def _reason(retention: Retention, sessions: Sequence[str], stream: StreamInfo, now_ns: int) -> Reason | None:
    if stream.stream_id in sessions:
        return "session"
    # An event without a time is of no age.
    if retention.max_age_s is not None and 0 < stream.last_time_ns < now_ns - retention.max_age_s * _NS_PER_S:
        return "age"
    return None


_LOCKS: set[FileLock] = set()


def _let_go_in_child() -> None:
    for lock in list(_LOCKS):
        lock.forget()
    _LOCKS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
