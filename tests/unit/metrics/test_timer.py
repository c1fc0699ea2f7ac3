"""Timer: seconds on the monotonic clock."""

from sonde.clock import ManualClock
from sonde.metrics import Histogram, Timer


def test_it_runs_from_its_making_or_start() -> None:
    """It goes on running, and a start begins anew."""
    clock = ManualClock()
    timer = Timer(clock=clock)
    clock.advance(1.5)
    assert timer.elapsed_s == 1.5
    timer.start()
    clock.advance(0.25)
    clock.set_time_ns(0)
    assert timer.elapsed_s == 0.25


def test_a_block_has_its_length() -> None:
    """After the block the timer stands still, and what is observed is the block's length."""
    clock, histogram = ManualClock(), Histogram("x_seconds")
    with Timer(clock=clock) as timer:
        clock.advance(2)
    clock.advance(5)
    assert timer.observe(histogram) == timer.elapsed_s == 2.0
    assert (histogram.count, histogram.sum) == (1, 2.0)
