"""Derived metrics: whatever is recorded, and however badly, the store gives back the figures that the process had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.clock import ManualClock
from sonde.errors import StoreUnavailableError
from sonde.events import Event
from sonde.metrics import CounterReading, DerivedMetrics, HistogramSnapshot, Registry
from sonde.query import derive_metrics
from sonde.recorder import Recorder
from sonde.store import AppendResult, Record, SQLiteStore

NOON = ManualClock(time_ns=12 * 3600 * 10**9)  # gauges say when they were read
SPANS = ("", *(f"{number:016x}" for number in range(1, 5)))
KINDS = (
    *("tool.started", "tool.completed", "tool.failed", "tool.cancelled", "agent.tool.started", "agent.tool.result"),
    *("agent.tool.error", "model.started", "model.stream_start", "model.stream_end", "model.completed", "model.failed"),
    *("agent.model.request", "agent.model.response", "tokens.updated", "tokens.updated", "cost.updated"),
    *("cost.updated", "session.started", "session.ended", "task.failed", "shell.failed", "note.taken"),
)
SECRET = "sk-ant-api03-" + "a1B2c3D4" * 12

numbers = st.one_of(
    st.integers(0, 2000), st.floats(0, 500), st.sampled_from([0, -1, 10**19, float("nan"), float("inf"), True, "12"])
)
datas = st.fixed_dictionaries(
    {},
    optional={
        "tool": st.sampled_from(["read_file", "grep", SECRET, "", 7, 'a,b="c"\n\ud800']),
        "name": st.sampled_from(["grep", "x" * 300]),
        "model": st.sampled_from(["m-1", "m-2", None]),
        "provider": st.sampled_from(["p", 3]),
        "operation": st.sampled_from(["embeddings", "odd"]),
        "duration_s": numbers,
        "duration_ms": numbers,
        "ttft_s": numbers,
        "input_tokens": numbers,
        "prompt_tokens": numbers,
        "output_tokens": numbers,
        "cache_read_tokens": numbers,
        "reasoning_tokens": numbers,
        "cost_usd": numbers,
        "usd": numbers,
        "cost_source": st.sampled_from(["reported", "computed", "unknown"]),
        "error_type": st.sampled_from(["TimeoutError", "a sentence, not a type", "", 5]),
        "status": st.sampled_from(["failed", "completed"]),
        "password": st.just("hunter2"),  # redacted
        "seen": st.just({1}),  # no JSON
        "refused": st.booleans(),  # by the store, whatever comes with it
    },
)
events = st.builds(
    Event,
    st.sampled_from(KINDS),
    st.integers(1, 10**10),
    plan_id=st.sampled_from(["", "p"]),
    data=datas,
    span_id=st.sampled_from(SPANS),
    parent_id=st.sampled_from(SPANS),
)
streams = st.lists(st.tuples(st.booleans(), events), max_size=40)  # which of two recorders, and what


class UnluckyStore(SQLiteStore):
    """A real store that refuses some data for good, and of the first appends one before the commit, one after it."""

    def __init__(self, luck: list[str]) -> None:
        super().__init__(":memory:")
        self._luck = luck

    def append_batch(self, records: Sequence[Record]) -> AppendResult:
        if any(record.event.data.get("refused") is True for record in records):
            raise ValueError("not this one")
        when = self._luck.pop() if self._luck else ""
        if when == "before":
            raise StoreUnavailableError("the disk is away")
        result = super().append_batch(records)
        if when == "after":
            raise StoreUnavailableError("it is written, and the answer is lost")
        return result


def figures(registry: Registry) -> dict[str, Any]:
    """Everything that a registry says: families and their series, values, buckets, sums, percentiles, sketches."""
    described = {family.name: (family.type, family.description) for family in registry.families()}
    return {"families": described, "series": dict(registry.snapshot(clock=NOON).series), "export": registry.export()}


def record_all(store: SQLiteStore, stream: list[tuple[bool, Event]]) -> tuple[Recorder, Recorder]:
    with Recorder(store=store, session_id="a") as first, Recorder(store=store, session_id="b") as second:
        for number, (is_first, event) in enumerate(stream):
            (first if is_first else second).publish(event)
            if number % 10 == 9:
                first.flush()
    return first, second


@given(streams, st.sampled_from([[], ["before"], ["after"]]))
def test_the_store_gives_back_what_each_recorder_had(stream: list[tuple[bool, Event]], luck: list[str]) -> None:
    """Two recorders in one process, writes that fail or lose their acknowledgement, stand-ins, redaction: all the same.

    Of each session, family by family and series by series; and of both sessions together, what the two add up to.
    """
    with UnluckyStore(list(luck)) as store:
        recorders = record_all(store, stream)
        for recorder in recorders:
            assert figures(derive_metrics(store, recorder.session_id)) == figures(recorder.registry)
        whole = derive_metrics(store)
    parts = [recorder.registry for recorder in recorders]
    both = parts[0].snapshot().merged(parts[1].snapshot())
    for key, reading in whole.snapshot().series.items():
        added = both.series[key]
        if isinstance(reading, HistogramSnapshot):
            assert isinstance(added, HistogramSnapshot)
            assert (added.count, added.cumulative) == (reading.count, reading.cumulative)
        elif isinstance(reading, CounterReading):
            assert isinstance(added, CounterReading)
            assert added.total == pytest.approx(reading.total)
    for gauge in whole.gauges():  # merging takes one's last word
        assert gauge.get() == sum(part.gauge(gauge.name, gauge.labels).get() for part in parts)


tame = st.lists(
    st.builds(
        Event,
        st.sampled_from(["model.started", "model.stream_end", "model.completed", "tokens.updated"]),
        st.just(1),
        data=st.fixed_dictionaries({"output_tokens": st.integers(0, 100)}),
        span_id=st.sampled_from(SPANS[1:]),
    ),
    max_size=30,
)


@given(tame, st.randoms())
def test_tokens_do_not_depend_on_the_order(stream: list[Event], chance: Any) -> None:
    """Of each call the larger counts: the sum of its increments, or the largest statement of its ends."""
    summed: dict[str, int] = {}
    stated: dict[str, int] = {}
    for event in stream:
        number = event.data["output_tokens"]
        if event.type == "tokens.updated":
            summed[event.span_id] = summed.get(event.span_id, 0) + number
        elif event.type != "model.started":
            stated[event.span_id] = max(stated.get(event.span_id, 0), number)
    expected = sum(max(summed.get(span, 0), stated.get(span, 0)) for span in {*summed, *stated})
    chance.shuffle(stream)
    metrics = DerivedMetrics(Registry())
    metrics.add_all(stream)
    assert (
        sum(counter.get() for counter in metrics.registry.counters() if counter.name == "model_tokens_total")
        == expected
    )


@given(
    st.lists(
        st.builds(
            Event,
            st.sampled_from(["tool.completed", "tool.cancelled", "tool.failed", "agent.tool.result", "tool.started"]),
            data=datas,
            span_id=st.sampled_from(["", "", "", SPANS[1]]),
        ),
        max_size=40,
    ),
    st.integers(1, 40),
)
def test_many_calls_at_once_count_as_one_by_one(events: list[Event], batch: int) -> None:
    """Calls of tools that come in masses are gathered: the figures are the same to the last bit, however they come."""
    events = events * 30
    gathered, each = DerivedMetrics(Registry()), DerivedMetrics(Registry())
    for start in range(0, len(events), batch):
        gathered.add_all(events[start : start + batch])
    for event in events:
        each.add(event)
    assert gathered.registry.export() == each.registry.export()
