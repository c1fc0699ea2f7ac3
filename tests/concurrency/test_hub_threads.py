"""Many publishers, many consumers, hubs without number: ledgers stay exact, order is kept, nothing is left behind."""

import gc
import sys
import threading
import time
from collections import Counter

import pytest

from sonde.events import PublishedEvent
from sonde.hub import Chunk, Hub, HubConfig, HubStats

PUBLISHERS = 8


def assert_balanced(stats: HubStats) -> None:
    assert stats.published == stats.handed_over + stats.queued + sum(stats.dropped.values())
    for row in (*stats.subscriptions, *stats.recorders):
        assert row.offered == row.taken + row.queued + sum(row.dropped.values())
        assert min(row.offered, row.taken, row.queued, *row.dropped.values(), 0) == 0
    assert min(stats.published, stats.handed_over, stats.queued, *stats.dropped.values(), 0) == 0


def assert_ordered(events: list[PublishedEvent]) -> None:
    """Of each publishing thread the events come in the order of its calls."""
    last: dict[int, int] = {}
    for event in events:
        worker, number = event.data["worker"], event.data["n"]
        assert number > last.get(worker, -1)
        last[worker] = number


@pytest.mark.parametrize("each", [2_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_eight_publishers_and_three_kinds_of_listeners(each: int) -> None:
    """With a recorder, a fast and a slow subscriber, every event is where the ledger says, counted from outside."""
    hub = Hub(HubConfig(queue_size=each * PUBLISHERS, subscriber_queue_size=256, rate_limit=None))
    recorder = hub.subscribe_recorder(max_pending_bytes=2**40)
    fast = hub.subscribe(queue_size=each * PUBLISHERS)
    slow = hub.subscribe()
    chunks: list[Chunk] = []
    fast_seen: list[PublishedEvent] = []
    slow_seen: list[PublishedEvent] = []
    looks: list[HubStats] = []
    start = threading.Barrier(PUBLISHERS)

    def publish(worker: int) -> None:
        start.wait(60)
        for number in range(each):
            hub.emit("x", worker=worker, n=number)

    def persist() -> None:
        while not (recorder.ended and recorder.is_idle):
            recorder.bell.sleep(1, lambda: not recorder.is_idle or recorder.ended)
            taken = recorder.take(max_events=1_000, max_bytes=10**9)
            chunks.extend(taken)
            recorder.release(taken)

    def dawdle() -> None:
        for event in slow:
            slow_seen.append(event)
            looks.append(hub.stats()) if len(slow_seen) % 100 == 0 else None

    publishers = [threading.Thread(target=publish, args=(worker,)) for worker in range(PUBLISHERS)]
    readers = [threading.Thread(target=work) for work in (persist, lambda: fast_seen.extend(fast), dawdle)]
    for thread in readers + publishers:
        thread.start()
    for thread in publishers:
        thread.join(100)
    hub.close()
    for thread in readers:
        thread.join(100)

    total = each * PUBLISHERS
    recorded = [event for chunk in chunks for event in chunk.events]
    for stats in (*looks, hub.stats()):
        assert_balanced(stats)
    assert [stats.published for stats in looks] == sorted(stats.published for stats in looks)
    stats = hub.stats()
    assert (stats.published, stats.handed_over, stats.queued, stats.dropped) == (total, total, 0, {})
    assert not any(chunk.missed for chunk in chunks)
    assert Counter((event.data["worker"], event.data["n"]) for event in recorded) == Counter(
        (worker, number) for worker in range(PUBLISHERS) for number in range(each)
    )
    assert len({(event.writer_id, event.seq) for event in recorded}) == total
    assert_ordered(recorded)
    assert [event.seq for event in fast_seen] == [event.seq for event in recorded]
    gaps = [event for event in slow_seen if event.type == "sonde.gap"]
    events = [event for event in slow_seen if event.type != "sonde.gap"]
    assert len(events) + sum(gap.data["missed"] for gap in gaps) == total
    assert_ordered(events)
    rows = {row.id: row for row in stats.subscriptions}
    assert (rows[fast.id].taken, rows[fast.id].dropped) == (total, {})
    assert rows[slow.id].taken == len(events)
    assert hub.dropped_events == slow.dropped == total - len(events)


def test_subscribers_come_and_go_while_events_flow() -> None:
    """Joining and leaving under load: no subscription misses or doubles an event between its first and its last."""
    hub = Hub(HubConfig(queue_size=10**6, subscriber_queue_size=10**6, rate_limit=None))
    stop = threading.Event()

    def publish() -> None:
        number = 0
        while not stop.is_set():
            hub.emit("x", n=number)
            number += 1
            if number % 50 == 0:
                hub.flush()

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for _ in range(200):
            with hub.subscribe() as subscription:
                assert subscription.get(timeout_s=30) is not None
                seen = subscription._take(None)
            seen += list(subscription)
            numbers = [event.data["n"] for event in seen]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    finally:
        stop.set()
        publisher.join(60)
    hub.close()
    assert hub.stats().subscriptions == ()
    assert_balanced(hub.stats())


def test_unsubscribing_twice_at_once_counts_once() -> None:
    """Eight threads end the same subscription: its drops are summed once."""
    for _ in range(50):
        with Hub(HubConfig(queue_size=1, subscriber_queue_size=1, rate_limit=None)) as hub:
            subscription = hub.subscribe()
            for number in range(10):
                hub.emit("x", n=number)
            hub.flush()
            start = threading.Barrier(8)

            def leave(start: threading.Barrier = start, hub: Hub = hub, name: str = subscription.id) -> None:
                start.wait(30)
                hub.unsubscribe(name)

            threads = [threading.Thread(target=leave) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert sum(hub.stats().live_dropped.values()) == subscription.dropped == 9


def test_a_thousand_hubs_leave_nothing() -> None:
    """Opening, using and closing hubs leaves no thread and no memory."""

    there = set(threading.enumerate())

    def use() -> None:
        with Hub() as hub, hub.subscribe() as subscription:
            hub.subscribe_recorder()
            hub.emit("x", n=1)
            hub.flush()
            assert subscription.get(timeout_s=0) is not None

    def count() -> int:
        deadline_s = time.monotonic() + 30
        while set(threading.enumerate()) - there:  # on their way out
            assert time.monotonic() < deadline_s
            time.sleep(0.001)
        gc.collect()
        return sys.getallocatedblocks()

    for _ in range(50):
        use()
    before = count()
    for _ in range(1_000):
        use()
    assert count() - before < 500  # half a block a hub
