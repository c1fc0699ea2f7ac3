"""Recorder: hub, persister, store and operations, wired together, opened as one and closed as one."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.context import current_scope, set_scope
from sonde.errors import ConfigError, StoreError
from sonde.events import Event
from sonde.failures import LOGGER
from sonde.hub import DEFAULT_MAX_PENDING_BYTES, Hub, HubConfig, Overflow, Ticker
from sonde.instrument import ContentCapture, DisabledOperations, Operations, PriceTable, default_prices
from sonde.metrics import DEFAULT_REGISTRY, Family, Registry
from sonde.persister import FlushReport, Persister
from sonde.recorder import exits
from sonde.recorder.health import Health
from sonde.recorder.interval import DEFAULT_PROFILE_HZ, DEFAULT_PROFILE_INTERVAL_S, valid_interval_s
from sonde.recorder.keeping import (
    JournalPlace,
    checked_durability,
    checked_place,
    is_all_written,
    journal_for,
    store_durability,
)
from sonde.recorder.location import default_db, default_session_id, inherited_scope, is_disabled, is_profiled
from sonde.recorder.memory_events import DEFAULT_MEMORY_INTERVAL_S, MemoryEvents
from sonde.recorder.meter import Meter
from sonde.recorder.metric_events import DEFAULT_METRICS_INTERVAL_S, MetricEvents
from sonde.recorder.pricing import Pricing
from sonde.recorder.recovery import recover_or_log
from sonde.recorder.retention import RetentionKeeper
from sonde.recorder.stats import RecorderStats
from sonde.recorder.termination import LOOK_INTERVAL_S, termination
from sonde.redaction import Redactor, SecretRedactor, policy_of
from sonde.store import Durability, EventStore, Retention, SQLiteStore
from sonde.store import open as open_store

if TYPE_CHECKING:
    from sonde.exporters.prometheus import MetricsServer
    from sonde.recorder.profile_events import ProfileEvents

CLOSE_TIMEOUT_S = 30.0
_COUNTING_TIMEOUT_S = 2.0

# Larger batches than a bare hub's: each wake-up of the hub's thread and the persister's takes the interpreter from the
# agent. A single event still goes at once, and none waits longer than the flush interval.
RECORDER_HUB = HubConfig(queue_size=65_536, batch_size=1000, subscriber_queue_size=4_096, rate_limit=None)


class Recorder:
    """Records a run: what ``sonde.record()`` gives.

    It opens the session when it is made and ends it when it is closed, at the latest when the program exits. ``emit``,
    ``publish`` and the operations never block and never raise because of telemetry; what they record is on disk a
    moment later, and all of it after ``flush`` or ``close``.

    Attributes:
        session_id: the session that everything belongs to which names no other.
        emit, publish: those of the hub. See :meth:`Hub.emit` and :meth:`Hub.publish`.
        session, plan, task, tool, model, shell: operations, for ``with``, ``async with`` and as decorators.
            See :class:`~sonde.instrument.Operations`.
        hub: subscribe here to watch live.

    >>> import sonde
    >>> with sonde.record(":memory:", session_id="fix-42") as rec:
    ...     with rec.tool("read_file", path="a.py") as op:
    ...         op.set(result="print(1)")
    ...     print(rec.flush())
    ...     [event.type for event in rec.store.read("fix-42")]
    3 events committed
    ['session.started', 'tool.started', 'tool.completed']
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        session_id: str | None = None,
        tags: Iterable[str] = (),
        store: EventStore | None = None,
        capture: ContentCapture | None = None,
        redactor: Redactor | None = None,
        prices: PriceTable | None = None,
        max_pending_bytes: int = DEFAULT_MAX_PENDING_BYTES,
        overflow: Overflow = "drop",
        durability: Durability | str = Durability.COMMIT,
        journal: JournalPlace = "memory",
        metrics: bool = True,
        metrics_interval_s: float | None = DEFAULT_METRICS_INTERVAL_S,
        memory_interval_s: float | None = DEFAULT_MEMORY_INTERVAL_S,
        profile: bool | None = None,
        profile_hz: float = DEFAULT_PROFILE_HZ,
        profile_interval_s: float | None = DEFAULT_PROFILE_INTERVAL_S,
        retention: Retention | None = None,
        sigterm: bool = False,
        hub_config: HubConfig = RECORDER_HUB,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Open the store and the session. The arguments are those of :func:`record`."""
        if store is not None and path is not None:
            raise ConfigError(f"cannot record to {os.fspath(path)!r} and to a store at once; give one of them")
        if isinstance(tags, str):
            raise ConfigError(f"cannot tag a session with {tags!r}: expected several tags; write tags=[{tags!r}]")
        self.durability = checked_durability(durability, own_store=store is None)
        place = checked_place(journal)
        self.session_id = session_id or default_session_id(clock)
        self._is_disabled = is_disabled()
        if sigterm and not self._is_disabled:
            termination.check()
        self._report: FlushReport | None = None
        self._pid = os.getpid()
        self._metrics_servers: list[MetricsServer] = []
        self._meter = Meter()
        self._metrics_interval_s = valid_interval_s(
            metrics_interval_s, "metrics", without="record them only at the end"
        )
        self._memory_interval_s = valid_interval_s(memory_interval_s, "memory", without="record none")
        self._profile_events = self._profiling(profile=profile, hz=profile_hz, interval_s=profile_interval_s)
        self._ticker = Ticker("sonde-ticker")
        self._owns_store = store is None or self._is_disabled
        if self._is_disabled:
            self.store: EventStore = SQLiteStore(":memory:")
        elif store is None:
            self.store = open_store(_path(path), durability=store_durability(self.durability))
        else:
            self.store = store
        try:
            self._journal = self._retention = None
            if not self._is_disabled:
                pricing = Pricing(default_prices() if prices is None else prices)
                self._retention = None if retention is None else RetentionKeeper(self.store, retention)
                self._journal = journal_for(
                    self.store,
                    session_id=self.session_id,
                    durability=self.durability,
                    redaction=policy_of(redactor),
                    place=place,
                    max_bytes=max_pending_bytes,
                )
                take_in = partial(recover_or_log, self.store, redactor=redactor, complete=pricing, clock=clock)
                take_in()
            self.hub = Hub(hub_config, session_id=self.session_id, clock=clock, witness=self._journal)
            if not self._is_disabled:
                self._persister = Persister(
                    self.hub,
                    self.store,
                    max_pending_bytes=max_pending_bytes,
                    overflow=overflow,
                    redactor=SecretRedactor() if redactor is None else redactor,
                    complete=pricing,
                    on_commit=self._meter.announced if metrics else None,
                    keeper=self._journal,
                    on_fork=lambda is_stopped: take_in(is_stopped=is_stopped),
                    on_end=self._end_with_store,
                    clock=clock,
                )
        except BaseException:
            if self._owns_store:
                self.store.close()
            raise
        if self._journal is not None:
            self._journal.open()
        self._metric_events = MetricEvents(self.hub.publish, session_id=self.session_id, clock=clock)
        self._memory_events = MemoryEvents(self.hub.publish, session_id=self.session_id)
        self._offer(capture or ContentCapture(), clock)
        if not self._is_disabled:
            self._open_session(tags)
            self._start_ticking()
            self._see_to_its_end(sigterm=sigterm)

    def _see_to_its_end(self, *, sigterm: bool) -> None:
        exits.OPEN.add(self)
        exits.workers.arrange()
        if sigterm:
            termination.join(self)
            self._ticker.every(LOOK_INTERVAL_S, termination.look)

    def _offer(self, capture: ContentCapture, clock: Clock) -> None:
        if self._is_disabled:
            self._operations: Operations | DisabledOperations = DisabledOperations()
            self.emit = _ignore_emit
            self.publish = _ignore_publish
        else:
            self._health = Health(self.hub, self._persister, self.store, failures=self._failures)
            self._operations = Operations(self.hub.publish, session_id=self.session_id, capture=capture, clock=clock)
            self.emit = self.hub.emit
            self.publish = self.hub.publish
        self.session = self._operations.session
        self.plan = self._operations.plan
        self.task = self._operations.task
        self.tool = self._operations.tool
        self.model = self._operations.model
        self.shell = self._operations.shell
        self.current = self._operations.current

    def _start_ticking(self) -> None:
        self._metric_events.start()
        if self._metrics_interval_s:
            self._ticker.every(self._metrics_interval_s, self._metric_events.tick)
        if self._memory_interval_s:
            self._memory_events.start(self._ticker, self._memory_interval_s)
        if self._profile_events is not None:
            self._profile_events.start(self._ticker, self.hub.publish)
        if self._retention is not None:
            self._retention.start()

    def _profiling(self, *, profile: bool | None, hz: float, interval_s: float | None) -> ProfileEvents | None:
        if self._is_disabled or not (is_profiled() if profile is None else profile):
            return None
        from sonde.recorder.profile_events import ProfileEvents  # most programs are not profiled

        return ProfileEvents(session_id=self.session_id, hz=hz, interval_s=interval_s)

    def _open_session(self, tags: Iterable[str]) -> None:
        # The session is the parent of what has none, in every thread. It is not put in force in the caller's context:
        # two recorders in one program would take each other's events.
        found = current_scope()
        set_scope(inherited_scope())
        try:
            self._own_session = self._operations.session(session_id=self.session_id, tags=list(tags))
            self._own_session.__enter__()
        finally:
            set_scope(found)
        self._operations.adopt(self._own_session)

    def flush(self, timeout_s: float | None = None) -> FlushReport:
        """Wait until everything published before the call is committed, ``timeout_s`` seconds at most.

        The report is true if so, and says otherwise what is missing and why. Not for signal handlers.
        """
        if self._is_disabled:
            return FlushReport(0, 0, {}, None)
        return self._report or self._persister.flush(timeout_s)

    def stats(self) -> RecorderStats:
        """The ledgers from publish to disk. Does not block."""
        hub = self.hub.stats()
        if self._is_disabled:
            return RecorderStats(self.session_id, "", hub, 0, 0, 0, {}, {}, None)
        report = self._persister.report()
        return RecorderStats(
            session_id=self.session_id,
            db=self.store.url,
            hub=hub,
            committed=report.committed,
            pending=report.pending + hub.queued,
            pending_bytes=self._persister.pending_bytes,
            dropped=report.dropped,
            failures=self._failures(),
            error=report.error,
            durability=self.durability.value,
            unjournaled=0 if self._journal is None else self._journal.unjournaled,
            journal_bytes=0 if self._journal is None else self._journal.size_bytes,
        )

    def _failures(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        logs = (self.hub.failures, self._persister.failures)
        periodic = (self._ticker.failures, self._metric_events.failures, self._memory_events.failures)
        parts = (self._journal, self._profile_events, self._retention)
        optional = (part.failures for part in parts if part is not None)
        for log in (*logs, *optional, *periodic, *(server.failures for server in self._metrics_servers)):
            total.update(log.counts)
        return dict(total)

    @property
    def registry(self) -> Registry:
        """The metrics that sonde derives from what is recorded here: calls, durations, tokens, cost, failures.

        Of all events committed by now, so after :meth:`flush` of all that were published before; while the recorder is
        behind it waits up to two seconds for the counting to be done. Each process counts what it committed: a forked
        child begins with none. Empty with ``metrics=False`` and with ``SONDE_DISABLED``. What a program that is gone
        had in it, :func:`sonde.query.derive_metrics` makes again from the store.

        >>> with Recorder(":memory:") as rec:
        ...     with rec.tool("read_file", path="a.py"):
        ...         pass
        ...     _ = rec.flush()
        ...     print(*rec.registry.counters())
        tool_calls_total{tool_name=read_file} 1
        """
        if not self._is_disabled:
            is_settled = self._persister.settle(_COUNTING_TIMEOUT_S)
            if is_settled and self._report is not None and not self._report.pending:
                self._meter.close()
        return self._meter.registry

    def families(self) -> list[Family]:
        """The metrics of this program, in order of precedence: of sonde itself, of :attr:`registry`, the default ones.

        What :meth:`serve_metrics` and :mod:`sonde.exporters.prometheus` show. Reads the store's size: not for signal
        handlers.
        """
        if self._is_disabled:
            return []
        return [*self._health.families(), *self.registry.families(), *DEFAULT_REGISTRY.families()]

    def serve_metrics(self, port: int = 0, *, host: str = "127.0.0.1") -> MetricsServer:
        """Let Prometheus scrape the metrics of :meth:`families`, until the recorder is closed.

        Port 0 takes a free one; the server says which: see :class:`~sonde.exporters.prometheus.MetricsServer`, also for
        what is safe to show to whom. With ``SONDE_DISABLED`` nothing is opened.

        Raises:
            ConfigError: the port is in use, the address is not this machine's, or the recorder is closed.
            MissingExtraError: ``prometheus_client`` is not installed.

        >>> from urllib.request import urlopen
        >>> with Recorder(":memory:") as rec, rec.serve_metrics() as server, urlopen(server.url) as page:
        ...     b"sonde_events_published_total 1.0" in page.read()
        True
        """
        from sonde.exporters.prometheus import IdleMetricsServer, MetricsServer  # most programs serve none

        if self._is_disabled:
            return IdleMetricsServer(port, host=host)
        if self._report is not None:
            raise ConfigError("cannot serve the metrics of a closed recorder; call serve_metrics() before close()")
        server = MetricsServer(self, port, host=host)
        self._metrics_servers.append(server)
        return server

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S, *, error: BaseException | None = None) -> FlushReport:
        """End the session, write what is left, close the store. Idempotent; ``timeout_s`` and half a second at most.

        With ``error`` the session ends as failed (or as cancelled). The report says what could not be written, and so
        does one line on the logger ``sonde``. In a forked child it writes what the child recorded and leaves the
        session open, which is the parent's to end.
        """
        for server in self._metrics_servers:
            server.close()
        if self._is_disabled:
            self.hub.close()
            self.store.close()
            return FlushReport(0, 0, {}, None)
        deadline_s = time.monotonic() + timeout_s
        self.end_session(deadline_s, error)
        return self.end_writing(deadline_s)

    def end_session(self, deadline_s: float, error: BaseException | None) -> None:
        """The first half of :meth:`close`: take no more events. ``deadline_s`` is of the monotonic clock."""
        if self._report is not None:
            return
        self._persister.end_by(deadline_s)
        if self._retention is not None:
            self._retention.stop()
        self._ticker.stop(max(0.0, deadline_s - time.monotonic()))
        self._metric_events.close(max(0.0, deadline_s - time.monotonic()))
        self._memory_events.close()
        if self._profile_events is not None:
            self._profile_events.close(max(0.0, deadline_s - time.monotonic()))
        if os.getpid() == self._pid:
            here = current_scope()
            self._own_session.__exit__(None if error is None else type(error), error, None)
            set_scope(here)
        self.hub.stop()

    def end_writing(self, deadline_s: float) -> FlushReport:
        """The second half: wait until all is written. By ``deadline_s`` and half a second it is, or never will be."""
        if self._report is not None:
            return self._report
        if self.hub.wait(max(0.0, deadline_s - time.monotonic())) and self._journal is not None:
            self._journal.waiting(1)  # nothing: what is not written in time is counted exactly
        self._report = self._persister.stop(max(0.0, deadline_s - time.monotonic()))
        if self._journal is not None:
            self._journal.close(is_all_written=is_all_written(self._report), is_disk_stuck=not self._persister.is_gone)
            if self._persister.is_gone:  # by now
                self._journal.leave()
        exits.OPEN.discard(self)
        termination.leave(self)
        return self._report

    def _end_with_store(self) -> None:
        """On the persister's thread, which may take longer than close() may: the store is locked, its disk is dead.

        Not on a thread for the purpose: at interpreter exit there is none to be had from Python 3.12 on.
        """
        if self._retention is not None:
            self._retention.finish()
        if not self._owns_store:
            return
        try:
            self.store.close()
        except (StoreError, OSError) as problem:  # what is not in the store is in the report
            LOGGER.warning("cannot close event store %s: %s", self.store.url, problem)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close(error=error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.close, error=error)

    def __repr__(self) -> str:
        state = "disabled" if self._is_disabled else "closed" if self._report else "open"
        return f"<sonde.Recorder session {self.session_id!r}, {state}>"


def _path(path: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if path is None:
        return default_db()
    if not os.fspath(path):
        raise ConfigError("cannot record to '': expected a path; leave it out for the default store")
    return path


def _ignore_emit(type: str, data: Any = None, /, **more: Any) -> None:
    """Stands for ``emit`` where recording is disabled."""


def _ignore_publish(event: Event) -> None:
    """Stands for ``publish`` where recording is disabled."""
