"""TokenBucket: a burst of the rate, then the rate."""

from sonde.clock import ManualClock
from sonde.hub.bucket import TokenBucket


def test_starts_full_and_refills_by_the_clock() -> None:
    """A burst of ``rate`` passes at once, then as many as time gives, each token once."""
    clock = ManualClock()
    bucket = TokenBucket(1_000, clock)
    assert bucket.take(5_000) == 1_000
    assert bucket.take(1) == 0
    clock.advance(0.25)
    assert bucket.take(5_000) == 250
    assert bucket.take(5_000) == 0


def test_never_holds_more_than_a_second() -> None:
    """An hour of rest allows no larger burst than the first."""
    clock = ManualClock()
    bucket = TokenBucket(10, clock)
    clock.advance(3_600)
    assert [bucket.take(6), bucket.take(6), bucket.take(6)] == [6, 4, 0]


def test_rates_below_one_pass_one_now_and_then() -> None:
    """Half an event a second is one every two."""
    clock = ManualClock()
    bucket = TokenBucket(0.5, clock)
    taken = []
    for _ in range(5):
        taken.append(bucket.take(3))
        clock.advance(1)
    assert taken == [1, 0, 1, 0, 1]
