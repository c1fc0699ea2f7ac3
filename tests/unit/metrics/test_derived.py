"""Derived metrics: what events mean in figures, and that nothing counts twice."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from sonde.events import Event
from sonde.metrics import Counter, DerivedMetrics, Gauge, MetricType, Registry
from sonde.metrics.call import ENDED_CALLS, OPEN_CALLS
from sonde.metrics.rules import GENAI_DURATION_BUCKETS, GENAI_TOKEN_BUCKETS, RULES, RULES_VERSION, TERMS, Fact

SPAN = "a" * 16
S = 10**9


def derived(*events: Event, registry: Registry | None = None) -> Registry:
    metrics = DerivedMetrics(registry or Registry())
    metrics.add_all(events)
    return metrics.registry


def counts(registry: Registry) -> dict[str, float]:
    """Counters and gauges that are not 0, as ``name{labels}``."""
    series: list[Counter | Gauge] = [*registry.counters(), *registry.gauges()]
    return {str(one).rsplit(" ", 1)[0]: one.get() for one in series if one.get()}


def shapes(registry: Registry) -> dict[str, tuple[int, float]]:
    """Count and sum of each histogram."""
    series = registry.export()["histograms"]
    return {key: (one["count"], round(one["sum"], 9)) for key, one in series.items()}  # type: ignore[misc, call-overload]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("tool.completed", {"tool": "grep", "duration_s": 0.25}),
        ("tool.completed", {"tool": "grep", "duration_ms": 250}),
        ("agent.tool.result", {"tool": "grep", "duration_ms": 250}),
        ("machine.tool.complete", {"name": "grep", "duration_s": 0.25}),
        ("tool.cancelled", {"tool": "grep", "duration_s": 0.25}),
    ],
)
def test_a_tool_counts_in_both_spellings(kind: str, data: dict[str, Any]) -> None:
    """Sonde's events and the original's, by any of their names, give the same call of a tool."""
    registry = derived(Event(kind, data=data))
    assert counts(registry) == {"tool_calls_total{tool_name=grep}": 1}
    assert shapes(registry) == {
        "tool_duration_seconds{tool_name=grep}": (1, 0.25),
        "gen_ai_execute_tool_duration_seconds{gen_ai_tool_name=grep}": (1, 0.25),
    }


def test_a_duration_that_is_not_stated_is_between_the_events() -> None:
    """An end without a duration took the time since its start; the start's name holds; without a span it is unknown."""
    started = Event("tool.started", 10 * S, span_id=SPAN, data={"tool": "grep"})
    registry = derived(started, Event("tool.completed", 12 * S, span_id=SPAN), Event("tool.completed", 13 * S))
    assert shapes(registry)["tool_duration_seconds{tool_name=grep}"] == (1, 2.0)
    assert counts(registry) == {"tool_calls_total{tool_name=grep}": 1, "tool_calls_total{tool_name=unknown}": 1}


def test_two_ends_of_a_span_are_one_call() -> None:
    """model.stream_end and model.completed of one span are one request; the second adds only what it states in more."""
    registry = derived(
        Event("model.stream_start", 10 * S, span_id=SPAN, data={"model": "m"}),
        Event("model.stream_end", 11 * S, span_id=SPAN, data={"output_tokens": 5}),
        Event("model.completed", 12 * S, span_id=SPAN, data={"output_tokens": 7, "cost_usd": 0.5}),
        Event("tool.completed", 12 * S, span_id=SPAN, data={"tool": "t"}),  # a span of several kinds
        Event("agent.tool.result", 12 * S, span_id=SPAN, data={"tool": "t"}),
    )
    assert counts(registry) == {
        "model_requests_total{model=m}": 1,
        "model_tokens_total{kind=output,model=m}": 7,
        "model_cost_usd_total{model=m,source=reported}": 0.5,
        "tool_calls_total{tool_name=t}": 1,
    }
    assert shapes(registry)["model_latency_seconds{model=m}"] == (1, 1.0)


def test_calls_of_two_sessions_are_two() -> None:
    """The same span in another session, as in a copy of a run, is another call."""
    events = [Event("tool.completed", 1, session, span_id=SPAN, data={"tool": "t"}) for session in ("a", "b")]
    assert counts(derived(*events)) == {"tool_calls_total{tool_name=t}": 2}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
@pytest.mark.parametrize("stated", [3, 8, 20])
def test_increments_and_the_end_tell_of_the_same(order: tuple[int, ...], stated: int) -> None:
    """Increments count as they come, the end only in excess of them: before, between or after the end."""
    events = (
        Event("tokens.updated", 1, span_id=SPAN, data={"model": "m", "output_tokens": 5}),
        Event("tokens.updated", 2, parent_id=SPAN, data={"model": "m", "completion_tokens": 3}),
        Event("model.completed", 3, span_id=SPAN, data={"model": "m", "output_tokens": stated, "cost_usd": 0}),
    )
    registry = derived(*(events[index] for index in order))
    assert counts(registry)["model_tokens_total{kind=output,model=m}"] == max(8, stated)


def test_cost_increments_do_not_add_to_a_stated_cost() -> None:
    """The end's cost counts in excess of the increments, and a difference by rounding is none."""
    pieces = [Event("cost.updated", 1, parent_id=SPAN, data={"model": "m", "usd": 0.1}) for _ in range(3)]
    end = Event("model.completed", 2, span_id=SPAN, data={"model": "m", "cost_usd": 0.3, "cost_source": "computed"})
    registry = derived(*pieces, end)
    assert counts(registry)["model_cost_usd_total{model=m,source=reported}"] == pytest.approx(0.3)
    assert registry.get_counter("model_cost_usd_total", {"model": "m", "source": "computed"}) is None


def test_unknown_cost_is_never_zero() -> None:
    """A call whose cost nobody states is counted apart, until somebody does; a stated 0 is known."""
    unknown = "model_unknown_cost_calls{model=m}"
    registry = Registry()
    metrics = DerivedMetrics(registry)
    metrics.add(Event("model.completed", 1, span_id=SPAN, data={"model": "m", "cost_source": "unknown"}))
    metrics.add(Event("model.completed", 2, span_id="b" * 16, data={"model": "m", "cost_usd": 0.0}))
    metrics.add(Event("model.failed", 3, span_id="c" * 16, data={"model": "m"}))  # used nothing
    assert counts(registry)[unknown] == 1
    free = registry.get_counter("model_cost_usd_total", {"model": "m", "source": "reported"})
    assert free is not None
    assert free.get() == 0
    metrics.add(Event("cost.updated", 4, parent_id=SPAN, data={"usd": 0.25}))
    assert unknown not in counts(registry)
    assert free.get() == 0.25


def test_tokens_by_kind_and_the_conventions_sums() -> None:
    """Own kinds are disjoint; the conventions' input has the cached ones, their output those of reasoning."""
    data = {
        "model": "m",
        "provider": "p",
        "input_tokens": 10,
        "cache_read_tokens": 20,
        "cache_write_tokens": 30,
        "output_tokens": 4,
        "reasoning_tokens": 5,
        "cost_usd": 1,
        "duration_s": 2.0,
        "ttft_s": 0.5,
    }
    registry = derived(Event("model.completed", 1, data=data))
    tokens = {key: value for key, value in counts(registry).items() if key.startswith("model_tokens_total")}
    assert tokens == {
        f"model_tokens_total{{kind={kind},model=m}}": number
        for kind, number in {"input": 10, "cache_read": 20, "cache_write": 30, "output": 4, "reasoning": 5}.items()
    }
    call = "gen_ai_operation_name=chat,gen_ai_provider_name=p,gen_ai_request_model=m"
    assert shapes(registry) == {
        "model_latency_seconds{model=m}": (1, 2.0),
        f"gen_ai_client_operation_duration_seconds{{{call}}}": (1, 2.0),
        f"gen_ai_client_operation_time_to_first_chunk_seconds{{{call}}}": (1, 0.5),
        f"gen_ai_client_token_usage{{{call},gen_ai_token_type=input}}": (1, 60.0),
        f"gen_ai_client_token_usage{{{call},gen_ai_token_type=output}}": (1, 9.0),
    }


def test_failures_are_counted_by_kind_and_type_of_error() -> None:
    """Operations of any kind; once a span and kind; a sentence instead of a type is no label."""
    registry = derived(
        Event("task.failed", 1, span_id=SPAN, data={"error_type": "ValueError"}),
        Event("task.failed", 2, span_id=SPAN, data={"error_type": "ValueError"}),
        Event("experiment.variant.failed", 3, span_id=SPAN, data={"error": "it did not work"}),
        Event("shell.failed", 4, data={"error_type": "exit code 2, and much more"}),
        Event("agent.model.error", 5, data={"model": "m", "error_type": "RateLimitError", "duration_s": 1.0}),
        Event("tool.failed", 6, data={"tool": "t", "error_type": "TimeoutError", "duration_s": 1.0}),
        Event("session.ended", 7, "s", data={"status": "failed", "error_type": "KeyError"}),
        Event("tool.cancelled", 8, data={"tool": "t", "error_type": "CancelledError"}),
    )
    failures = {key: value for key, value in counts(registry).items() if key.startswith("operation_failures_total")}
    assert failures == {
        "operation_failures_total{error_type=ValueError,kind=task}": 1,
        "operation_failures_total{error_type=_OTHER,kind=experiment.variant}": 1,
        "operation_failures_total{error_type=_OTHER,kind=shell}": 1,
        "operation_failures_total{error_type=RateLimitError,kind=model}": 1,
        "operation_failures_total{error_type=TimeoutError,kind=tool}": 1,
        "operation_failures_total{error_type=KeyError,kind=session}": 1,
    }
    keys = shapes(registry)
    assert keys["gen_ai_execute_tool_duration_seconds{error_type=TimeoutError,gen_ai_tool_name=t}"] == (1, 1.0)
    failed = "error_type=RateLimitError,gen_ai_operation_name=chat,gen_ai_request_model=m"
    assert keys[f"gen_ai_client_operation_duration_seconds{{{failed}}}"] == (1, 1.0)


def test_active_sessions_are_those_that_have_begun_and_not_ended() -> None:
    """A session counts once, however often it is said to begin; the end of one that never began changes nothing."""
    registry = Registry()
    metrics = DerivedMetrics(registry)
    for kind, session_id, expected in (
        ("session.ended", "a", 0),
        ("session.started", "a", 1),
        ("session.started", "a", 1),
        ("session.started", "b", 2),
        ("session.ended", "a", 1),
    ):
        metrics.add(Event(kind, 1, session_id, span_id=SPAN))
        assert registry.gauge("active_sessions").get() == expected
    (left,) = metrics.open_sessions
    metrics.close_session(left)
    metrics.close_session(left)
    assert registry.gauge("active_sessions").get() == 0


@pytest.mark.parametrize("kind", ["note.taken", "sonde.gap", "sonde.metrics", "agent.tool.call", "plan.completed"])
def test_other_events_give_nothing(kind: str) -> None:
    """What no rule is for leaves no family behind."""
    assert derived(Event(kind, data={"tool": "t", "duration_s": 1.0, "missed": 3})).families() == []


@pytest.mark.parametrize(
    "value", [None, True, "1", [1], {"a": 1}, float("nan"), float("inf"), -1, pytest.param(10**400, id="huge")]
)
def test_no_data_is_too_odd(value: Any) -> None:
    """Whatever an event holds under the keys that rules read, the call counts and nothing raises."""
    keys = ("tool", "model", "provider", "operation", "duration_s", "duration_ms", "ttft_s", "cost_usd", "error_type")
    data = dict.fromkeys((*keys, "input_tokens", "prompt_tokens", "usd", "name", "status"), value)
    kinds = ("tool.started", "tool.failed", "model.started", "model.failed", "tokens.updated", "cost.updated")
    registry = derived(*(Event(kind, 1, span_id=SPAN, data=data) for kind in (*kinds, "session.ended")))
    found = counts(registry)
    assert sum(number for key, number in found.items() if key.startswith("tool_calls_total")) == 1
    assert sum(number for key, number in found.items() if key.startswith("model_requests_total")) == 1


def test_a_metric_of_the_users_stays_theirs(caplog: pytest.LogCaptureFixture) -> None:
    """Where the registry has the name with another type already, the rule does nothing, says so, and others go on."""
    registry = Registry()
    registry.gauge("tool_calls_total").set(7)
    with caplog.at_level(logging.WARNING, "sonde"):
        derived(Event("tool.completed", data={"tool": "t", "duration_s": 1.0}), registry=registry)
    assert registry.gauge("tool_calls_total").get() == 7
    assert registry.histogram("tool_duration_seconds", {"tool_name": "t"}).count == 1


def test_names_are_bounded() -> None:
    """A label holds 200 characters at most, and a name has no more series than the registry allows."""
    registry = Registry(max_series=3)
    derived(
        Event("tool.completed", data={"tool": "x" * 5000}),
        *(Event("tool.completed", data={"tool": f"tool {number}"}) for number in range(10)),
        registry=registry,
    )
    assert len(registry.counters()[-1].labels.get("tool_name", "")) == 200
    assert registry.counter("tool_calls_total", {"overflow": "true"}).get() == 8
    assert registry.overflowed == {"tool_calls_total": 8}


@pytest.mark.parametrize(
    ("noun", "series"), [("tool", "tool_calls_total{tool_name=t}"), ("model", "model_requests_total{model=t}")]
)
def test_memory_is_bounded(noun: str, series: str) -> None:
    """Only the newest ended calls are remembered: an older one's second end counts as another call."""
    metrics = DerivedMetrics(Registry())
    spans = [f"{number:016x}" for number in range(ENDED_CALLS + 10)]
    for phase in ("started", "completed"):
        metrics.add_all(Event(f"{noun}.{phase}", 1, span_id=span, data={noun: "t"}) for span in spans)
    metrics.add_all(Event(f"{noun}.completed", 1, span_id=span, data={noun: "t"}) for span in (spans[0], spans[-1]))
    assert counts(metrics.registry)[series] == len(spans) + 1
    assert len(metrics._tools) + len(metrics._models) == ENDED_CALLS


def test_open_calls_are_remembered_for_longer() -> None:
    """Of as many calls at a time as 8,192 each is timed by its own beginning; of more the oldest are forgotten."""
    metrics = DerivedMetrics(Registry())
    spans = [f"{number:016x}" for number in range(OPEN_CALLS + 10)]
    metrics.add_all(Event("tool.started", 10**9, span_id=span, data={"tool": "t"}) for span in spans)
    assert len(metrics._tools) == OPEN_CALLS
    metrics.add_all(Event("tool.completed", 2 * 10**9, span_id=span, data={"tool": "t"}) for span in spans)
    assert metrics.registry.histogram("tool_duration_seconds", {"tool_name": "t"}).count == OPEN_CALLS
    assert metrics.registry.counter("tool_calls_total", {"tool_name": "t"}).get() == len(spans)


def test_the_table_of_rules_is_in_order() -> None:
    """Each rule shows terms that its fact has, each fact has a rule, units end names, buckets are the conventions'."""
    assert {rule.fact for rule in RULES} == set(Fact) == set(TERMS)
    for rule in RULES:
        assert {term for _, term in rule.labels} <= set(TERMS[rule.fact]), rule.name
        Registry().describe(rule.name, rule.help, rule.unit)  # raises for a unit that the name does not end in
        assert (rule.buckets is not None) <= (rule.type is MetricType.HISTOGRAM)
        if rule.convention:
            unit = f"_{rule.unit}" if rule.unit else ""
            assert rule.name == re.sub(r"\W", "_", rule.convention) + unit
    assert GENAI_DURATION_BUCKETS[0] == 0.01
    assert GENAI_DURATION_BUCKETS[-1] == pytest.approx(81.92)
    assert tuple(4.0**power for power in range(14)) == GENAI_TOKEN_BUCKETS


def test_families_are_described() -> None:
    """What a rule makes has a sentence and a unit for the page."""
    registry = derived(
        Event("model.completed", data={"model": "m", "cost_usd": 1, "input_tokens": 1, "duration_s": 1.0})
    )
    found = {family.name: family.description for family in registry.families()}
    assert all(found.values())
    assert {name: about.unit for name, about in found.items() if about and about.unit} == {
        "model_latency_seconds": "seconds",
        "gen_ai_client_operation_duration_seconds": "seconds",
        "model_tokens_total": "tokens",
        "model_cost_usd_total": "usd",
    }


def test_every_rule_is_documented() -> None:
    """The page on metrics has each derived metric with its labels, its name in the conventions, and the version."""
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    for rule in RULES:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{rule.name}` |")]
        for label, _ in rule.labels:
            assert f"`{label}`" in row or "the same" in row or "the first three" in row, (rule.name, label)
        assert f"`{rule.convention}`" in row or not rule.convention
    assert f"now {RULES_VERSION})" in page
