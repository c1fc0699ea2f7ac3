"""Replay: the recorded order and pace, scaled, cut, and interruptible."""

import pytest

from sonde.clock import ManualClock
from sonde.errors import ConfigError
from sonde.events import Event
from sonde.query import replay

S = 10**9
EVENTS = [Event(f"a.{n}", int(at_s * S)) for n, at_s in enumerate([100, 101, 101, 99, 104])]


class Stage:
    """A clock whose sleep moves it, and what was published when."""

    def __init__(self, work_s: float = 0.0) -> None:
        self.clock = ManualClock()
        self.seen: list[tuple[str, float]] = []
        self.work_s = work_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.clock.advance(seconds)

    def publish(self, event: Event) -> None:
        self.seen.append((event.type, self.clock.monotonic_s()))
        self.clock.advance(self.work_s)


def times(speed: float = 1.0, max_gap_s: float | None = None, work_s: float = 0.0) -> list[float]:
    stage = Stage(work_s)
    count = replay(EVENTS, stage.publish, speed=speed, max_gap_s=max_gap_s, clock=stage.clock, sleep=stage.sleep)
    assert count == len(EVENTS)
    assert [name for name, _ in stage.seen] == [event.type for event in EVENTS]
    return [at_s for _, at_s in stage.seen]


@pytest.mark.parametrize(
    ("speed", "max_gap_s", "expected"),
    [
        (1.0, None, [0, 1, 1, 1, 6]),  # the clock stepped back before the fourth
        (2.0, None, [0, 0.5, 0.5, 0.5, 3]),
        (1.0, 2.0, [0, 1, 1, 1, 3]),
        (0, None, [0] * 5),
        (float("inf"), None, [0] * 5),
    ],
)
def test_pace(speed: float, max_gap_s: float | None, expected: list[float]) -> None:
    """Pauses are the recorded ones, divided by the speed and cut to the longest allowed."""
    assert times(speed, max_gap_s) == expected


def test_slow_publishing_is_made_up_for() -> None:
    """The time that publish takes comes out of the next pause, so the pace does not drift."""
    assert times(work_s=0.25) == [0, 1, 1.25, 1.5, 6]


def test_events_without_a_time_follow_at_once() -> None:
    """An event that was never stamped causes no pause and no jump."""
    stage = Stage()
    replay([Event("a.b"), Event("a.c", 5 * S), Event("a.d")], stage.publish, clock=stage.clock, sleep=stage.sleep)
    assert [at_s for _, at_s in stage.seen] == [0, 0, 0]


def test_sleep_can_end_it() -> None:
    """A sleep that returns true, as a set threading.Event's wait does, stops before the next event."""
    stage = Stage()
    assert replay(EVENTS, stage.publish, clock=stage.clock, sleep=lambda seconds: True) == 1


def test_the_caller_s_interrupt_passes_through() -> None:
    """Ctrl-C during a pause ends the replay; what was published stays published."""
    stage = Stage()

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(EVENTS, stage.publish, clock=stage.clock, sleep=interrupted)
    assert len(stage.seen) == 1


@pytest.mark.parametrize("bad", [{"speed": -1.0}, {"speed": float("nan")}, {"max_gap_s": -1.0}])
def test_impossible_settings_are_refused(bad: dict[str, float]) -> None:
    """A negative speed or gap raises before anything is published."""
    stage = Stage()
    with pytest.raises(ConfigError, match="cannot replay"):
        replay(EVENTS, stage.publish, **bad)  # type: ignore[arg-type]
    assert stage.seen == []
