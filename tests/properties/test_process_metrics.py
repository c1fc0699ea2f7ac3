"""Recorders of one process write down its metrics side by side: together, each thing that was counted is there once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sonde.clock import ManualClock
from sonde.events import Event, PublishedEvent
from sonde.metrics import CounterReading, HistogramSnapshot, Registry
from sonde.query import read_metrics
from sonde.recorder.metric_events import MetricEvents

SERIES = [{"n": "0"}, {"n": "1"}]
UPDATES = st.tuples(st.just("update"), st.sampled_from(SERIES), st.integers(0, 40))
# Each step of a writer is followed by updates, else most examples have nothing that two writers see.
MOVES = st.tuples(st.sampled_from(["open", "write", "close"]), st.integers(0, 2))
STEPS = st.lists(st.tuples(MOVES, st.lists(UPDATES, min_size=1, max_size=3)), min_size=6, max_size=20)


class Process:
    """A registry, its writers as they come and go, and what each update was seen by."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.events: list[Event] = []
        self.updates: list[tuple[str, int]] = []
        self.writers: dict[int, tuple[MetricEvents, int]] = {}
        self.seen: set[int] = set()
        self.opened = 0

    def update(self, labels: dict[str, str], amount: int) -> None:
        self.registry.counter("amounts_total", labels).add(amount)
        self.registry.histogram("amounts", labels, [8.0, 16.0]).observe(amount)
        self.updates.append((labels["n"], amount))

    def open(self, place: int) -> None:
        if place in self.writers:
            return
        self.opened += 1
        writer_id, session_id = f"w{self.opened}", f"s{place}"

        def publish(event: Event) -> None:
            self.events.append(
                PublishedEvent(event.type, 1, session_id, data=event.data, writer_id=writer_id, seq=len(self.events))
            )

        writer = MetricEvents(publish, session_id=session_id, registry=self.registry, clock=ManualClock(1))
        writer.start()
        self.writers[place] = writer, len(self.updates)

    def write(self, place: int) -> None:
        if place in self.writers:
            writer, start = self.writers[place]
            writer.tick()
            self.seen.update(range(start, len(self.updates)))

    def close(self, place: int) -> None:
        self.write(place)
        if place in self.writers:
            self.writers.pop(place)[0].close(1)


@given(STEPS)
def test_what_any_writer_saw_is_there_once(steps: list[tuple[tuple[object, ...], list[tuple[object, ...]]]]) -> None:
    """Opened and closed in any order, upon each other or not, and killed at the end: no update twice, none missing."""
    process = Process()
    for move, updates in steps:
        for name, *arguments in (move, *updates):
            getattr(process, str(name))(*arguments)
    found = read_metrics(process.events)
    for labels in SERIES:
        amounts = [
            amount for place, (n, amount) in enumerate(process.updates) if n == labels["n"] and place in process.seen
        ]
        total, values = found.get("amounts_total", labels), found.get("amounts", labels)
        assert (total.total if isinstance(total, CounterReading) else 0) == sum(amounts)
        if not isinstance(values, HistogramSnapshot):
            assert not amounts
            continue
        expected = Registry().histogram("amounts", labels, [8.0, 16.0])
        for amount in amounts:
            expected.observe(amount)
        now = expected.snapshot()
        assert (values.count, values.sum, values.cumulative) == (now.count, now.sum, now.cumulative)
        assert (values.sketch.bins, values.sketch.zeros) == (now.sketch.bins, now.sketch.zeros)
