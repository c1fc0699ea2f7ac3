"""Sinks: where a fact is counted, as the rules say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sonde.errors import ConfigError, MetricTypeError
from sonde.metrics.labels import OVERFLOW_LABELS
from sonde.metrics.metric import FAILURES, MetricType
from sonde.metrics.registry import Registry
from sonde.metrics.rules import RULES, TERMS, Fact, Rule

MAX_SINKS = 5_000
"""Combinations of terms of a fact whose series are kept at hand; the registry finds the others each time."""

Sink = Callable[[float], None]


class Sinks(dict[tuple[str, ...], tuple[Sink, ...]]):
    """What counts one fact in a registry, by the fact's terms: one sink for each of its rules.

    Terms are those of the table ``TERMS``; an empty one is left open. A dictionary, since looking one up is most of the
    cost. For one thread at a time. Never raises: where the user has a metric of a rule's name, of another type, theirs
    stays, and that is logged.

    >>> failures = Sinks(Registry(), Fact.FAILURE)
    >>> for count in failures["tool", "TimeoutError"]:
    ...     count(1)
    >>> print(*failures.registry.counters())
    operation_failures_total{error_type=TimeoutError,kind=tool} 1
    """

    def __init__(self, registry: Registry, fact: Fact) -> None:
        super().__init__()
        self.registry = registry
        self.series: dict[tuple[str, ...], tuple[Any, ...]] = {}
        """The counters and histograms of the sinks at hand."""
        self._fact = fact
        self._rules = [rule for rule in RULES if rule.fact is fact]

    def __missing__(self, terms: tuple[str, ...]) -> tuple[Sink, ...]:
        said = dict(zip(TERMS[self._fact], terms, strict=True))
        found: list[Sink] = []
        of_sinks: list[Any] = []
        is_overflow = False
        for rule in self._rules:
            labels = {label: said[term] for label, term in rule.labels if said[term]}
            try:
                series = self._series_of(rule, labels)
            except (ConfigError, MetricTypeError) as error:
                FAILURES.add(f"derived {rule.name}", f"cannot derive metric {rule.name} from events: {error}")
                continue
            found.append(series.observe if rule.type is MetricType.HISTOGRAM else series.inc)
            of_sinks.append(series)
            is_overflow = is_overflow or series.labels == OVERFLOW_LABELS
        sinks = tuple(found)
        if not is_overflow and len(self) < MAX_SINKS:  # the registry counts each time that it has no room
            self[terms] = sinks
            self.series[terms] = tuple(of_sinks)
        return sinks

    def _series_of(self, rule: Rule, labels: dict[str, str]) -> Any:
        registry = self.registry
        if registry.description(rule.name) is None:
            registry.describe(rule.name, rule.help, rule.unit)
        if rule.type is MetricType.HISTOGRAM:
            return registry.histogram(rule.name, labels, rule.buckets)
        make = registry.gauge if rule.type is MetricType.GAUGE else registry.counter
        return make(rule.name, labels)
