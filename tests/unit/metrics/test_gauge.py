"""Gauge: a float that goes up and down."""

import msgspec
import pytest

from sonde.metrics import Gauge, MetricType


def test_it_holds_floats() -> None:
    """Fractions stay, and updates after a set count from it, also past many of them."""
    gauge = Gauge("load_ratio")
    assert gauge.get() == 0.0
    for n in range(2_000):
        gauge.set(n + 0.25)
        gauge.inc()
        gauge.dec(0.5)
        gauge.add(-2)
    assert gauge.get() == 1999.25 + 1 - 0.5 - 2


@pytest.mark.parametrize("amount", [float("nan"), float("-inf"), 10**400, "3", None])
def test_what_is_no_number_changes_nothing(amount: object) -> None:
    """Each way in rejects it and counts that."""
    gauge = Gauge("load_ratio")
    gauge.set(1.5)
    for update in (gauge.set, gauge.add, gauge.inc, gauge.dec):
        update(amount)  # type: ignore[arg-type]
    assert (gauge.get(), gauge.rejected) == (1.5, 4)


def test_it_stays_finite() -> None:
    """A sum past the largest float stays at it."""
    gauge = Gauge("x")
    for _ in range(3):
        gauge.dec(1.7e308)
    assert -1.8e308 < gauge.get() < -1.7e308


def test_it_shows_name_and_value() -> None:
    """As text and as the original's JSON."""
    gauge = Gauge("load_ratio")
    gauge.set(0.5)
    assert str(gauge) == "load_ratio 0.5"
    assert gauge.type is MetricType.GAUGE
    assert msgspec.json.decode(gauge.to_json()) == {"labels": {}, "name": "load_ratio", "type": "gauge", "value": 0.5}
