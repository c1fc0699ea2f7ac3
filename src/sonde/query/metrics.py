"""The program's own metrics, put together from the ``sonde.metrics`` events of one session or of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sonde.errors import EventDecodeError
from sonde.events import Event, EventType, PublishedEvent
from sonde.failures import LOGGER
from sonde.metrics import RegistrySnapshot
from sonde.query.process_metrics import WrittenMetrics, united


def read_metrics(events: Iterable[Event]) -> RegistrySnapshot:
    """What counters and histograms counted in these events' sessions, and what gauges held last.

    Of each writer (a recorder in a process; a forked child is another) the last event with a series has all that the
    process counted while the writer was open; writers are added up. Recorders that were open at once in one process
    have both written what went on meanwhile: that counts once.

    Events of other types are passed over, so a whole stream will do; ``store.read_by_type(stream, EventType.METRICS)``
    is quicker. What cannot be read, and a name that has another type than in an earlier writer, is left out and logged.
    Raises nothing for what events hold. For :meth:`~sonde.metrics.Registry.from_snapshot` to show, or for
    ``get(name, labels)``.

    >>> import sonde
    >>> calls = sonde.counter("example_calls_total")
    >>> store = sonde.SQLiteStore(":memory:")
    >>> with sonde.record(store=store, session_id="s"):
    ...     calls.inc(3)
    >>> read_metrics(store.read("s")).get("example_calls_total")
    CounterReading(total=3)
    """
    writers: dict[tuple[str, str], WrittenMetrics] = {}
    unreadable: list[EventDecodeError] = []
    for event in events:
        if event.type != EventType.METRICS.value:
            continue
        try:
            figures = RegistrySnapshot.from_data(event.data)
            before = RegistrySnapshot.from_data({**event.data, "families": event.data.get("before", [])})
        except EventDecodeError as error:
            unreadable.append(error)
            continue
        key = (event.writer_id if isinstance(event, PublishedEvent) else "", event.session_id)
        writer = writers.setdefault(key, WrittenMetrics())
        writer.process = _process(event.data) or writer.process
        writer.figures = _updated(writer.figures, figures)
        writer.before = _updated(writer.before, before)
    if unreadable:
        LOGGER.warning("left out %d unreadable events with metrics; the last: %s", len(unreadable), unreadable[-1])
    processes: dict[object, list[WrittenMetrics]] = {}
    for key, writer in writers.items():
        processes.setdefault(writer.process or key, []).append(writer)
    total = RegistrySnapshot()
    for several in processes.values():
        snapshot = united(several)
        total = total.merged(_of_the_types_in(total, snapshot))
    return total


def _process(data: Mapping[str, Any]) -> str:
    process = data.get("process")
    return process if isinstance(process, str) else ""


def _updated(known: RegistrySnapshot, found: RegistrySnapshot) -> RegistrySnapshot:
    """What is known, and over it the last word."""
    return RegistrySnapshot(
        max(known.time_ns, found.time_ns),
        {**known.series, **found.series},
        {**known.descriptions, **found.descriptions},
    )


def _of_the_types_in(total: RegistrySnapshot, snapshot: RegistrySnapshot) -> RegistrySnapshot:
    present, theirs = total.types(), snapshot.types()
    others = {name for name, type_ in theirs.items() if present.get(name, type_) is not type_}
    if not others:
        return snapshot
    for name in sorted(others):
        LOGGER.warning("left out metric %s of one writer: a %s, and a %s before", name, theirs[name], present[name])
    return snapshot.only([key for key in snapshot.series if key.name not in others])
