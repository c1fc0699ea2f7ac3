"""Sinks: where a fact is counted, as the rules say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sonde.errors import ConfigError, MetricTypeError
from sonde.metrics.labels import OVERFLOW_LABELS
from sonde.metrics.metric import FAILURES, MetricType
from sonde.metrics.registry import Registry
from sonde.metrics.rules import RULES, TERMS, Fact, Rule

MAX_SINKS = 10_000
"""Combinations of a fact and its terms whose series are kept at hand; the registry finds the others each time."""

_Sink = Callable[[float], None]


class Sinks:
    """Counts facts in a registry: each by all of its rules. For one thread at a time.

    >>> sinks = Sinks(Registry())
    >>> sinks.count(Fact.FAILURE, ("tool", "TimeoutError"), 1)
    >>> print(*sinks.registry.counters())
    operation_failures_total{error_type=TimeoutError,kind=tool} 1
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._sinks: dict[tuple[Fact, tuple[str, ...]], list[_Sink]] = {}

    def count(self, fact: Fact, terms: tuple[str, ...], value: float) -> None:
        """Add ``value``, or observe it; ``terms`` are those of the table ``TERMS``, and an empty one is left open.

        Never raises: where the user has a metric of a rule's name, of another type, theirs stays, and that is logged.
        """
        sinks = self._sinks.get((fact, terms))
        if sinks is None:
            sinks = self._open(fact, terms)
        for take in sinks:
            take(value)

    def _open(self, fact: Fact, terms: tuple[str, ...]) -> list[_Sink]:
        said = dict(zip(TERMS[fact], terms, strict=True))
        sinks: list[_Sink] = []
        is_overflow = False
        for rule in _RULES_OF[fact]:
            labels = {label: said[term] for label, term in rule.labels if said[term]}
            try:
                series = self._series(rule, labels)
            except (ConfigError, MetricTypeError) as error:
                FAILURES.add(f"derived {rule.name}", f"cannot derive metric {rule.name} from events: {error}")
                continue
            sinks.append(series.observe if rule.type is MetricType.HISTOGRAM else series.inc)
            is_overflow = is_overflow or series.labels == OVERFLOW_LABELS
        if not is_overflow and len(self._sinks) < MAX_SINKS:  # the registry counts each time that it has no room
            self._sinks[fact, terms] = sinks
        return sinks

    def _series(self, rule: Rule, labels: dict[str, str]) -> Any:
        registry = self.registry
        if registry.description(rule.name) is None:
            registry.describe(rule.name, rule.help, rule.unit)
        if rule.type is MetricType.HISTOGRAM:
            return registry.histogram(rule.name, labels, rule.buckets)
        return (
            registry.gauge(rule.name, labels) if rule.type is MetricType.GAUGE else registry.counter(rule.name, labels)
        )


_RULES_OF = {fact: tuple(rule for rule in RULES if rule.fact is fact) for fact in Fact}
