"""Window: percentiles of the last minute, in bounded memory."""

import math

import pytest

from sonde.clock import ManualClock
from sonde.errors import ConfigError
from sonde.metrics import Histogram, Window


def test_it_covers_what_it_says() -> None:
    """Less than its length at first; then what is older is forgotten, and the figures are of what was lately."""
    clock, latency = ManualClock(), Histogram("x_seconds")
    latency.observe(100.0)  # before the window began
    window = Window(latency, clock=clock)
    assert (window.read().count, window.read().covered_s, window.read().rate_per_s) == (0, 0.0, 0.0)
    for _ in range(30):
        latency.observe(1.0)
    clock.advance(15)
    first = window.read()
    assert (first.count, first.sum, first.covered_s, first.rate_per_s) == (30, 30.0, 15.0, 2.0)
    for value in (2.0, 3.0, 4.0, 5.0):
        latency.observe(value)
    clock.advance(60)
    second = window.read()
    assert (second.count, second.sum, second.covered_s) == (4, 14.0, 60.0)
    assert [second.p50, second.p90, second.p99, second.percentile(0.75)] == pytest.approx([3, 5, 5, 4], rel=0.01)
    clock.advance(1)
    assert (window.read().count, window.read().covered_s) == (4, 61.0)
    clock.advance(60)
    assert (window.read().count, window.read().covered_s, window.read().p99) == (0, 60.0, 0.0)
    assert latency.count == 35


@pytest.mark.parametrize("per_second", [0.01, 1, 7, 50])
def test_any_reading_rate_is_as_good(per_second: float) -> None:
    """Read seldom or often, memory is bounded, and the span is a minute and at most a slice or an interval more."""
    clock, latency = ManualClock(), Histogram("x_seconds")
    window = Window(latency, clock=clock)
    interval_s = 1 / per_second
    for n in range(round(max(200 * per_second, 5))):
        latency.observe(float(n))
        clock.advance(interval_s)
        reading = window.read()
        now_s = clock.monotonic_s()
        assert min(now_s, 60) - 1e-6 <= reading.covered_s <= max(60 + 1 + interval_s, interval_s) + 1e-6
        assert reading.count == round(reading.covered_s * per_second)
        assert reading.rate_per_s == pytest.approx(per_second)
        assert len(window._slices) <= 61


def test_windows_do_not_disturb_each_other() -> None:
    """Two windows of different lengths on one histogram, read at different times."""
    clock, latency = ManualClock(), Histogram("x_seconds")
    short, long = Window(latency, seconds=5, clock=clock), Window(latency, seconds=50, clock=clock)
    for _ in range(20):
        latency.observe(1.0)
        clock.advance(1)
        assert short.read().count <= 6
    assert long.read().count == 20
    assert short.read().covered_s == pytest.approx(5, abs=0.1)


def test_while_nothing_is_observed_nothing_is_kept() -> None:
    """One snapshot stands for all slices of an idle time."""
    clock, latency = ManualClock(), Histogram("x_seconds")
    latency.observe(1.0)
    window = Window(latency, clock=clock)
    for _ in range(100):
        clock.advance(1)
        window.read()
    assert len({id(slice_.before) for slice_ in window._slices}) == 1


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_it_looks_back_a_while(seconds: float) -> None:
    """Other lengths are an error that says so."""
    with pytest.raises(ConfigError, match="a finite number above 0 is expected"):
        Window(Histogram("x"), seconds=seconds)
