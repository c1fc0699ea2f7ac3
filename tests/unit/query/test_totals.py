"""Totals: every token and cent counts once, unknown is not zero, percentiles are exact."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.events import Event
from sonde.query import CostTotal, Durations, Status, Totals, cost_of, duration_of, tokens_of
from sonde.vocabulary import Cost

SPAN = "a" * 16


def event(kind: str, /, *, span_id: str = "", **data: Any) -> Event:
    return Event(kind, 1, "s", data=data, span_id=span_id)


def test_tokens_are_summed_by_kind_and_model() -> None:
    """Sonde's keys and the original's add up together."""
    totals = Totals.from_events(
        [
            event("model.completed", model="a", input_tokens=1, output_tokens=2, cache_read_tokens=3),
            event("model.completed", model="b", input_tokens=10, reasoning_tokens=5, cache_write_tokens=6),
            event("tokens.updated", model="a", prompt_tokens=100, completion_tokens=200),
        ]
    )
    assert totals.tokens == {
        "input_tokens": 111,
        "output_tokens": 202,
        "cache_read_tokens": 3,
        "reasoning_tokens": 5,
        "cache_write_tokens": 6,
    }
    assert totals.tokens_by_model["a"] == {"input_tokens": 101, "output_tokens": 202, "cache_read_tokens": 3}
    assert totals.events == 3


def test_increments_of_a_call_that_states_the_same_are_not_counted_twice() -> None:
    """An increment counts unless the model call of its span states tokens, or cost, itself."""
    increments = [
        event("tokens.updated", span_id=SPAN, prompt_tokens=4),
        Event("tokens.updated", 1, "s", data={"prompt_tokens": 5}, parent_id=SPAN),
        event("cost.updated", span_id=SPAN, usd=0.25),
    ]
    call = event("model.completed", span_id=SPAN, model="m", input_tokens=9)
    both = Totals.from_events([*increments, call])
    assert both.tokens == {"input_tokens": 9}
    assert (both.cost.usd, both.cost.unknown_calls) == (0.25, 0)
    assert both.cost_by_model["m"].usd == 0.25
    alone = Totals.from_events(increments)
    assert alone.tokens == {"input_tokens": 9}
    priced = event("model.completed", span_id=SPAN, model="m", cost_usd=0.5)
    with_cost = Totals.from_events([*increments, priced])
    assert with_cost.cost.usd == 0.5
    assert with_cost.tokens_by_model == {"m": {"input_tokens": 9}}


def test_two_ends_of_one_call_count_once() -> None:
    """The original's stream_end and sonde's completed of one span are one call."""
    totals = Totals.from_events(
        [
            event("model.stream_end", span_id=SPAN, model="m", input_tokens=3),
            event("model.completed", span_id=SPAN, input_tokens=3, cost_usd=1.0),
        ]
    )
    assert totals.tokens_by_model == {"m": {"input_tokens": 3}}
    assert (totals.cost.usd, totals.cost.unknown_calls) == (1.0, 0)


def test_unknown_cost_is_not_zero() -> None:
    """A call without a cost is counted as unknown; a free one costs 0."""
    unknown = Totals.from_events([event("model.completed", model="m", input_tokens=1, cost_source="unknown")])
    assert (unknown.cost.usd, unknown.cost.unknown_calls) == (None, 1)
    free = Totals.from_events([event("model.completed", model="local", cost_usd=0.0)])
    assert (free.cost.usd, free.cost.unknown_calls) == (0.0, 0)


def test_a_failed_call_that_used_nothing_has_no_unknown_cost() -> None:
    """A refused connection costs nothing and is not listed as unknown; a failure with tokens is."""
    assert Totals.from_events([event("model.failed", model="m", error="refused")]).cost.unknown_calls == 0
    assert Totals.from_events([event("model.failed", model="m", input_tokens=1)]).cost.unknown_calls == 1


def test_provenance_is_kept_apart() -> None:
    """What a provider reported and what a price table computed are separate sums."""
    totals = Totals.from_events(
        [
            event("model.completed", model="m", cost_usd=1.0, cost_source="reported"),
            event("model.completed", model="m", cost_usd=2.0, cost_source="computed"),
            event("cost.updated", usd=4.0),
        ]
    )
    assert totals.cost == CostTotal(reported_usd=5.0, computed_usd=2.0, unknown_calls=0)
    assert totals.cost.usd == 7.0
    assert totals.cost_by_model["m"].usd == 3.0
    assert totals.cost_by_model[""].usd == 4.0


def test_operations_are_counted_by_kind_and_name() -> None:
    """Each tool has its count, failures and durations; the most frequent comes first."""
    totals = Totals.from_events(
        [
            event("tool.completed", tool="a", duration_ms=1000),
            event("tool.failed", tool="b", duration_s=2.0),
            event("tool.completed", tool="b", duration_s=4.0),
            event("tool.started", tool="b"),
        ]
    )
    b, a = totals.operations
    assert (b.kind, b.name, b.count, b.failures) == ("tool", "b", 3, 1)
    assert b.by_status == {Status.FAILED: 1, Status.COMPLETED: 1, Status.STALE: 1}
    assert (b.durations.count, b.durations.sum_s, b.durations.p50_s, b.durations.p99_s) == (2, 6.0, 2.0, 4.0)
    assert a.durations.max_s == 1.0


@pytest.mark.parametrize("value", [True, "12", -1, float("nan"), float("inf"), None, [1]])
def test_figures_that_are_none_do_not_count(value: Any) -> None:
    """Foreign data under a known key is neither counted nor an error."""
    assert tokens_of({"input_tokens": value}) == {}
    assert duration_of({"duration_s": value if value != -1 else None}) is None
    assert cost_of({"cost_usd": value if value != -1 else None}) == Cost(None, "unknown")


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_percentiles_are_nearest_rank(durations_s: list[float]) -> None:
    """A percentile is a value of the list with at least so many at or below it, and the smallest such."""
    found = Durations.of(durations_s)
    for percent, value in ((50, found.p50_s), (90, found.p90_s), (99, found.p99_s)):
        assert value in durations_s
        assert sum(d <= value for d in durations_s) * 100 >= percent * len(durations_s)
        assert sum(d < value for d in durations_s) * 100 < percent * len(durations_s)
    assert (found.min_s, found.max_s, found.count) == (min(durations_s), max(durations_s), len(durations_s))


usage = st.fixed_dictionaries(
    {},
    optional={"input_tokens": st.integers(0, 99), "output_tokens": st.integers(0, 99), "cost_usd": st.integers(0, 99)},
)


@given(st.lists(st.tuples(st.sampled_from(["model.completed", "tokens.updated", "model.failed"]), usage)))
def test_the_total_is_the_sum_of_the_events(parts: list[tuple[str, dict[str, Any]]]) -> None:
    """Without shared spans, the session's tokens and cost are exactly those of its events."""
    totals = Totals.from_events(event(kind, model="m", **data) for kind, data in parts)
    for key in ("input_tokens", "output_tokens"):
        assert totals.tokens.get(key, 0) == sum(data.get(key, 0) for _, data in parts)
    costs = [data["cost_usd"] for kind, data in parts if kind != "tokens.updated" and "cost_usd" in data]
    assert totals.cost.usd == (sum(costs) if costs else None)
    assert sum((total.usd or 0) for total in totals.cost_by_model.values()) == sum(costs)
