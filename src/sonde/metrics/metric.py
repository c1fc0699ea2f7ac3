"""Metric: what counters, gauges and histograms have in common."""

from __future__ import annotations

import math
from enum import StrEnum
from operator import index
from typing import Any, Protocol

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


def plain_number(amount: Any) -> int | float:
    """A number of any kind as one of Python's own, exactly if it is whole; NaN for what is no number. Never raises.

    What metrics keep is added up later, by whoever reads: no foreign class may run its code there. Text is no number,
    although ``float`` reads it.

    >>> from decimal import Decimal
    >>> plain_number(Decimal("0.5")), plain_number(True), plain_number("3")
    (0.5, 1, nan)
    """
    if amount.__class__ is int or amount.__class__ is float:
        return amount  # by far the most frequent
    try:
        if isinstance(amount, str | bytes | bytearray):
            return math.nan
        # numpy's integers and the like have __index__, which keeps what a float would round.
        return index(amount) if hasattr(amount, "__index__") else float(amount)
    except Exception:  # noqa: BLE001 - a foreign number runs its own code, and may raise what it likes
        return math.nan


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
