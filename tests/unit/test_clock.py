"""Clocks: the system's, and the one that stands still."""

import time

import pytest

from sonde.clock import SYSTEM_CLOCK, Clock, ManualClock, SystemClock


def test_system_clock_reads_the_system() -> None:
    """Wall time is Unix time in nanoseconds, and the monotonic clock is the system's."""
    before_ns, before_s = time.time_ns(), time.monotonic()
    time_ns, monotonic_s = SYSTEM_CLOCK.time_ns(), SYSTEM_CLOCK.monotonic_s()
    assert before_ns <= time_ns <= time.time_ns()
    assert before_s <= monotonic_s <= time.monotonic()


def test_manual_clock_stands_still_until_it_is_moved() -> None:
    """Both readings stay until ``advance`` moves both by the same."""
    clock = ManualClock(time_ns=1_000)
    assert (clock.time_ns(), clock.monotonic_s()) == (1_000, 0.0)
    assert (clock.time_ns(), clock.monotonic_s()) == (1_000, 0.0)
    clock.advance(0.25)
    assert (clock.time_ns(), clock.monotonic_s()) == (250_001_000, 0.25)


def test_manual_clock_does_not_gather_rounding() -> None:
    """A tenth of a second, ten times, is a second."""
    clock = ManualClock()
    for _ in range(10):
        clock.advance(0.1)
    assert clock.monotonic_s() == 1.0


def test_wall_clock_can_jump_back_alone() -> None:
    """``set_time_ns`` moves the wall clock and leaves the monotonic one."""
    clock = ManualClock(time_ns=10**18)
    clock.advance(2)
    clock.set_time_ns(5)
    assert (clock.time_ns(), clock.monotonic_s()) == (5, 2.0)


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
def test_both_are_clocks(clock: Clock) -> None:
    """Either can stand wherever a clock is asked for."""
    assert isinstance(clock.time_ns(), int)
    assert isinstance(clock.monotonic_s(), float)
