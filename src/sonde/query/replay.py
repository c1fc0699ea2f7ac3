"""Replay: publish recorded events again, at the pace at which they happened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.errors import ConfigError
from sonde.events import Event


def replay(
    events: Iterable[Event],
    publish: Callable[[Event], object],
    *,
    speed: float = 1.0,
    max_gap_s: float | None = None,
    clock: Clock = SYSTEM_CLOCK,
    sleep: Callable[[float], object] = time.sleep,
) -> int:
    """Hand ``events`` to ``publish`` in their order, with the recorded pauses between them; says how many.

    ``speed`` 2 is twice as fast; 0 and infinity are at once. Pauses are cut to ``max_gap_s`` (of recorded time). Where
    the recorded clock stepped back, and at events without a time, there is no pause. The time that ``publish`` takes is
    made up for. The events are passed on as they are, with the times at which they happened.

    Blocks for as long as the recording lasts. Ctrl-C ends it, and so does a ``sleep`` that returns something true, as
    ``threading.Event().wait`` does once the event is set.

    Raises:
        ConfigError: ``speed`` or ``max_gap_s`` is negative or no number.

    >>> seen = []
    >>> replay([Event("a.b", 1), Event("a.c", 2)], seen.append, speed=0)
    2
    """
    if not speed >= 0:
        raise ConfigError(f"cannot replay at speed {speed!r}: expected 0 (at once) or more, 1 is the recorded pace")
    if max_gap_s is not None and not max_gap_s >= 0:
        raise ConfigError(f"cannot replay with max_gap_s={max_gap_s!r}: expected seconds, 0 or more")
    at_once = speed == 0 or math.isinf(speed)
    published = 0
    previous_ns = 0
    due_s = clock.monotonic_s()
    for event in events:
        if not at_once and event.time_ns:
            gap_s = max(0, event.time_ns - previous_ns) / 1e9 if previous_ns else 0.0
            if max_gap_s is not None:
                gap_s = min(gap_s, max_gap_s)
            previous_ns = event.time_ns
            due_s += gap_s / speed
            pause_s = due_s - clock.monotonic_s()
            if pause_s > 0 and sleep(pause_s):
                break
        publish(event)
        published += 1
    return published
