"""Persister: carries everything that a hub publishes into a store, and says what it could not."""

from __future__ import annotations

import os
import time
import weakref
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.errors import ConfigError
from sonde.events import Event, PublishedEvent
from sonde.failures import FailureLog
from sonde.hub import DEFAULT_MAX_PENDING_BYTES, Chunk, Hub, Overflow, require_positive
from sonde.hub.thread import LazyThread
from sonde.metrics import Histogram
from sonde.persister.announcement import Announcements, OnCommit
from sonde.persister.appending import FIRST_RETRY_S, Appending
from sonde.persister.bell import StartingBell
from sonde.persister.fence import Fence, Keeper
from sonde.persister.gap import Gaps
from sonde.persister.preparation import Complete, Preparation
from sonde.persister.report import FlushReport
from sonde.redaction import Redactor
from sonde.store import EventStore, Record

DEFAULT_PERSIST_BATCH_SIZE = 100
DEFAULT_PERSIST_FLUSH_INTERVAL_S = 0.5
DEFAULT_STREAM = "default"

_LARGEST_BATCH = 16_384
_GROWTH = 8
_LARGEST_BATCH_BYTES = 8 * 1024 * 1024
_STEP_S = 0.25
_CHILD_RETRY_S = 5.0


class Persister:
    """Writes every event of ``hub`` to ``store``, on a daemon thread of its own.

    ``stream_id=None``: each event goes to the stream named by its session, ``"default"`` if it has none. Neither the
    live bounds nor the rate limit of the hub touch it. An idle writer commits at once; while it is behind, batches grow
    from ``batch_size``. A write that fails is tried again with growing pauses, in order; meanwhile events wait in
    memory up to ``max_pending_bytes``. Past that, ``overflow="drop"`` counts them and records a ``sonde.gap``;
    ``"block"`` lets publishers wait (see :meth:`Hub.subscribe_recorder`).

    Before the write, data is sanitised and, with a ``redactor``, redacted. In a forked child the persister goes on by
    itself, under the child's own writer. ``on_commit`` is told what the store took, each record once and in order, on
    the persister's thread as soon as that is level; until then they may hold a quarter of ``max_pending_bytes`` more.

    Raises:
        ConfigError: a bound that is not positive.

    >>> from sonde.hub import Hub
    >>> from sonde.store import SQLiteStore
    >>> store = SQLiteStore(":memory:")
    >>> with Hub() as hub, Persister(hub, store, "s-1") as persister:
    ...     hub.emit("greeting.said", text="hello")
    ...     print(persister.flush())
    1 events committed
    >>> [event.data for event in store.read("s-1")]
    [{'text': 'hello'}]
    """

    def __init__(
        self,
        hub: Hub,
        store: EventStore,
        stream_id: str | None = None,
        *,
        batch_size: int = DEFAULT_PERSIST_BATCH_SIZE,
        flush_interval_s: float = DEFAULT_PERSIST_FLUSH_INTERVAL_S,
        max_pending_bytes: int = DEFAULT_MAX_PENDING_BYTES,
        overflow: Overflow = "drop",
        redactor: Redactor | None = None,
        complete: Complete | None = None,
        on_commit: OnCommit | None = None,
        keeper: Keeper | None = None,
        on_fork: Callable[[Callable[[], bool]], bool] | None = None,
        on_end: Callable[[], object] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Subscribe to ``hub`` and declare its writer in ``store``; events published from now on are written.

        ``on_fork`` is called in each forked child, on the persister's thread, once nothing waits to be written, and
        again until it says that it is done; it is to leave off when what it is given says so. ``on_end`` is called
        once, when nothing more will be written, on the persister's thread: it may block on the store, and :meth:`stop`
        waits for it no longer than its deadline.
        """
        require_positive("Persister", "batch_size", batch_size, whole=True)
        require_positive("Persister", "flush_interval_s", flush_interval_s)
        if overflow not in ("drop", "block"):
            raise ConfigError(f"Persister: overflow is {overflow!r}; expected 'drop' or 'block'")
        self._hub = hub
        self._store = store
        self._stream_id = stream_id
        self._batch_size = batch_size
        self._flush_interval_s = flush_interval_s
        self._clock = clock
        self.failures = FailureLog()
        self._preparation = Preparation(redactor, complete=complete, failures=self.failures)
        self._on_commit = on_commit
        self._keeper = keeper
        self._on_fork = on_fork
        self._child_due_s: float | None = None
        self._on_end = on_end
        self._stopped: FlushReport | None = None
        self._subscription = hub.subscribe_recorder(max_pending_bytes=max_pending_bytes, overflow=overflow)
        self._begin()
        self._appending.register_writer()
        _PERSISTERS.add(self)

    def _begin(self) -> None:
        """A fresh start, here and in a forked child: nothing written, no thread, its own writer."""
        self._thread = LazyThread("sonde-persister", self._run)
        self._turn_lock = allocate_lock()
        self._limit = self._batch_size
        self._committed = 0
        self._accounted = self._told = 0
        self._announcements = Announcements(
            self._on_commit, failures=self.failures, max_bytes=self._subscription.max_pending_bytes // 4
        )
        self._gaps = Gaps(self._hub, self._clock)
        self._appending = Appending(
            self._hub,
            self._store,
            self._gaps,
            preparation=self._preparation,
            stream_of=self._stream_of,
            announcements=self._announcements,
            before_retry=self._note,
            failures=self.failures,
        )
        self._ended = self._is_gone = False
        self._waiters: deque[tuple[int, Any]] = deque()
        self._subscription.bell = StartingBell(self._thread)

    # -- the persister's thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        subscription = self._subscription
        while not self._ended:
            try:
                self._take_turn()
                self._announce()
                self._appending.tending.keep_up(self._has_work)
            except Exception as error:  # noqa: BLE001  # a fault of ours, or no memory: this thread must not end
                self.failures.add("turn", f"persister could not take a turn: {error!r}", error=error)
                self._appending.pause(FIRST_RETRY_S)
            if not self._ended:
                subscription.bell.sleep(self._appending.tending.within(self._flush_interval_s), self._has_work)
                self._begin_in_child()
                self._appending.tending.begin(self._has_work)
        self._go()

    def _begin_in_child(self) -> None:
        if self._on_fork is None or self._child_due_s is None or self._has_work():
            return
        if time.monotonic() >= self._child_due_s:
            self._child_due_s = None
            try:
                if not self._on_fork(self._has_work):
                    self._child_due_s = time.monotonic() + _CHILD_RETRY_S
            except Exception as error:  # noqa: BLE001  # a fault of its own must not end this thread
                self.failures.add("fork", f"cannot begin in a forked child in good order: {error!r}", error=error)

    def _has_work(self) -> bool:
        return not self._subscription.is_idle or self._subscription.ended

    def _take_turn(self) -> None:
        """Write all that is queued. By the persister's thread or, if it cannot be had, by who flushes."""
        with self._turn_lock:
            subscription = self._subscription
            while chunks := subscription.take(max_events=self._limit, max_bytes=_LARGEST_BATCH_BYTES):
                self._note()
                try:
                    self._persist(chunks)
                except Exception as error:  # noqa: BLE001  # a fault of ours, or no memory: counted, and the next may pass
                    size = sum(len(chunk.events) for chunk in chunks)
                    self._appending.give_up(size, "failed")
                    self.failures.add("persist", f"cannot persist {size} events: {error!r}", error=error)
                subscription.release(chunks)
                self._tidy()
                self._tell_waiters()
                if self._announcements.is_due(sum(chunk.estimated_bytes for chunk in chunks)):
                    self._announcements.tell()
                # Behind: let the next batch be much larger, since each transaction has its price: beside a busy thread,
                # some twenty hand-overs of the interpreter. Level: back to the first.
                self._limit = self._batch_size if subscription.is_idle else min(_LARGEST_BATCH, self._limit * _GROWTH)
            self._tidy()
            if subscription.ended and subscription.is_idle:
                self._ended = True
            self._tell_waiters()

    def _go(self) -> None:
        """After the last turn: declare the end of the writer. A store that is locked, or whose disk is dead, blocks."""
        with self._turn_lock:
            if self._is_gone:
                return
            self._appending.end()
            if self._on_end is not None:
                try:
                    self._on_end()
                except Exception as error:  # noqa: BLE001  # a fault of its own must not keep stop() waiting
                    self.failures.add("end", f"cannot end in good order: {error!r}", error=error)
            self._is_gone = True
        if self._keeper is not None:
            self._keeper.leave()
        self._tell_waiters()

    def _note(self) -> None:
        if self._keeper is not None:
            self._keeper.note()

    def _tidy(self) -> None:
        if self._keeper is not None:
            self._keeper.tidy(
                lambda: Fence(self._hub, self._subscription, lambda: self._told),
                accounted=self._accounted + self._appending.missing,
            )

    def _announce(self) -> None:
        with self._turn_lock:
            self._announcements.tell()

    def _persist(self, chunks: Sequence[Chunk]) -> None:
        records: list[Record] = []
        gaps: list[PublishedEvent] = []
        for chunk in chunks:
            if chunk.missed:
                gaps += (new := self._gaps.events(chunk.missed))
                records += self._preparation.records(new, self._stream_of)
            records += self._preparation.records(chunk.events, self._stream_of)
        given_up = self._appending.append(records, gaps)
        self._committed += sum(len(chunk.events) for chunk in chunks) - given_up
        # What was overloaded never counted as published.
        missed = sum(some.number for chunk in chunks for some in chunk.missed if some.reason != "overloaded")
        self._told += missed
        self._accounted += 0 if given_up else missed

    def _stream_of(self, event: Event) -> str:
        return self._stream_id if self._stream_id is not None else (event.session_id or DEFAULT_STREAM)

    # -- flushing and stopping -----------------------------------------------------------------------------------------

    def flush(self, timeout_s: float | None = None) -> FlushReport:
        """Wait until everything published before the call is committed, ``timeout_s`` seconds at most.

        ``None`` waits as long as the store takes. The report says what is not written.
        """
        if self._stopped is not None:
            return self._stopped
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        is_settled = self._subscription.settle(timeout_s)
        accepted = self._subscription.accepted
        self._wait_for(accepted, deadline_s)
        # What others publish meanwhile is none of this call's business.
        pending = max(0, accepted - self._subscription.released)
        return replace(self.report(), pending=pending if is_settled else pending + self._hub.stats().queued)

    def settle(self, timeout_s: float) -> bool:
        """Wait until ``on_commit`` was told of all that is committed by now, ``timeout_s`` seconds at most.

        Whether it was. Takes no time unless the persister is behind.
        """
        return self._announcements.wait(timeout_s)

    def end_by(self, deadline_s: float) -> None:
        """A :meth:`stop` is to come: whatever cannot be written by then, of the monotonic clock, is given up."""
        self._appending.stop_at_s = deadline_s

    def stop(self, timeout_s: float = 30.0) -> FlushReport:
        """Write what was published before the call, then end. Idempotent; bounded by ``timeout_s`` seconds.

        With :meth:`end_by` by that moment, too, so that many persisters end at the same time. What could not be
        written by then is in the report and in one line on the logger ``sonde``.
        """
        if self._stopped is not None:
            return self._stopped
        deadline_s = time.monotonic() + timeout_s
        if self._appending.stop_at_s is not None:
            deadline_s = min(deadline_s, self._appending.stop_at_s)
        self._appending.stop_at_s = deadline_s
        self._subscription.settle(max(0.0, deadline_s - time.monotonic()))
        self._hub.unsubscribe(self._subscription.id)
        self._subscription.bell.ring()
        self._wait_for(None, deadline_s + 2 * _STEP_S)  # a little longer, for the thread to say what it gave up
        self._stopped = report = self.report()
        if not report.complete:
            self.failures.add("stop", f"not everything that was published is in {self._store.url}: {report}")
        return report

    def _wait_for(self, released: int | None, deadline_s: float | None) -> None:
        """Wait until so many events are done with; ``None``: until nothing is left to do."""
        lock = allocate_lock()
        lock.acquire()
        waiter = (released if released is not None else -1, lock)
        self._waiters.append(waiter)
        try:
            while not self._is_reached(released):
                if deadline_s is not None and time.monotonic() >= deadline_s:
                    return
                self._subscription.bell.ring()
                if self._thread.is_wanting:  # no thread to be had, as at interpreter shutdown: write here
                    if self._ended:
                        self._go()
                    else:
                        self._take_turn()
                        self._announce()
                    continue
                step_s = _STEP_S if deadline_s is None else max(0.0, min(_STEP_S, deadline_s - time.monotonic()))
                if not lock.acquire(timeout=step_s):
                    self._thread.revive()
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _is_reached(self, released: int | None) -> bool:
        if released is None:
            return self._is_gone
        return self._ended or self._subscription.released >= released

    def _tell_waiters(self) -> None:
        for released, lock in list(self._waiters):
            if lock.locked() and self._is_reached(None if released < 0 else released):
                try:
                    lock.release()
                except RuntimeError:
                    continue  # it has just been released

    def report(self) -> FlushReport:
        """Where things stand now. Does not wait."""
        stats = self._subscription.stats()
        dropped = dict(stats.dropped)
        overloaded = self._hub.stats().dropped.get("overloaded", 0)
        for reason, number in (("overloaded", overloaded), *self._appending.lost.items()):
            if number:
                dropped[reason] = dropped.get(reason, 0) + number
        return FlushReport(
            self._committed - self._appending.missing, max(0, stats.queued), dropped, self._appending.error
        )

    @property
    def commit_durations(self) -> Histogram:
        """How long the store took for each transaction that it did, in seconds; empty again after a fork."""
        return self._appending.durations

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left to do, and the store was told so."""
        return self._is_gone

    @property
    def pending_bytes(self) -> int:
        """Estimated bytes of the events that wait to be committed."""
        return self._subscription.pending_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _after_fork_in_child(self) -> None:
        self._begin()
        self._child_due_s = time.monotonic()


_PERSISTERS: weakref.WeakSet[Persister] = weakref.WeakSet()


def _restart_persisters() -> None:
    # After the hubs, whose module registered its hook earlier: their subscriptions are fresh by now.
    for persister in list(_PERSISTERS):
        persister._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_persisters)
