"""Health: how sonde itself is doing, as metrics."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Collection, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from sonde.errors import StoreError
from sonde.hub import Hub, HubStats
from sonde.metrics import Description, Family, MetricType, Registry
from sonde.persister import Persister
from sonde.store import EventStore

# Reasons that can come up, so that each has its series from the start: a rate needs the 0 before the first drop.
_DROPPED = ("closed", "failed", "invalid", "overloaded")
_MISSED_LIVE = ("queue_full", "rate_limited", "subscriber_full")
_LOST = ("failed", "not_written", "overloaded", "pending_full", "refused", "store_closed")

_DESCRIPTIONS = (
    ("sonde_build_info", "Always 1; the labels say which sonde and which Python this is.", ""),
    ("sonde_events_published_total", "Events published, also those that were dropped.", ""),
    ("sonde_events_delivered_total", "Events handed to every subscription that there was.", ""),
    ("sonde_events_dropped_total", "Events that no subscription got, the recorder neither.", ""),
    ("sonde_events_committed_total", "Events committed to the store.", ""),
    ("sonde_events_lost_total", "Events that will never be in the store; a sonde.gap there tells as much.", ""),
    ("sonde_live_events_missed_total", "Events that live subscriptions missed, all of them together.", ""),
    ("sonde_subscription_events_missed_total", "Events that a live subscription missed, while it is open.", ""),
    ("sonde_subscription_queued_events", "Events that wait for the consumer of a live subscription.", ""),
    ("sonde_subscriptions", "Live subscriptions and recorders.", ""),
    ("sonde_queued_events", "Events published and not yet handed over.", ""),
    ("sonde_pending_events", "Events handed over and not yet committed.", ""),
    ("sonde_pending_bytes", "What the events not yet committed hold in memory, estimated.", "bytes"),
    ("sonde_failures_total", "What went wrong in the background, by kind; the log has the words.", ""),
    ("sonde_store_up", "Whether the store could be read for this page.", ""),
    ("sonde_store_events", "Events in the store, of all sessions and programs.", ""),
    ("sonde_store_size_bytes", "Size of the store on disk: the database, and its write-ahead log.", "bytes"),
)
_COMMITS = Description("How long the store took for a transaction of recorded events.", "seconds")


class Health:
    """The ledgers of a recorder as families of metrics, all named ``sonde_...``.

    Thread-safe; for no signal handler. Blocks for two reads of the store, some 100 µs. Counters never go down, as the
    ledgers may by a hair while events flow: Prometheus would take that for a restart, and the whole count for new.
    """

    def __init__(
        self, hub: Hub, persister: Persister, store: EventStore, *, failures: Callable[[], Mapping[str, int]]
    ) -> None:
        """``failures`` gives what went wrong in the background of all parts, by kind."""
        self._failures = failures
        self._hub = hub
        self._persister = persister
        self._store = store
        self._highest = _Highest(hub.writer_id)

    def families(self) -> list[Family]:
        """What is so now. In a forked child, what is so in the child."""
        if self._highest.writer_id != self._hub.writer_id:
            self._highest = _Highest(self._hub.writer_id)
        registry = Registry()
        for name, help_, unit in _DESCRIPTIONS:
            registry.describe(name, help_, unit)
        labels = {"version": _sonde_version(), "python_version": platform.python_version()}
        registry.gauge("sonde_build_info", labels).set(1)
        # The persister before the hub: so what is committed has been published, on one page.
        self._add_recording(registry)
        self._add_hub(registry, self._hub.stats())
        self._count_each(registry, "sonde_failures_total", "kind", self._failures())
        self._add_store(registry)
        commits = self._persister.commit_durations
        return [*registry.families(), Family(commits.name, MetricType.HISTOGRAM, _COMMITS, [commits])]

    def _add_recording(self, registry: Registry) -> None:
        report = self._persister.report()
        self._count(registry, "sonde_events_committed_total", report.committed)
        self._count_each(registry, "sonde_events_lost_total", "reason", {**dict.fromkeys(_LOST, 0), **report.dropped})
        registry.gauge("sonde_pending_events").set(report.pending)
        registry.gauge("sonde_pending_bytes").set(self._persister.pending_bytes)

    def _add_hub(self, registry: Registry, hub: HubStats) -> None:
        self._count(registry, "sonde_events_published_total", hub.published)
        self._count(registry, "sonde_events_delivered_total", hub.handed_over)
        self._count_each(
            registry, "sonde_events_dropped_total", "reason", {**dict.fromkeys(_DROPPED, 0), **hub.dropped}
        )
        missed = {**dict.fromkeys(_MISSED_LIVE, 0), **hub.live_dropped}
        self._count_each(registry, "sonde_live_events_missed_total", "reason", missed)
        self._highest.keep("sonde_subscription_events_missed_total", {row.id for row in hub.subscriptions})
        for row in hub.subscriptions:
            registry.gauge("sonde_subscription_queued_events", {"subscription": row.id}).set(row.queued)
            self._count(
                registry,
                "sonde_subscription_events_missed_total",
                sum(row.dropped.values()),
                {"subscription": row.id},
            )
        registry.gauge("sonde_subscriptions").set(hub.subscriber_count)
        registry.gauge("sonde_queued_events").set(hub.queued)

    def _add_store(self, registry: Registry) -> None:
        try:
            health = self._store.health()
        except (StoreError, OSError):  # closed, or away: that is what the page says then
            registry.gauge("sonde_store_up").set(0)
            return
        registry.gauge("sonde_store_up").set(health.ok)
        if health.ok:
            registry.gauge("sonde_store_events").set(health.events)
        registry.gauge("sonde_store_size_bytes", {"file": "db"}).set(health.size_bytes)
        registry.gauge("sonde_store_size_bytes", {"file": "wal"}).set(health.wal_bytes)

    def _count_each(self, registry: Registry, name: str, label: str, numbers: Mapping[str, int]) -> None:
        for value, number in numbers.items():
            self._count(registry, name, number, {label: value})

    def _count(self, registry: Registry, name: str, number: int, labels: Mapping[str, str] | None = None) -> None:
        series = registry.counter(name, labels)
        series.add(self._highest.of((name, *(labels or {}).values()), number))


class _Highest:
    """The highest number that each counter had, for as long as this process is the same."""

    def __init__(self, writer_id: str) -> None:
        self.writer_id = writer_id
        self._numbers: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()  # new with each process: a fork may come while another thread holds it

    def of(self, key: tuple[str, ...], number: int) -> int:
        with self._lock:
            highest = self._numbers[key] = max(number, self._numbers.get(key, 0))
            return highest

    def keep(self, name: str, values: Collection[str]) -> None:
        """Forget the counters of a name whose label has none of these values: what they counted is no more."""
        with self._lock:
            for key in [key for key in self._numbers if key[0] == name and key[1] not in values]:
                del self._numbers[key]


@cache
def _sonde_version() -> str:
    try:
        return version("sonde")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
