"""Fences: passed when all that came before is committed or counted, and not a moment earlier."""

from __future__ import annotations

from sonde.hub import Hub
from sonde.persister import Fence


def test_a_fence_waits_for_what_came_before_it_alone() -> None:
    """Neither handing over nor taking is enough; what comes after the fence does not matter."""
    with Hub() as hub:
        recorder = hub.subscribe_recorder()
        for i in range(10):
            hub.emit("n", i=i)
        fence = Fence(hub, recorder, lambda: 0)
        assert not fence.is_passed()
        hub.flush()
        assert not fence.is_passed()
        taken = recorder.take(max_events=100, max_bytes=1 << 20)
        assert sum(len(chunk.events) for chunk in taken) == 10
        assert not fence.is_passed()
        hub.emit("after")
        hub.flush()
        recorder.release(taken)
        assert fence.is_passed()
        later = Fence(hub, recorder, lambda: 0)
        assert not later.is_passed()


def test_a_fence_waits_for_the_gap_of_what_was_dropped() -> None:
    """Events that did not fit are kept until the store says that they are missing."""
    told = 0
    with Hub() as hub:
        recorder = hub.subscribe_recorder(max_pending_bytes=2000)
        for i in range(10):
            hub.emit("n", i=i)
        hub.flush()
        fence = Fence(hub, recorder, lambda: told)
        recorder.release(recorder.take(max_events=100, max_bytes=1 << 20))
        dropped = sum(recorder.stats().dropped.values())
        assert dropped
        assert not fence.is_passed()
        told = dropped
        assert fence.is_passed()


def test_a_fence_before_everything_is_passed() -> None:
    """Nothing has to be waited for."""
    with Hub() as hub:
        assert Fence(hub, hub.subscribe_recorder(), lambda: 0).is_passed()
