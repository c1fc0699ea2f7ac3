"""Histogram: buckets, sum, and percentiles within 1 % of nearest rank."""

import math
import random
import sys
from collections.abc import Callable

import msgspec
import numpy
import pytest

from sonde.errors import ConfigError
from sonde.metrics import DEFAULT_HISTOGRAM_BUCKETS, Histogram, MetricType

SAMPLES: dict[str, Callable[[random.Random], float]] = {
    "lognormal": lambda rng: rng.lognormvariate(-3, 1.5),
    "pareto": lambda rng: rng.paretovariate(1.1),
    "constant": lambda _: 0.0123,
    "mixed": lambda rng: 10 ** rng.uniform(-9, 9),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_percentiles_are_within_one_percent(sample: str) -> None:
    """Of what numpy says, for short tails and long ones, and over 18 orders of magnitude."""
    rng = random.Random(sample)
    values = [SAMPLES[sample](rng) for _ in range(20_000)]
    histogram = Histogram("x")
    for value in values:
        histogram.observe(value)
    for percent in (0, 1, 50, 90, 99, 99.9, 100):
        expected = numpy.percentile(values, percent, method="inverted_cdf")
        # Divided as numpy does: 99.9 / 100 is not 0.999, and of 20,000 values it is one rank further.
        assert histogram.percentile(percent / 100) == pytest.approx(expected, rel=0.01, abs=0)
    expected = numpy.quantile(values, 0.999, method="inverted_cdf")
    assert histogram.percentile(0.999) == pytest.approx(expected, rel=0.01, abs=0)
    assert histogram.relative_error < 0.01
    assert (histogram.p50, histogram.p90, histogram.p99) == tuple(map(histogram.percentile, (0.5, 0.9, 0.99)))
    assert histogram.sum == pytest.approx(math.fsum(values), rel=1e-12)


def test_a_constant_is_exact() -> None:
    """No percentile is outside of what was seen."""
    histogram = Histogram("x")
    for _ in range(1_000):
        histogram.observe(0.0123)
    assert histogram.p50 == histogram.p99 == 0.0123


def test_past_its_range_it_says_how_wrong_it_may_be() -> None:
    """The bins stay within their number, and percentiles within the error that is reported."""
    histogram = Histogram("x")
    values = sorted([5e-324, 1e-300, 1e-9, 1.0, 3.0, 1e9, 1e300, sys.float_info.max])
    for value in values:
        histogram.observe(value)
    error = histogram.relative_error
    assert 0.01 < error < 0.5
    assert len(histogram.snapshot().sketch.bins) <= 4_096
    for rank, value in enumerate(values, 1):
        # Subnormal numbers have few digits.
        assert histogram.percentile(rank / 8) == pytest.approx(value, rel=error * (1 + 1e-9), abs=1e-323)
    assert histogram.sum == sys.float_info.max


def test_bounds_are_in_their_buckets() -> None:
    """A value equal to a bound is at or below it; the last bucket is infinite and has all."""
    histogram = Histogram("x", buckets=[1, 2, math.inf])
    for value in (0.5, 1, 1.5, 2, 2.5, 9):
        histogram.observe(value)
    assert histogram.buckets() == {1.0: 2, 2.0: 4, math.inf: 6}
    assert list(histogram.buckets())[-1] == math.inf


def test_default_buckets_are_the_originals() -> None:
    """Twelve bounds, from 1 ms to 10 s."""
    assert len(DEFAULT_HISTOGRAM_BUCKETS) == 12
    assert (DEFAULT_HISTOGRAM_BUCKETS[0], DEFAULT_HISTOGRAM_BUCKETS[-1]) == (0.001, 10.0)
    assert [*Histogram("x").buckets()] == [*DEFAULT_HISTOGRAM_BUCKETS, math.inf]


@pytest.mark.parametrize("buckets", [[2, 1], [1, 1], [math.nan], [-math.inf, 1], [math.inf, math.inf]])
def test_buckets_ascend(buckets: list[float]) -> None:
    """Others are an error that says so."""
    with pytest.raises(ConfigError, match="each above the one before"):
        Histogram("x", buckets=buckets)


def test_the_label_of_buckets_is_reserved() -> None:
    """``le`` would be twice in a Prometheus page."""
    with pytest.raises(ConfigError, match="le is the metric's own"):
        Histogram("x", {"le": "1"})


def test_a_negative_value_counts_as_zero() -> None:
    """It is in all buckets and adds nothing to the sum."""
    histogram = Histogram("x", buckets=[1])
    histogram.observe(-5)
    histogram.observe(3)
    assert (histogram.count, histogram.sum, histogram.buckets()) == (2, 3.0, {1.0: 1, math.inf: 2})
    assert histogram.percentile(0.5) == 0.0
    assert histogram.rejected == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, "3", None])
def test_what_is_no_number_changes_nothing(value: object) -> None:
    """It is rejected and counted as such, and the sum is not poisoned."""
    histogram = Histogram("x")
    histogram.observe(1)
    histogram.observe(value)  # type: ignore[arg-type]
    assert (histogram.count, histogram.sum, histogram.rejected) == (1, 1.0, 1)


def test_no_answer_is_zero() -> None:
    """There is no percentile without values, or outside 0..1."""
    histogram = Histogram("x")
    assert (histogram.p50, histogram.count, histogram.sum) == (0.0, 0, 0.0)
    histogram.observe(1)
    assert [histogram.percentile(p) for p in (-0.1, 1.1, math.nan)] == [0.0, 0.0, 0.0]


def test_it_shows_its_figures() -> None:
    """As text and as the original's JSON."""
    histogram = Histogram("x_seconds", {"tool": "a"}, [1.0])
    histogram.observe(0.5)
    assert str(histogram) == "x_seconds{tool=a} count=1 sum=0.5 p50=0.5 p90=0.5 p99=0.5"
    assert histogram.type is MetricType.HISTOGRAM
    assert msgspec.json.decode(histogram.to_json()) == {
        "buckets": [1, 1],
        "count": 1,
        "labels": {"tool": "a"},
        "name": "x_seconds",
        "p50": 0.5,
        "p90": 0.5,
        "p99": 0.5,
        "sum": 0.5,
        "type": "histogram",
    }
