"""Overload: more than memory may hold. Counted, told, and bounded in time for whoever waits."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from sonde.events import PublishedEvent
from sonde.hub import Hub, HubConfig, RecorderSubscription
from sonde.hub import admission as admission_module

UNLIMITED = HubConfig(rate_limit=None)


class Persister:
    """Takes and releases, and counts rows and what it is told it missed."""

    def __init__(self, recorder: RecorderSubscription) -> None:
        self.rows = 0
        self.missed: dict[str, int] = {}
        self._recorder = recorder

    def turn(self, max_events: int = 10**9) -> None:
        chunks = self._recorder.take(max_events=max_events, max_bytes=10**12)
        for chunk in chunks:
            for _, reason, number in chunk.missed:
                self.missed[reason] = self.missed.get(reason, 0) + number
            self.rows += len(chunk.events)
        self._recorder.release(chunks)


def on_thread(act: Callable[[], object]) -> float:
    """Seconds that ``act`` takes on another thread."""
    took: list[float] = []

    def run() -> None:
        before_s = time.monotonic()
        act()
        took.append(time.monotonic() - before_s)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return took[0]


def fill(hub: Hub, recorder: RecorderSubscription) -> int:
    """Publish until the recorder is full and the gate is shut. Says how many."""
    count = 0
    while not (recorder.is_full and hub._admission.gate):
        hub.emit("x", n=count)
        recorder.settle(30)
        count += 1
    return count


@pytest.mark.parametrize("threads", [1, 4])
def test_rows_and_gaps_are_all_that_was_published(threads: int) -> None:
    """With room for a few events only, and a persister that can't follow: what isn't a row is in a gap."""
    hub = Hub(UNLIMITED)
    recorder = hub.subscribe_recorder(max_pending_bytes=20_000)
    persister = Persister(recorder)
    each = 5_000

    def publish() -> None:
        for number in range(each):
            hub.emit("x", n=number)

    publishers = [threading.Thread(target=publish) for _ in range(threads)]
    for thread in publishers:
        thread.start()
    while any(thread.is_alive() for thread in publishers):
        persister.turn(max_events=1)
    hub.close()
    persister.turn()
    stats = hub.stats()
    assert stats.published == threads * each
    assert persister.rows + sum(persister.missed.values()) == stats.published
    assert persister.missed.get("overloaded", 0) == stats.dropped.get("overloaded", 0)
    (row,) = stats.recorders
    assert persister.missed.get("pending_full", 0) == row.dropped.get("pending_full", 0)
    assert persister.missed


def test_the_inbox_is_bounded_and_what_it_refuses_is_told() -> None:
    """If the hub's thread can't come, the inbox stops growing, and every listener learns what was lost with it."""
    hub = Hub(UNLIMITED)
    recorder, live = hub.subscribe_recorder(max_pending_bytes=2**20), hub.subscribe(queue_size=10_000)
    persister = Persister(recorder)
    hub.emit("x")
    recorder.settle(30)
    limit = hub._admission.limit
    with hub._delivery._turn_lock:  # as if one turn took very long
        for _ in range(3 * limit):
            hub.emit("x")
        assert limit <= len(hub._inbox) <= limit + 1
        stats = hub.stats()
        assert stats.published == 3 * limit + 1
        assert stats.dropped == {"overloaded": stats.published - stats.queued - 1}
    hub.flush()
    hub.emit("x")
    hub.flush()
    persister.turn()
    hub.flush()
    persister.turn()
    lost = stats.dropped["overloaded"]
    assert persister.missed["overloaded"] == lost
    assert hub.stats().dropped == {"overloaded": lost}  # and the last one came in
    gaps = [event.data["reasons"] for event in live._take(None) if event.type == "sonde.gap"]
    assert gaps == [{"overloaded": lost}]
    hub.close()


def test_a_publisher_waits_and_goes_on_as_soon_as_there_is_room() -> None:
    """With ``block``, a plain thread waits for the persister's release, and its event is not lost."""
    with Hub(UNLIMITED) as hub:
        recorder = hub.subscribe_recorder(max_pending_bytes=5_000, overflow="block")
        persister = Persister(recorder)
        count = fill(hub, recorder)
        before = hub.stats().dropped
        waiting = threading.Event()

        def release() -> None:
            waiting.wait(30)
            persister.turn()

        releaser = threading.Thread(target=release)
        releaser.start()

        def publish() -> None:
            waiting.set()
            hub.emit("x", n=count)

        took_s = on_thread(publish)
        releaser.join(30)
        assert took_s < 0.9
        assert hub.stats().dropped == before
        hub.emit("x", n=count + 1)  # open for the main thread at once too
        assert hub.stats().dropped == before


def test_a_publisher_waits_a_second_at_most() -> None:
    """If nothing is released, the event is dropped after a second, counted, and told once there is room."""
    with Hub(UNLIMITED) as hub:
        recorder = hub.subscribe_recorder(max_pending_bytes=5_000, overflow="block")
        persister = Persister(recorder)
        fill(hub, recorder)
        before = hub.stats().dropped.get("overloaded", 0)
        took_s = on_thread(lambda: hub.emit("x", n=0))
        assert admission_module.BLOCK_AT_MOST_S <= took_s < 5
        assert hub.stats().dropped["overloaded"] == before + 1
        persister.turn()
        recorder.settle(30)
        persister.turn()
        assert persister.missed == {"overloaded": before + 1}


def test_the_main_thread_never_waits() -> None:
    """On the main thread a full recorder costs the event, not the time."""
    with Hub(UNLIMITED) as hub:
        recorder = hub.subscribe_recorder(max_pending_bytes=5_000, overflow="block")
        fill(hub, recorder)
        before = hub.stats().dropped.get("overloaded", 0)
        before_s = time.monotonic()
        for _ in range(20):
            hub.emit("x")
        assert time.monotonic() - before_s < 5  # 20 s if each waited
        assert hub.stats().dropped["overloaded"] == before + 20


def test_an_event_loop_never_waits() -> None:
    """In a loop on another thread neither."""

    async def main(hub: Hub) -> None:
        for _ in range(20):
            hub.emit("x")

    with Hub(UNLIMITED) as hub:
        recorder = hub.subscribe_recorder(max_pending_bytes=5_000, overflow="block")
        fill(hub, recorder)
        assert on_thread(lambda: asyncio.run(main(hub))) < 5


def test_the_persisters_own_thread_never_waits_for_itself() -> None:
    """A finalizer that publishes on the thread that must make room doesn't wait there."""
    with Hub(UNLIMITED) as hub:
        recorder = hub.subscribe_recorder(max_pending_bytes=5_000, overflow="block")
        fill(hub, recorder)

        def persist() -> None:
            chunks = recorder.take(max_events=1, max_bytes=1)
            for _ in range(20):
                hub.emit("x")
            recorder.release(chunks)

        assert on_thread(persist) < 5


def test_closing_ends_the_wait() -> None:
    """A publisher that waits is let go, and counted as closed, when the hub closes."""
    hub = Hub(UNLIMITED)
    recorder = hub.subscribe_recorder(max_pending_bytes=5_000, overflow="block")
    fill(hub, recorder)
    began = threading.Event()

    def publish() -> None:
        began.set()
        hub.emit("x")

    thread = threading.Thread(target=publish)
    thread.start()
    began.wait(30)
    hub.close()
    thread.join(30)
    stats = hub.stats()
    assert stats.published == stats.handed_over + sum(stats.dropped.values())
    assert stats.dropped.get("closed", 0) + stats.dropped.get("overloaded", 0) >= 1


def test_a_stuck_recorder_does_not_starve_live_subscriptions() -> None:
    """With ``drop``, what the recorder can't hold still reaches who watches live."""
    with Hub(UNLIMITED) as hub:
        hub.subscribe_recorder(max_pending_bytes=1)
        live = hub.subscribe(queue_size=1_000)
        for number in range(500):
            hub.emit("x", n=number)
        hub.flush()
        assert [event.data["n"] for event in live._take(None)] == list(range(500))


def test_a_late_shutter_costs_nothing() -> None:
    """A publisher that shuts the gate when the inbox is empty again loses no event: who finds it shut looks again."""
    with Hub(UNLIMITED) as hub:
        recorder = hub.subscribe_recorder()
        hub._admission.gate = 1  # what a thread does that was suspended just before
        for number in range(10):
            hub.emit("x", n=number)
        recorder.settle(30)
        assert recorder.accepted == 10
        assert hub.stats().dropped == {}


def test_a_shut_gate_stays_shut_after_close() -> None:
    """Nothing opens a closed hub's gate again: an inbox that nobody empties must not grow."""
    hub = Hub(UNLIMITED)
    hub.close()
    hub._admission.settle(())
    for _ in range(100):
        hub.emit("x")
    assert len(hub._inbox) == 0
    assert hub.stats().dropped == {"closed": 100}


def test_what_came_past_the_gate_too_late_is_counted_as_closed() -> None:
    """A publisher that was suspended between the gate and its append, while the hub closed, is in the ledger too."""
    hub = Hub(UNLIMITED)
    hub.emit("x")
    hub.close()
    hub._inbox.append(PublishedEvent("late"))  # what that publisher does when it wakes
    stats = hub.stats()
    assert (stats.published, stats.handed_over, stats.queued, stats.dropped) == (2, 1, 0, {"closed": 1})
