"""Subscription: filters, bounds, and every way of reading it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sonde.events import EventType, PublishedEvent
from sonde.hub import Hub, HubConfig, Subscription

UNLIMITED = HubConfig(rate_limit=None, queue_size=100_000, subscriber_queue_size=100_000)


def numbers(events: list[PublishedEvent]) -> list[int]:
    return [event.data["n"] for event in events]


def start_consumer(subscription: Subscription) -> tuple[threading.Thread, list[PublishedEvent]]:
    """A thread that reads until the end."""
    seen: list[PublishedEvent] = []
    thread = threading.Thread(target=lambda: seen.extend(subscription))
    thread.start()
    return thread, seen


def test_types_filter() -> None:
    """Only the wanted types arrive; members of EventType are types like any string."""
    with Hub() as hub:
        wanted = hub.subscribe(types=iter([EventType.TOOL_STARTED, "my.own"]))
        for kind in ("tool.started", "tool.completed", "my.own", EventType.TOOL_STARTED):
            hub.emit(kind)
        hub.close()
        assert [event.type for event in wanted] == ["tool.started", "my.own", "tool.started"]


def test_session_filter() -> None:
    """Only the wanted session arrives, and the empty one is a session too."""
    with Hub() as hub:
        one, none = hub.subscribe(session_id="s-1"), hub.subscribe(session_id="")
        for session in ("s-1", "s-2", ""):
            hub.emit("x", session_id=session)
        hub.close()
        assert [event.session_id for event in one] == ["s-1"]
        assert [event.session_id for event in none] == [""]
        assert one.stats().offered == none.stats().offered == 1


def test_both_filters_hold_at_once() -> None:
    """Type and session must both fit."""
    with Hub() as hub:
        subscription = hub.subscribe(types=["a"], session_id="s")
        for kind, session in (("a", "s"), ("a", "t"), ("b", "s")):
            hub.emit(kind, session_id=session)
        hub.close()
        assert [(event.type, event.session_id) for event in subscription] == [("a", "s")]


def test_future_events_only() -> None:
    """What was published before subscribing does not arrive, even if it is not delivered yet: also for a recorder."""
    with Hub(HubConfig(flush_interval_s=60, rate_limit=None)) as hub:
        first = hub.subscribe()
        hub.emit("wakes the thread", n=0)
        assert first.get(timeout_s=10) is not None
        hub.emit("waits for its batch", n=1)
        late, recorder = hub.subscribe(), hub.subscribe_recorder()
        hub.emit("x", n=2)
        hub.close()
        assert numbers(list(late)) == [2]
        assert numbers(list(first)) == [1, 2]
        assert (late.stats().offered, recorder.stats().offered) == (1, 1)


def test_late_subscribers_miss_nothing_of_a_limited_burst() -> None:
    """With a rate limit too, a late subscription is offered exactly what was published since."""
    with Hub(HubConfig(flush_interval_s=60, rate_limit=3)) as hub:
        hub.emit("wakes the thread", n=0)
        first = hub.subscribe()
        for number in range(5):
            hub.emit("x", n=number)
        late = hub.subscribe()
        for number in range(5):
            hub.emit("x", n=number)
        hub.close()
        assert first.stats().offered == 10
        assert late.stats().offered == 5


def test_get_waits_at_most_as_long_as_told() -> None:
    """``get`` gives ``None`` once the time is over, at once for 0, and never early."""
    with Hub() as hub, hub.subscribe() as subscription:
        assert subscription.get(timeout_s=0) is None
        assert subscription.get(timeout_s=-1) is None
        before_s = time.monotonic()
        assert subscription.get(timeout_s=0.05) is None
        assert time.monotonic() - before_s >= 0.05


def test_get_wakes_for_an_event() -> None:
    """A consumer that waits gets the event that is published meanwhile."""
    with Hub() as hub, hub.subscribe() as subscription, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(subscription.get, 30)
        hub.emit("x", n=1)
        event = waiting.result(30)
        assert event is not None
        assert event.data == {"n": 1}


def test_iteration_ends_when_the_hub_is_closed_and_all_is_read() -> None:
    """A loop over a subscription sees everything and then ends; so does a second loop, at once."""
    with Hub(UNLIMITED) as hub:
        subscription = hub.subscribe()
        thread, seen = start_consumer(subscription)
        for number in range(1_000):
            hub.emit("x", n=number)
        hub.close()
        thread.join(30)
        assert numbers(seen) == list(range(1_000))
        assert list(subscription) == []
        assert subscription.get() is None
        assert subscription.ended


def test_close_wakes_a_waiting_consumer() -> None:
    """Closing a subscription ends the loops that wait on it, in all threads."""
    with Hub() as hub:
        subscription = hub.subscribe()
        consumers = [start_consumer(subscription)[0] for _ in range(3)]
        subscription.close()
        for thread in consumers:
            thread.join(30)
        assert not any(thread.is_alive() for thread in consumers)


def test_unsubscribing_keeps_what_was_queued() -> None:
    """What waited can still be read; what comes later is not offered."""
    with Hub() as hub:
        subscription = hub.subscribe()
        hub.emit("x", n=1)
        hub.flush()
        assert hub.unsubscribe(subscription.id)
        hub.emit("x", n=2)
        hub.flush()
        assert numbers(list(subscription)) == [1]
        assert subscription.stats().offered == 1


def test_unsubscribe_is_idempotent_and_knows_ids() -> None:
    """It says whether there was such a subscription; ids are never given twice."""
    with Hub() as hub:
        first = hub.subscribe()
        assert hub.unsubscribe(first.id)
        assert not hub.unsubscribe(first.id)
        assert not hub.unsubscribe("sub-99")
        first.close()
        second, recorder = hub.subscribe(), hub.subscribe_recorder()
        assert len({first.id, second.id, recorder.id}) == 3
        assert hub.stats().subscriber_count == 2
        assert hub.unsubscribe(recorder.id)
        assert recorder.ended
        assert hub.stats().subscriber_count == 1


def test_a_closed_hub_gives_ended_subscriptions() -> None:
    """Subscribing after close gives something that has ended already: no loop hangs on it."""
    hub = Hub()
    hub.close()
    subscription, recorder = hub.subscribe(), hub.subscribe_recorder()
    assert subscription.ended
    assert list(subscription) == []
    assert recorder.ended


def test_subscription_is_a_context_manager() -> None:
    """Leaving the block unsubscribes."""
    with Hub() as hub:
        with hub.subscribe() as subscription:
            assert hub.stats().subscriber_count == 1
        assert hub.stats().subscriber_count == 0
        assert subscription.ended


def test_batches_give_all_there_is_up_to_a_size() -> None:
    """A batch is never empty and never larger than asked for; together they are everything, in order."""
    with Hub(UNLIMITED) as hub:
        subscription = hub.subscribe(queue_size=1_000)
        for number in range(25):
            hub.emit("x", n=number)
        hub.close()
        batches = subscription.batches(10)
        assert [numbers(batch) for batch in batches] == [
            list(range(10)),
            list(range(10, 20)),
            list(range(20, 25)),
        ]
        assert list(subscription.batches()) == []


def test_unbounded_batches_empty_the_queue() -> None:
    """Without a size, a batch is all that waits."""
    with Hub(UNLIMITED) as hub:
        subscription = hub.subscribe(queue_size=1_000)
        for number in range(25):
            hub.emit("x", n=number)
        hub.close()
        assert [len(batch) for batch in subscription.batches()] == [25]


def test_threads_share_a_subscription() -> None:
    """Several loops over one subscription divide its events: each goes to one of them, in order for each."""
    with Hub(UNLIMITED) as hub:
        subscription = hub.subscribe(queue_size=50_000)
        consumers = [start_consumer(subscription) for _ in range(4)]
        for number in range(20_000):
            hub.emit("x", n=number)
        hub.close()
        for thread, _ in consumers:
            thread.join(60)
        parts = [numbers(seen) for _, seen in consumers]
        assert sorted(number for part in parts for number in part) == list(range(20_000))
        assert all(part == sorted(part) for part in parts)
        assert subscription.stats().taken == 20_000


@pytest.mark.parametrize("waiting", [0, 3])
def test_waiting_leaves_nothing_behind(waiting: int) -> None:
    """A ``get`` that timed out leaves no sleeper in the subscription."""
    with Hub() as hub, hub.subscribe() as subscription:
        for _ in range(waiting):
            assert subscription.get(timeout_s=0.001) is None
        assert not subscription._sleepers
