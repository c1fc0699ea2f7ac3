"""Counter: a number that only grows."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from sonde.metrics.journal import CHUNK, Journal
from sonde.metrics.labels import Labels, series_key, valid_labels, valid_name
from sonde.metrics.metric import MetricType, Rejections, plain_number
from sonde.tally import Tally

_ONE: float = 1
_LARGEST = sys.float_info.max


class _Total(NamedTuple):
    whole: int = 0
    parts: float | None = None


def _fold(total: _Total, amounts: list[Any]) -> _Total:
    floats = [amount for amount in amounts if isinstance(amount, float)]
    whole = total.whole + sum(amount for amount in amounts if not isinstance(amount, float))
    if not floats:
        return _Total(whole, total.parts)
    try:
        return _Total(whole, math.fsum((total.parts or 0.0, *floats)))
    except OverflowError:
        return _Total(whole, sys.float_info.max)


class Counter:
    """Counts up, exactly: integers to a total without limit, floats added with one rounding for each 512.

    Any thread and any signal handler may update and read it; nothing blocks, nothing raises. A negative or non-finite
    amount, or no number at all, changes nothing, is counted in ``rejected`` and logged once; an integer above the
    largest float is such a one, too. A float total past the largest float stays there.

    >>> calls = Counter("tool_calls_total", {"tool_name": "read_file"})
    >>> calls.inc()
    >>> calls.add(2)
    >>> calls.get()
    3
    >>> str(calls)
    'tool_calls_total{tool_name=read_file} 3'
    """

    __slots__ = ("_journal", "_ones", "_rejections", "_tally", "labels", "name")

    type = MetricType.COUNTER

    def __init__(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Name and labels are checked: :class:`~sonde.errors.ConfigError`."""
        self.name: str = valid_name(name)
        self.labels: Labels = valid_labels(labels)
        # Ones, by far the most frequent amount, are a call into C and leave nothing to fold.
        self._tally = Tally()
        self._ones = self._tally.increment
        self._journal: Journal[_Total] = Journal(_Total(), _fold)
        self._rejections = Rejections(series_key(self.name, self.labels))

    @classmethod
    def from_total(cls, name: str, labels: Mapping[str, str] | None, total: float) -> Counter:
        """A counter that has counted ``total``, and goes on from there: a total may be more than any amount."""
        made = cls(name, labels)
        start = _Total(total) if isinstance(total, int) else _Total(0, total)
        made._journal = Journal(start, _fold)
        return made

    def inc(self, n: float = 1) -> None:
        """Add ``n``."""
        # Told by identity, since comparing may run foreign code; small integers are one object each in CPython, and
        # elsewhere add() counts the same.
        if n is _ONE:
            self._ones()
        else:
            self.add(n)

    def add(self, n: float) -> None:
        """Add ``n``, which may be 0."""
        amount = n if n.__class__ is float or n.__class__ is int else plain_number(n)
        if not 0 <= amount <= _LARGEST:
            self._rejections.add(n, "a finite number, 0 or more")
            return
        entries = self._journal.entries
        entries.append(amount)
        if len(entries) > CHUNK:
            self._journal.shorten()

    def get(self) -> int | float:
        """The total: an ``int`` as long as only integers were added."""
        whole, parts = self._journal.read()
        whole += self._tally.value
        if parts is None:
            return whole
        try:
            total = whole + parts
        except OverflowError:
            return sys.float_info.max
        return min(total, sys.float_info.max)

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

    def __str__(self) -> str:
        return f"{series_key(self.name, self.labels)} {self.get()}"

    def __repr__(self) -> str:
        return f"<Counter {self}>"
