"""Sums: what sessions add up to, one after the other."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sonde.cli.plots import LogAxis
from sonde.cli.timeline import Timeline
from sonde.events import RecordedEvent
from sonde.query import CostTotal, Durations, Operation, OperationTotal, Session, Status

_MODEL = "model"
_WRITTEN = ("output_tokens", "reasoning_tokens")


class OperationSum(NamedTuple):
    """All operations of one kind and name.

    ``counts`` are their durations by the cells of the axis that all of them share; ``time_ratio`` is what part of the
    sessions' time their durations are, ``None`` where that took none. What runs in parallel may come to more than 1.
    """

    total: OperationTotal
    counts: list[int]
    time_ratio: float | None


class ModelSum(NamedTuple):
    """All calls of one model. Ratios are of the totals over all models, ``None`` where those are unknown or 0.

    ``tokens_per_s`` are output and reasoning tokens over the seconds of the calls that state both.
    """

    model: str
    tokens: dict[str, int]
    cost: CostTotal
    calls: int
    latency: Durations
    counts: list[int]
    ttft: Durations
    tokens_per_s: float | None
    tokens_ratio: float | None
    cost_ratio: float | None


class _Calls:
    """What is kept of the calls of one model."""

    def __init__(self) -> None:
        self.number = 0
        self.latencies_s = array("d")
        self.ttfts_s = array("d")
        self.written = 0
        self.writing_s = 0.0

    def add(self, operation: Operation) -> None:
        self.number += 1
        latency_s = operation.duration_s
        if latency_s is not None:
            self.latencies_s.append(latency_s)
            written = sum(operation.tokens.get(key, 0) for key in _WRITTEN)
            if written and latency_s > 0:
                self.written += written
                self.writing_s += latency_s
        ttft_s = operation.end_data.get("ttft_s")
        if isinstance(ttft_s, int | float) and not isinstance(ttft_s, bool) and 0 <= ttft_s < math.inf:
            self.ttfts_s.append(ttft_s)


class Sums:
    """Adds up sessions, one after the other: of all that it holds only the durations grow with the store."""

    def __init__(self) -> None:
        """Nothing added yet."""
        self.sessions = self.events = self.operations = self.failures = self.missed = self.removed = 0
        self.missed_bound = ""
        self.session_s = 0.0
        self._shortest_s, self._longest_s = math.inf, 0.0
        self.types: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.cost = CostTotal()
        self.timeline = Timeline()
        self._tokens_by_model: dict[str, Counter[str]] = {}
        self._cost_by_model: dict[str, CostTotal] = {}
        self._calls_by_model: dict[str, _Calls] = {}
        self._statuses: dict[tuple[str, str], Counter[Status]] = {}
        self._durations_s: dict[tuple[str, str], array[float]] = {}

    def counted(self, events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent]:
        """The same events, counted by type and time on their way."""
        for event in events:
            self.types[event.type] += 1
            self.timeline.add(event.time_ns)
            self.events += 1
            yield event

    def add(self, session: Session) -> None:
        """Add a session."""
        summary, totals = session.summary, session.totals
        self.sessions += 1
        self.session_s += summary.duration_s
        self.operations += summary.operations
        self.failures += summary.failures
        self.missed += summary.missed
        self.missed_bound = max(self.missed_bound, summary.missed_bound)  # "some" is the weakest
        self.removed += summary.removed
        self.tokens.update(totals.tokens)
        self.cost = _sum(self.cost, totals.cost)
        for model, tokens in totals.tokens_by_model.items():
            self._tokens_by_model.setdefault(model, Counter()).update(tokens)
        for model, cost in totals.cost_by_model.items():
            self._cost_by_model[model] = _sum(self._cost_by_model.get(model, CostTotal()), cost)
        for operation in session.tree.operations:
            self._add_operation(operation)

    def _add_operation(self, operation: Operation) -> None:
        kind = operation.kind
        key = (kind, "" if kind == "session" else operation.name)
        self._statuses.setdefault(key, Counter())[operation.status] += 1
        durations = self._durations_s.setdefault(key, array("d"))
        duration_s = operation.duration_s
        if duration_s is not None:
            durations.append(duration_s)
            if duration_s > 0:
                self._shortest_s = min(self._shortest_s, duration_s)
                self._longest_s = max(self._longest_s, duration_s)
        if kind.rpartition(".")[2] == _MODEL:
            # The end may know the model better than the start did; tokens and cost are booked under its name, too.
            stated = operation.end_data.get("model")
            name = stated if isinstance(stated, str) and stated else operation.name
            self._calls_by_model.setdefault(name, _Calls()).add(operation)

    def axis(self) -> LogAxis:
        """The axis of all durations."""
        return LogAxis.over([self._shortest_s, self._longest_s] if self._longest_s else [])

    def by_operation(self) -> list[OperationSum]:
        """By kind and name, the most frequent first."""
        axis = self.axis()
        sums = []
        for (kind, name), statuses in self._statuses.items():
            ordered = sorted(self._durations_s[kind, name])
            durations = Durations.of(ordered)
            ratio = durations.sum_s / self.session_s if self.session_s else None
            sums.append(
                OperationSum(OperationTotal(kind, name, dict(statuses), durations), axis.counts(ordered), ratio)
            )
        return sorted(sums, key=lambda one: (-one.total.count, one.total.kind, one.total.name))

    def by_model(self) -> list[ModelSum]:
        """By model, the most tokens first."""
        axis = self.axis()
        names = {*self._tokens_by_model, *self._cost_by_model, *self._calls_by_model}
        return sorted(
            (self._model_sum(name, axis) for name in names), key=lambda one: (-sum(one.tokens.values()), one.model)
        )

    def _model_sum(self, model: str, axis: LogAxis) -> ModelSum:
        tokens = dict(self._tokens_by_model.get(model, {}))
        cost = self._cost_by_model.get(model, CostTotal())
        calls = self._calls_by_model.get(model) or _Calls()
        ordered = sorted(calls.latencies_s)
        all_tokens, all_usd = self.tokens.total(), self.cost.usd
        return ModelSum(
            model=model,
            tokens=tokens,
            cost=cost,
            calls=calls.number,
            latency=Durations.of(ordered),
            counts=axis.counts(ordered),
            ttft=Durations.of(calls.ttfts_s),
            tokens_per_s=calls.written / calls.writing_s if calls.writing_s else None,
            tokens_ratio=sum(tokens.values()) / all_tokens if all_tokens else None,
            cost_ratio=cost.usd / all_usd if all_usd and cost.usd is not None else None,
        )


def _sum(one: CostTotal, other: CostTotal) -> CostTotal:
    def plus(a: float | None, b: float | None) -> float | None:
        return b if a is None else a if b is None else a + b

    return CostTotal(
        plus(one.reported_usd, other.reported_usd),
        plus(one.computed_usd, other.computed_usd),
        one.unknown_calls + other.unknown_calls,
    )
