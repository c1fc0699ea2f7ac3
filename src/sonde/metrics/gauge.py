"""Gauge: a number that goes up and down."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from sonde.metrics.journal import CHUNK, Journal
from sonde.metrics.labels import Labels, series_key, valid_labels, valid_name
from sonde.metrics.metric import MetricType, Rejections, plain_number


def _fold(value: float, amounts: list[Any]) -> float:
    """The last ``set``, which is a tuple of one, and what was added after it."""
    terms: list[float] = []
    for amount in reversed(amounts):
        if isinstance(amount, tuple):
            value = amount[0]
            break
        terms.append(amount)
    if not terms:
        return value
    try:
        return math.fsum((value, *terms))
    except OverflowError:
        return math.copysign(sys.float_info.max, value + sum(terms))


class Gauge:
    """Holds a float that is set, raised and lowered, exactly: no ``inc`` of another thread is lost.

    Any thread and any signal handler may update and read it; nothing blocks, nothing raises. An amount that is not
    finite, or no number at all, changes nothing, is counted in ``rejected`` and logged once.

    >>> load = Gauge("load_ratio")
    >>> load.set(0.5)
    >>> load.inc()
    >>> load.get()
    1.5
    >>> str(load)
    'load_ratio 1.5'
    """

    __slots__ = ("_journal", "_rejections", "labels", "name")

    type = MetricType.GAUGE

    def __init__(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Name and labels are checked: :class:`~sonde.errors.ConfigError`."""
        self.name: str = valid_name(name)
        self.labels: Labels = valid_labels(labels)
        self._journal: Journal[float] = Journal(0.0, _fold)
        self._rejections = Rejections(series_key(self.name, self.labels))

    def set(self, v: float) -> None:
        """Hold ``v`` from now on."""
        value = self._admitted(v)
        if value is not None:
            self._append((value,))

    def add(self, n: float) -> None:
        """Raise by ``n``, or lower if it is negative."""
        amount = self._admitted(n)
        if amount is not None:
            self._append(amount)

    def inc(self, n: float = 1) -> None:
        """Raise by ``n``."""
        self.add(n)

    def dec(self, n: float = 1) -> None:
        """Lower by ``n``."""
        amount = self._admitted(n)
        if amount is not None:
            self._append(-amount)

    def get(self) -> float:
        """The value; 0.0 at first."""
        return self._journal.read()

    @property
    def rejected(self) -> int:
        """Updates that changed nothing, since their amount was not allowed."""
        return self._rejections.count

    def to_dict(self) -> dict[str, object]:
        """What ``to_json`` writes, as plain values."""
        return {"labels": dict(self.labels), "name": self.name, "type": str(self.type), "value": self.get()}

    def to_json(self) -> bytes:
        """The original's JSON: labels, name, type, value."""
        return msgspec.json.encode(self.to_dict())

    def _admitted(self, amount: float) -> float | None:
        try:
            value = float(plain_number(amount))
        except OverflowError:  # an integer past all floats
            value = math.nan
        if math.isfinite(value):
            return value
        self._rejections.add(amount, "a finite number")
        return None

    def _append(self, amount: float | tuple[float]) -> None:
        entries = self._journal.entries
        entries.append(amount)
        if len(entries) > CHUNK:
            self._journal.shorten()

    def __str__(self) -> str:
        return f"{series_key(self.name, self.labels)} {self.get()}"

    def __repr__(self) -> str:
        return f"<Gauge {self}>"
