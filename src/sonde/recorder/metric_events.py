"""MetricEvents: the program's own metrics as ``sonde.metrics`` events in its session, so that they outlive it."""

from __future__ import annotations

import os
import weakref
from _thread import allocate_lock
from collections.abc import Callable
from typing import Any

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.events import Event, EventType
from sonde.failures import FailureLog
from sonde.metrics import (
    DEFAULT_REGISTRY,
    CounterReading,
    HistogramSnapshot,
    Reading,
    Registry,
    RegistrySnapshot,
)

DEFAULT_METRICS_INTERVAL_S = 60.0

_RUN = os.urandom(8).hex()
"""With the process id, which differs in forked children, it tells this process from all others."""

MAX_EVENT_BYTES = 64 * 1024
"""JSON of one event's figures: some 1,000 counters, or 20 histograms of durations. What is more has further events."""


class MetricEvents:
    """Publishes what has changed in a registry, at every tick and at the end.

    An event has the series that changed since the last one, each with what it counted since the start (gauges: with
    their value); so of each writer the last word on each series holds, and the sums of several writers add up. Where
    nothing changed there is no event. What was counted before the start of a series that changes is in one event under
    ``before``, and ``process`` tells whose registry it is: so readers see where the recorders of one process have
    written the same. ``read_metrics`` puts all that together.

    Whoever ticks reads and publishes; updates of metrics and publishers never wait for it. It takes some 5 µs for
    each counter, and up to 0.3 ms for each histogram. It raises nothing: failures are counted in ``failures`` and
    logged. After a fork the child begins anew, with what it counts from then on.
    """

    def __init__(
        self,
        publish: Callable[[Event], object],
        *,
        session_id: str,
        registry: Registry = DEFAULT_REGISTRY,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Begin nothing yet."""
        self._publish = publish
        self._session_id = session_id
        self._registry = registry
        self._clock = clock
        self._is_finished = True
        self.failures = FailureLog()
        self._begin(RegistrySnapshot())

    def _begin(self, baseline: RegistrySnapshot) -> None:
        self._baseline = self._written = baseline
        self._turn = allocate_lock()  # the thread and close() write one after the other
        self._pid = os.getpid()

    def start(self) -> None:
        """Take what the registry has as the baseline."""
        self._begin(self._registry.snapshot(clock=self._clock))
        self._is_finished = False
        _ALL.add(self)

    def close(self, timeout_s: float) -> None:
        """Publish what has changed since the last event, the last time. Idempotent; waits ``timeout_s`` at most."""
        if self._is_finished:
            return
        _ALL.discard(self)
        if not self._turn.acquire(timeout=max(0.0, timeout_s)):
            self.failures.add(
                "metrics",
                f"cannot publish the last metrics within {timeout_s:g} s: the event before is still being made; "
                "raise timeout_s or keep fewer series",
            )
            return
        try:
            self._write()
            self._is_finished = True  # and not before: a close() that Ctrl-C cut short may be repeated
        finally:
            self._turn.release()

    def tick(self) -> None:
        """Publish what has changed since the last event; nothing after :meth:`close`."""
        with self._turn:
            if not self._is_finished:
                self._write()

    def _write(self) -> None:
        if os.getpid() != self._pid:
            # In a child, where the thread was quicker than _restart_in_child(), or that failed: the parent has counted
            # what is there since the baseline.
            return
        try:
            now = self._registry.snapshot(clock=self._clock)
            changes = self._changes(now)
            for part in self._before(changes).to_parts(max_bytes=MAX_EVENT_BYTES):
                self._publish_part({**part, "families": [], "before": part["families"]}, part["families"])
            for part in changes.to_parts(max_bytes=MAX_EVENT_BYTES):
                self._publish_part(part, part["families"])
            # Only now: what an error or an interrupt kept from being published is in the next event.
            self._written = now
        except Exception as error:  # noqa: BLE001 - the thread must not die of it, nor close() fail
            self.failures.add("metrics", f"cannot publish metrics: {error!r}", error=error)

    def _changes(self, now: RegistrySnapshot) -> RegistrySnapshot:
        """What changed since the last event, as it is since the start. A gauge may be back at what it was then."""
        changed = now.since(self._written).series
        series = {}
        for key in changed:
            reading, before = now.series[key], self._baseline.series.get(key)
            series[key] = reading if before is None else reading.since(before)  # type: ignore[arg-type]  # of one type
        return RegistrySnapshot(now.time_ns, series, now.descriptions).only(series)

    def _before(self, changes: RegistrySnapshot) -> RegistrySnapshot:
        """Of what has changed for the first time, what it had counted before the start, if anything."""
        baseline, written = self._baseline.series, self._written.series
        return self._baseline.only(
            key
            for key in changes.series
            if key in baseline and _count(baseline[key]) > 0 and _count(written[key]) == _count(baseline[key])
        )

    def _publish_part(self, data: dict[str, Any], families: list[Any]) -> None:
        if families:
            process = f"{_RUN}-{self._pid}-{id(self._registry):x}"
            self._publish(
                Event(EventType.METRICS.value, session_id=self._session_id, data={**data, "process": process})
            )

    def _restart_in_child(self) -> None:
        try:
            self._begin(self._registry.snapshot(clock=self._clock))
        except Exception as error:  # noqa: BLE001 - a fork must not fail for the sake of metrics
            self.failures.add("metrics", f"cannot record metrics after a fork: {error!r}", error=error)


def _count(reading: Reading) -> float:
    """How far a counter or histogram has come; 0 for a gauge, which comes from nowhere."""
    if isinstance(reading, CounterReading):
        return reading.total
    return reading.count if isinstance(reading, HistogramSnapshot) else 0


_ALL: weakref.WeakSet[MetricEvents] = weakref.WeakSet()


def _restart_all() -> None:
    for events in list(_ALL):
        events._restart_in_child()  # this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
