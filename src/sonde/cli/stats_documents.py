"""The documents of ``stats``; see :mod:`sonde.cli.documents`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from sonde.cli.plots import LogAxis
from sonde.cli.sums import ModelSum, OperationSum, Sums

_TIME_PARTS = 60


class TimeDocument(msgspec.Struct, frozen=True):
    """A part of the time, in ``stats``."""

    from_ns: int
    to_ns: int
    count: int


class DurationDocument(msgspec.Struct, frozen=True):
    """A range of durations, in ``stats``."""

    from_s: float
    to_s: float
    count: int


class TotalDocument(msgspec.Struct, frozen=True):
    """The sum of all, the first line of ``stats``."""

    record: str
    sessions: int
    events: int
    operations: int
    failures: int
    missed: int
    removed: int
    tokens: dict[str, int]
    cost_usd: float | None
    cost_reported_usd: float | None
    cost_computed_usd: float | None
    cost_unknown_calls: int
    session_s: float
    events_over_time: list[TimeDocument]


class EventTypeDocument(msgspec.Struct, frozen=True):
    """How many events of a type there are, of ``stats``."""

    record: str
    type: str
    count: int


class OperationKindDocument(msgspec.Struct, frozen=True):
    """All operations of one kind and name, of ``stats``."""

    record: str
    kind: str
    name: str
    count: int
    failures: int
    by_status: dict[str, int]
    timed: int
    sum_s: float
    p50_s: float
    p90_s: float
    p99_s: float
    max_s: float
    time_ratio: float | None
    distribution: list[DurationDocument]


def operation_kind_document(operation: OperationSum, axis: LogAxis) -> OperationKindDocument:
    """The document of one row of totals."""
    total, durations = operation.total, operation.total.durations
    return OperationKindDocument(
        record="operation",
        kind=total.kind,
        name=total.name,
        count=total.count,
        failures=total.failures,
        by_status={status.value: count for status, count in total.by_status.items()},
        timed=durations.count,
        sum_s=durations.sum_s,
        p50_s=durations.p50_s,
        p90_s=durations.p90_s,
        p99_s=durations.p99_s,
        max_s=durations.max_s,
        time_ratio=operation.time_ratio,
        distribution=_distribution(axis, operation.counts),
    )


def _distribution(axis: LogAxis, counts: list[int]) -> list[DurationDocument]:
    parts = zip(axis.bounds[:-1], axis.bounds[1:], counts, strict=True)
    return [DurationDocument(*part) for part in parts] if any(counts) else []


class ModelDocument(msgspec.Struct, frozen=True):
    """What one model used and cost, and how quick it was, of ``stats``."""

    record: str
    model: str
    tokens: dict[str, int]
    cost_usd: float | None
    cost_reported_usd: float | None
    cost_computed_usd: float | None
    cost_unknown_calls: int
    tokens_ratio: float | None
    cost_ratio: float | None
    calls: int
    timed: int
    sum_s: float
    p50_s: float
    p90_s: float
    p99_s: float
    max_s: float
    distribution: list[DurationDocument]
    ttft_timed: int
    ttft_p50_s: float
    ttft_p90_s: float
    ttft_p99_s: float
    tokens_per_s: float | None


def model_document(one: ModelSum, axis: LogAxis) -> ModelDocument:
    """The document of one model."""
    cost, latency, ttft = one.cost, one.latency, one.ttft
    return ModelDocument(
        record="model",
        model=one.model,
        tokens=one.tokens,
        cost_usd=cost.usd,
        cost_reported_usd=cost.reported_usd,
        cost_computed_usd=cost.computed_usd,
        cost_unknown_calls=cost.unknown_calls,
        tokens_ratio=one.tokens_ratio,
        cost_ratio=one.cost_ratio,
        calls=one.calls,
        timed=latency.count,
        sum_s=latency.sum_s,
        p50_s=latency.p50_s,
        p90_s=latency.p90_s,
        p99_s=latency.p99_s,
        max_s=latency.max_s,
        distribution=_distribution(axis, one.counts),
        ttft_timed=ttft.count,
        ttft_p50_s=ttft.p50_s,
        ttft_p90_s=ttft.p90_s,
        ttft_p99_s=ttft.p99_s,
        tokens_per_s=one.tokens_per_s,
    )


def stats_documents(sums: Sums) -> Iterator[TotalDocument | EventTypeDocument | OperationKindDocument | ModelDocument]:
    """What ``stats --json`` prints."""
    cost, axis = sums.cost, sums.axis()
    yield TotalDocument(
        record="total",
        sessions=sums.sessions,
        events=sums.events,
        operations=sums.operations,
        failures=sums.failures,
        missed=sums.missed,
        removed=sums.removed,
        tokens=dict(sums.tokens),
        cost_usd=cost.usd,
        cost_reported_usd=cost.reported_usd,
        cost_computed_usd=cost.computed_usd,
        cost_unknown_calls=cost.unknown_calls,
        session_s=sums.session_s,
        events_over_time=[TimeDocument(*part) for part in sums.timeline.stretches(_TIME_PARTS)],
    )
    for kind, count in sums.types.most_common():
        yield EventTypeDocument("event_type", kind, count)
    for operation in sums.by_operation():
        yield operation_kind_document(operation, axis)
    for model in sums.by_model():
        yield model_document(model, axis)
