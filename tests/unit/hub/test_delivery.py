"""Delivery: when batches go out, and what flush, stop, wait and close promise."""

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sonde.hub import Hub, HubConfig, RecorderSubscription

PATIENT = HubConfig(flush_interval_s=3_600, batch_size=10, rate_limit=None)


def drain(recorder: RecorderSubscription) -> list[int]:
    """The numbers of what the recorder holds."""
    chunks = recorder.take(max_events=10**9, max_bytes=10**12)
    recorder.release(chunks)
    return [event.data["n"] for chunk in chunks for event in chunk.events]


# -- batches -----------------------------------------------------------------------------------------------------------


def test_the_first_event_goes_out_at_once() -> None:
    """After idleness an event doesn't wait for the flush interval: here it would be an hour."""
    before_s = time.monotonic()
    with Hub(PATIENT) as hub, hub.subscribe() as subscription:
        for _ in range(40):
            hub.emit("first")
            assert subscription.get(timeout_s=10) is not None
            hub.flush()  # the turn that it takes finds nothing: the hub is idle again
    assert time.monotonic() - before_s < 5  # the thread's own look, now and then, would take 10


def test_a_full_batch_goes_out_at_once_and_a_partial_one_waits() -> None:
    """``batch_size`` events wake the hub's thread; fewer wait for the interval."""
    with Hub(PATIENT) as hub, hub.subscribe() as subscription:
        hub.emit("first")
        assert subscription.get(timeout_s=10) is not None
        for _ in range(9):
            hub.emit("gathered")
        assert subscription.get(timeout_s=0.1) is None
        hub.emit("the tenth")
        assert [subscription.get(timeout_s=10) for _ in range(10)].count(None) == 0


def test_a_partial_batch_goes_out_within_the_interval() -> None:
    """The flush interval is the longest that an event waits."""
    with Hub(HubConfig(flush_interval_s=0.05, rate_limit=None)) as hub, hub.subscribe() as subscription:
        for _ in range(5):
            hub.emit("alone")
            assert subscription.get(timeout_s=10) is not None


# -- flush -------------------------------------------------------------------------------------------------------------


def test_flush_hands_over_all_that_was_published_before() -> None:
    """When flush returns, every subscription was offered everything, from the first call on."""
    with Hub(PATIENT) as hub:
        live, recorder = hub.subscribe(), hub.subscribe_recorder()
        for round_number in range(200):
            hub.emit("x", n=round_number)
            hub.flush()
            assert live.stats().offered == recorder.accepted == round_number + 1
        assert hub.stats().queued == 0


def test_flush_does_not_wait_for_a_consumer() -> None:
    """Nobody reads, and flush returns: what doesn't fit the own queue is dropped as ``subscriber_full``."""
    config = HubConfig(queue_size=100, subscriber_queue_size=10, rate_limit=None)
    with Hub(config) as hub, hub.subscribe() as subscription:
        for number in range(50):
            hub.emit("x", n=number)
        hub.flush()
        row = subscription.stats()
        assert (row.offered, row.taken, row.queued, row.dropped) == (50, 0, 10, {"subscriber_full": 40})
        assert subscription.dropped == hub.dropped_events == 40
        hub.emit("x", n=50)
        hub.flush()
        seen = [subscription.get(timeout_s=0) for _ in range(10)]
        assert [event.data["n"] for event in seen if event] == list(range(10))
        hub.emit("x", n=51)
        hub.flush()
        gap, last = subscription.get(timeout_s=0), subscription.get(timeout_s=0)
        assert gap is not None
        assert (gap.type, gap.data["missed"], gap.data["reasons"]) == ("sonde.gap", 41, {"subscriber_full": 41})
        assert last is not None
        assert last.data == {"n": 51}


def test_flush_from_many_threads() -> None:
    """Every flush covers its own caller's events, however many flush at once."""
    with Hub(PATIENT) as hub:
        recorder = hub.subscribe_recorder()

        def work(worker: int) -> None:
            for number in range(50):
                hub.emit("x", n=(worker, number))
                hub.flush()
                with lock:
                    delivered.update(drain(recorder))
                    assert (worker, number) in delivered

        lock = threading.Lock()
        delivered: set[Any] = set()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert len(delivered) == 200


def test_settle_waits_as_long_as_told_and_trims_nothing() -> None:
    """A recorder's barrier delivers without cutting what live subscriptions let wait."""
    with Hub(HubConfig(queue_size=100, subscriber_queue_size=10, rate_limit=None)) as hub:
        live, recorder = hub.subscribe(), hub.subscribe_recorder()
        for number in range(50):
            hub.emit("x", n=number)
        assert recorder.settle(10)
        assert live.stats().queued == recorder.accepted == 50


# -- stop, wait, close -------------------------------------------------------------------------------------------------


def test_close_drains_then_ends() -> None:
    """What is queued is delivered before the subscriptions end."""
    hub = Hub(PATIENT)
    live, recorder = hub.subscribe(queue_size=5_000), hub.subscribe_recorder()
    for number in range(5_000):
        hub.emit("x", n=number)
    hub.close()
    assert [event.data["n"] for event in live] == list(range(5_000))
    assert drain(recorder) == list(range(5_000))
    assert live.ended
    assert recorder.ended
    stats = hub.stats()
    assert (stats.published, stats.handed_over, stats.queued, stats.dropped) == (5_000, 5_000, 0, {})


@pytest.mark.parametrize("repeat", ["stop", "close", "wait", "flush"])
def test_after_close_everything_may_be_called_again(repeat: str) -> None:
    """stop, wait, close and flush are idempotent."""
    hub = Hub()
    hub.emit("x")
    hub.close()
    before = hub.stats()
    for _ in range(3):
        getattr(hub, repeat)()
    assert hub.stats() == before


def test_stop_returns_at_once_and_wait_waits() -> None:
    """Stop closes the door; wait says when all is delivered."""
    hub = Hub(PATIENT)
    subscription = hub.subscribe()
    hub.emit("x")
    hub.stop()
    hub.emit("late")
    assert hub.wait(30)
    assert hub.wait()
    assert [event.type for event in subscription] == ["x"]
    assert hub.stats().dropped == {"closed": 1}


def test_wait_without_stop_waits_for_another_threads_stop() -> None:
    """An open hub is not done: wait runs into its timeout, or waits for whoever stops it."""
    with Hub() as hub, ThreadPoolExecutor(1) as pool:
        assert not hub.wait(0.01)
        waiting = pool.submit(hub.wait)
        hub.stop()
        assert waiting.result(30)


def test_a_hub_that_was_never_used_closes() -> None:
    """No event, no subscription, no thread: close returns, and a flush before it too."""
    hub = Hub()
    hub.flush()
    hub.close()
    with Hub() as other:
        pass
    assert hub.stats().published == other.stats().published == 0


def test_close_races_with_publishers_and_loses_nothing() -> None:
    """Of events published while the hub closes, each is delivered or counted as closed."""
    for _ in range(30):
        hub = Hub(HubConfig(rate_limit=None))
        recorder = hub.subscribe_recorder()
        start = threading.Barrier(3)

        def publish(hub: Hub = hub, start: threading.Barrier = start) -> None:
            start.wait(30)
            for number in range(300):
                hub.emit("x", n=number)

        threads = [threading.Thread(target=publish) for _ in range(2)]
        for thread in threads:
            thread.start()
        start.wait(30)
        hub.close()
        for thread in threads:
            thread.join(30)
        stats = hub.stats()
        assert stats.published == 600
        assert stats.handed_over == recorder.accepted == len(drain(recorder))
        assert stats.handed_over + stats.dropped.get("closed", 0) == 600
        assert hub._admission.gate  # nobody left it open on the way out


# -- finalizers on the hub's thread ------------------------------------------------------------------------------------


class Finalizer:
    """Does something when it is thrown away, on whatever thread that is."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __del__(self) -> None:
        self.act()
        THREADS.append(threading.current_thread().name)


THREADS: list[str] = []


@pytest.mark.parametrize("name", ["unsubscribe", "flush", "wait", "close", "stop", "stats", "emit", "settle"])
def test_a_finalizer_on_the_hubs_thread_cannot_lock_it_up(name: str) -> None:
    """An object that is thrown away in the middle of a turn may close, flush or publish: delivery goes on."""
    hub = Hub()
    THREADS.clear()
    leaving, other = hub.subscribe(types=["other"]), hub.subscribe(types=["other"])
    recorder = hub.subscribe_recorder()
    hub.unsubscribe(recorder.id)
    acts: dict[str, Callable[[], object]] = {
        "unsubscribe": leaving.close,
        "flush": hub.flush,
        "wait": hub.wait,
        "close": hub.close,
        "stop": hub.stop,
        "stats": hub.stats,
        "emit": lambda: hub.emit("other"),
        "settle": recorder.settle,
    }
    hub.emit("nobody wants it", thing=Finalizer(acts[name]))
    before_s = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(hub.flush).result(20)  # by another thread: a deadlock must fail, not hang
        hub.emit("other")
        pool.submit(hub.close).result(20)
    assert time.monotonic() - before_s < 10
    assert THREADS == ["sonde-hub"]
    events = list(other)
    assert len(events) == {"emit": 2, "close": 0, "stop": 0}.get(name, 1)
    assert leaving.ended
    assert hub.stats().failures == {}


def test_an_abandoned_consumer_is_collected_on_the_hubs_thread() -> None:
    """A generator over a subscription that hangs in a cycle is closed by whoever collects: no deadlock."""
    hub = Hub(HubConfig(flush_interval_s=0.001, rate_limit=None, queue_size=1))

    def consume() -> Any:
        with hub.subscribe(queue_size=1) as subscription:
            yield
            yield from subscription

    for _ in range(50):
        abandoned = consume()
        next(abandoned)
        cycle: list[Any] = [abandoned]
        cycle.append(cycle)
    del abandoned, cycle
    found = gc.get_threshold()
    gc.set_threshold(1)  # the next thread that allocates collects; the hub's thread makes gaps
    try:
        with ThreadPoolExecutor(1) as pool:
            for number in range(200):
                hub.emit("x", n=number)
                pool.submit(hub.flush).result(20)
    finally:
        gc.set_threshold(*found)
    gc.collect()
    hub.flush()
    assert hub.stats().subscriber_count == 0
    hub.close()


def test_the_thread_has_a_name_and_goes_when_the_hub_does() -> None:
    """The hub's thread is a daemon called ``sonde-hub`` that ends with the hub, and leaves no trace."""
    before = set(threading.enumerate())
    with Hub() as hub, hub.subscribe() as subscription:
        hub.emit("x")
        assert subscription.get(timeout_s=10) is not None
        (thread,) = set(threading.enumerate()) - before
        assert (thread.name, thread.daemon) == ("sonde-hub", True)
    thread.join(30)
    assert set(threading.enumerate()) == before
    assert not hub._admission.hub_ident  # a later thread of that number is not taken for it


def test_a_faulty_store_bell_does_not_end_delivery() -> None:
    """A fault on the hub's thread is counted and logged; the thread lives on, and the ledger stays balanced."""

    class Broken:
        def ring(self) -> None:
            raise ZeroDivisionError

    with Hub() as hub, hub.subscribe() as subscription:
        recorder = hub.subscribe_recorder()
        bell = recorder.bell
        recorder.bell = Broken()  # type: ignore[assignment]
        hub.emit("x")
        hub.flush()
        stats = hub.stats()
        assert (stats.published, stats.handed_over, stats.dropped) == (1, 0, {"failed": 1})
        assert stats.failures == {"deliver": 1}
        recorder.bell = bell
        hub.emit("y")
        assert getattr(subscription.get(timeout_s=10), "type", None) == "y"
