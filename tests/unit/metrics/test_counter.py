"""Counter: exact totals, and amounts that it does not take."""

import logging
import sys
from decimal import Decimal
from fractions import Fraction
from typing import NoReturn
from uuid import uuid4

import msgspec
import numpy
import pytest

from sonde.errors import ConfigError
from sonde.metrics import Counter, MetricType


def test_ones_and_other_amounts_are_one_total() -> None:
    """All that is added is in the total, which stays an integer; 0 is an amount, too."""
    counter = Counter("calls_total")
    for _ in range(2_000):
        counter.inc()
        counter.inc(3)
        counter.add(0)
    assert counter.get() == 8_000
    assert isinstance(counter.get(), int)
    assert counter.rejected == 0


def test_floats_do_not_drift() -> None:
    """A tenth added 10,000 times is 1,000 to the last digits, integers beside it."""
    counter = Counter("cost_usd_total")
    for _ in range(10_000):
        counter.inc(0.1)
    counter.inc()
    assert counter.get() == pytest.approx(1_001, rel=1e-14)


def test_whole_amounts_are_exact_past_what_a_float_holds() -> None:
    """Integers add up exactly above 2^53."""
    counter = Counter("bytes_total")
    counter.add(2**60)
    counter.inc()
    assert counter.get() == 2**60 + 1


def test_a_total_past_the_largest_float_stays_there() -> None:
    """Amounts that are finite never make a total that isn't."""
    counter = Counter("x")
    for amount in (sys.float_info.max, sys.float_info.max, 10**308, 10**308):
        counter.add(amount)
    assert counter.get() == sys.float_info.max


class Foreign:
    """A number of somebody else, with faults."""

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]

    def __float__(self) -> float:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "amount", [-1, -0.5, float("nan"), float("inf"), 10**400, "3", b"3", None, 1j, object(), Foreign()]
)
def test_what_is_no_amount_changes_nothing(amount: object, caplog: pytest.LogCaptureFixture) -> None:
    """Such an update is counted as rejected, logged once for the metric, and never raises."""
    counter = Counter(f"calls_{uuid4().hex}")
    counter.inc(2)
    with caplog.at_level(logging.WARNING, "sonde"):
        for _ in range(3):
            counter.inc(amount)  # type: ignore[arg-type]
    assert (counter.get(), counter.rejected) == (2, 3)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "expected a finite number, 0 or more" in line
    assert counter.name in line


class Vain(int):
    """An integer that nobody may add to another."""

    def __add__(self, other: object) -> NoReturn:
        raise ZeroDivisionError

    __radd__ = __add__


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (numpy.int64(2**62 + 1), 2**62 + 1),
        (numpy.uint8(3), 3),
        (numpy.float32(0.5), 0.5),
        (numpy.bool_(True), 1.0),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 8), 0.125),
        (True, 1),
        (Vain(7), 7),
    ],
    ids=repr,
)
def test_numbers_of_other_kinds_count_as_they_are(amount: float, expected: float) -> None:
    """Exactly, if they are whole; and none of their code runs when somebody reads."""
    counter = Counter("calls_total")
    counter.add(amount)
    counter.inc(0 * expected)
    assert counter.get() == expected
    assert isinstance(counter.get(), type(expected))
    assert msgspec.json.decode(counter.to_json())["value"] == expected


def test_it_goes_on_from_any_total() -> None:
    """From one that no single amount may be, too, and in the kind of number that it was."""
    assert Counter.from_total("x", None, 10**400).get() == 10**400
    counter = Counter.from_total("x", {"a": "b"}, 2.5)
    counter.inc()
    assert (counter.get(), dict(counter.labels)) == (3.5, {"a": "b"})


def test_it_shows_name_labels_and_value() -> None:
    """As text and as the original's JSON."""
    counter = Counter("calls_total", {"tool": "a", "agent": "b"})
    counter.inc()
    assert str(counter) == "calls_total{agent=b,tool=a} 1"
    assert counter.type is MetricType.COUNTER
    assert msgspec.json.decode(counter.to_json()) == {
        "labels": {"agent": "b", "tool": "a"},
        "name": "calls_total",
        "type": "counter",
        "value": 1,
    }


@pytest.mark.parametrize("name", ["", "1st", "with space", "dash-ed", "ünicode", "a\n", None])
def test_a_name_says_what_is_allowed(name: str) -> None:
    """A wrong name is an error that tells the right ones."""
    with pytest.raises(ConfigError, match="letters, digits, '_' and ':' are allowed"):
        Counter(name)


@pytest.mark.parametrize("label", ["", "1st", "a-b", "__name__", "a:b", 7])
def test_a_label_says_what_is_allowed(label: str) -> None:
    """A wrong label name is an error that tells the right ones."""
    with pytest.raises(ConfigError, match="letters, digits and '_' are allowed"):
        Counter("calls_total", {label: "x"})


def test_a_label_value_is_text() -> None:
    """Other values are an error that tells the remedy."""
    with pytest.raises(ConfigError, match=r"use str\(\)"):
        Counter("calls_total", {"tool": 7})  # type: ignore[dict-item]


def test_labels_cannot_be_changed() -> None:
    """Neither through the metric, nor through the mapping that it was made of."""
    labels = {"tool": "a"}
    counter = Counter("calls_total", labels)
    labels["tool"] = "b"
    assert counter.labels == {"tool": "a"}
    with pytest.raises(TypeError):
        counter.labels["tool"] = "b"  # type: ignore[index]
