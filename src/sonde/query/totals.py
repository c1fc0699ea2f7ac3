"""Totals: tokens, cost, counts and durations, summed over events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from sonde.events import Event, EventType, RecordedEvent
from sonde.query.operation import Operation
from sonde.query.operations import OperationTree
from sonde.vocabulary import Cost, Status, add_tokens, cost_of, role_of, tokens_of

_Span = tuple[str, str]


class CostTotal(msgspec.Struct):
    """Cost in US dollars, apart by where the figures come from.

    ``unknown_calls`` counts the completed model calls that state no cost: then ``usd`` is only a part, and ``None``
    where nothing at all is known. Unknown is never zero.
    """

    reported_usd: float | None = None
    computed_usd: float | None = None
    unknown_calls: int = 0

    @property
    def usd(self) -> float | None:
        """What is known, in all; ``None`` if nothing is."""
        known = [part for part in (self.reported_usd, self.computed_usd) if part is not None]
        return math.fsum(known) if known else None

    def add(self, cost: Cost) -> None:
        """Count one figure, or one that is missing."""
        if cost.usd is None:
            self.unknown_calls += 1
        elif cost.source == "computed":
            self.computed_usd = (self.computed_usd or 0.0) + cost.usd
        else:
            self.reported_usd = (self.reported_usd or 0.0) + cost.usd


class Durations(msgspec.Struct, frozen=True):
    """Seconds: exact nearest-rank percentiles of all that is known. All zero, with ``count`` 0, if nothing is."""

    count: int
    sum_s: float
    min_s: float
    max_s: float
    p50_s: float
    p90_s: float
    p99_s: float

    @staticmethod
    def of(durations_s: Iterable[float]) -> Durations:
        """Sum up a list of durations.

        >>> Durations.of([3.0, 1.0, 2.0])
        Durations(count=3, sum_s=6.0, min_s=1.0, max_s=3.0, p50_s=2.0, p90_s=3.0, p99_s=3.0)
        """
        found = sorted(durations_s)
        if not found:
            return Durations(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

        def rank(percent: int) -> float:
            return found[max(0, -(-percent * len(found) // 100) - 1)]

        return Durations(len(found), math.fsum(found), found[0], found[-1], rank(50), rank(90), rank(99))


class OperationTotal(msgspec.Struct):
    """All operations of one kind and name: how many, how they ended, how long they took."""

    kind: str
    name: str
    by_status: dict[Status, int]
    durations: Durations

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.by_status.values())

    @property
    def failures(self) -> int:
        """How many failed."""
        return self.by_status.get(Status.FAILED, 0)


class Totals(msgspec.Struct):
    """What some events add up to. ``tokens`` are by token key, all others by model (``""``: none was named)."""

    events: int
    tokens: dict[str, int]
    tokens_by_model: dict[str, dict[str, int]]
    cost: CostTotal
    cost_by_model: dict[str, CostTotal]
    operations: list[OperationTotal]

    @staticmethod
    def from_events(events: Iterable[Event]) -> Totals:
        """Sum up events, of one session or of many.

        >>> totals = Totals.from_events([
        ...     Event("model.completed", 1, data={"model": "m", "input_tokens": 5}),
        ...     Event("tokens.updated", 2, data={"model": "m", "prompt_tokens": 2}),
        ... ])
        >>> totals.tokens, totals.cost.usd, totals.cost.unknown_calls
        ({'input_tokens': 7}, None, 1)
        """
        kept = list(events)
        return total_usage(kept, total_operations(OperationTree.from_events(kept).operations))


def total_operations(operations: Iterable[Operation]) -> list[OperationTotal]:
    """Counts and durations by kind and name, the most frequent first."""
    statuses: dict[tuple[str, str], dict[Status, int]] = {}
    durations: dict[tuple[str, str], list[float]] = {}
    for operation in operations:
        key = (operation.kind, operation.name)
        by_status = statuses.setdefault(key, {})
        by_status[operation.status] = by_status.get(operation.status, 0) + 1
        known = durations.setdefault(key, [])
        if operation.duration_s is not None:
            known.append(operation.duration_s)
    totals = [
        OperationTotal(kind, name, by_status, Durations.of(durations[kind, name]))
        for (kind, name), by_status in statuses.items()
    ]
    return sorted(totals, key=lambda total: (-total.count, total.kind, total.name))


def total_usage(events: Iterable[Event], operations: list[OperationTotal]) -> Totals:
    """Tokens and cost of events. Increments count only where no model call of the same span states the same."""
    ledger = _Ledger()
    for event in events:
        ledger.add(event)
    return ledger.totals(operations)


class _Ledger:
    def __init__(self) -> None:
        self.events = 0
        self.calls: dict[_Span, _Usage] = {}
        self.loose: list[_Usage] = []  # of calls without a span
        self.increments: list[tuple[_Span, str, str, Mapping[str, object]]] = []  # span, model, type, data

    def add(self, event: Event) -> None:
        self.events += 1
        kind = event.type
        if kind in {EventType.TOKEN_USAGE_UPDATED.value, EventType.COST_UPDATED.value}:
            # What is emitted inside an operation has no span of its own, and the operation as its parent.
            span = (_stream_of(event), event.span_id or event.parent_id)
            self.increments.append((span, _model_of(event), kind, event.data))
            return
        role = role_of(kind)
        if role is None or role.status is None or role.kind.rpartition(".")[2] != "model":
            return
        usage = _Usage(_model_of(event), tokens_of(event.data), cost_of(event.data), role.status is Status.COMPLETED)
        if not event.span_id:
            self.loose.append(usage)
            return
        span = (_stream_of(event), event.span_id)
        known = self.calls.get(span)
        if known is not None:  # two ends of one call, such as model.stream_end and model.completed, are one call
            usage = _Usage(
                usage.model or known.model,
                usage.tokens or known.tokens,
                usage.cost if usage.cost.usd is not None else known.cost,
                known.completed or usage.completed,
            )
        self.calls[span] = usage

    def totals(self, operations: list[OperationTotal]) -> Totals:
        tokens: dict[str, int] = {}
        tokens_by_model: dict[str, dict[str, int]] = {}
        cost = CostTotal()
        cost_by_model: dict[str, CostTotal] = {}

        def count_tokens(model: str, counts: dict[str, int]) -> None:
            if counts:
                add_tokens(tokens, counts)
                add_tokens(tokens_by_model.setdefault(model, {}), counts)

        def count_cost(model: str, figure: Cost) -> None:
            cost.add(figure)
            cost_by_model.setdefault(model, CostTotal()).add(figure)

        priced: set[_Span] = set()  # calls whose cost came as increments
        for span, named, kind, data in self.increments:
            call = self.calls.get(span) if span[1] else None
            model = named or (call.model if call else "")
            if kind == EventType.COST_UPDATED.value:
                figure = cost_of(data)
                if figure.usd is not None and (call is None or call.cost.usd is None):
                    count_cost(model, figure)
                    priced.add(span)
            elif call is None or not call.tokens:
                count_tokens(model, tokens_of(data))
        for span, usage in [*self.calls.items(), *((("", ""), usage) for usage in self.loose)]:
            count_tokens(usage.model, usage.tokens)
            # A call that failed without using anything has no cost that could be unknown.
            if usage.cost.usd is not None or (
                (usage.completed or usage.tokens) and (not span[1] or span not in priced)
            ):
                count_cost(usage.model, usage.cost)
        return Totals(self.events, tokens, tokens_by_model, cost, cost_by_model, operations)


class _Usage(NamedTuple):
    model: str
    tokens: dict[str, int]
    cost: Cost
    completed: bool


def _stream_of(event: Event) -> str:
    return event.stream_id if isinstance(event, RecordedEvent) else event.session_id


def _model_of(event: Event) -> str:
    model = event.data.get("model")
    return model if isinstance(model, str) else ""
