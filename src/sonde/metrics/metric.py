"""Metric: what counters, gauges and histograms have in common."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Protocol

from sonde.failures import FailureLog
from sonde.metrics.labels import Labels
from sonde.tally import Tally

FAILURES = FailureLog(interval_s=math.inf)
"""What went wrong with metrics; each kind is logged once in the process."""


class MetricType(StrEnum):
    """The kind of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(Protocol):
    """A named figure. All methods are safe in any thread, in signal handlers and after ``fork``, and never block."""

    @property
    def name(self) -> str:
        """What is measured."""
        ...

    @property
    def type(self) -> MetricType:
        """The kind."""
        ...

    @property
    def labels(self) -> Labels:
        """What tells it from other series of the same name; it cannot be changed."""
        ...

    @property
    def rejected(self) -> int:
        """Updates that changed nothing, since their amount was not allowed."""
        ...

    def to_dict(self) -> dict[str, object]:
        """What ``to_json`` writes, as plain values."""
        ...

    def to_json(self) -> bytes:
        """The original's JSON, keys sorted."""
        ...


class Rejections:
    """Counts the updates that a metric did not take, and logs the first."""

    __slots__ = ("_key", "_tally")

    def __init__(self, key: str) -> None:
        self._key = key
        self._tally = Tally()

    @property
    def count(self) -> int:
        """How many there were."""
        return self._tally.value

    def add(self, amount: object, expected: str) -> None:
        """Count one; never raises."""
        if self._tally.increment() == 0:
            # ascii() of foreign objects runs their code, so only numbers are shown.
            shown = ascii(amount)[:40] if isinstance(amount, int | float) else type(amount).__name__
            FAILURES.add(
                f"rejected {self._key}",
                f"metric {self._key} rejected {shown}: expected {expected}; more of these are only counted (.rejected)",
            )
