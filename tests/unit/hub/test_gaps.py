"""Gaps: what a subscriber misses is said in the place where it is missing, and adds up exactly."""

from collections import Counter
from collections.abc import Sequence

from sonde.clock import ManualClock
from sonde.events import PublishedEvent
from sonde.hub import Hub, HubConfig, RecorderSubscription, Subscription


def emit_range(hub: Hub, first: int, last: int) -> None:
    for number in range(first, last):
        hub.emit("x", n=number)


def story(events: Sequence[PublishedEvent]) -> list[object]:
    """Events as their numbers, gaps as the reasons that they give."""
    return [event.data["reasons"] if event.type == "sonde.gap" else event.data["n"] for event in events]


def read_all(subscription: Subscription) -> list[object]:
    return story(subscription._take(None))


def assert_in_place(told: list[object], published: int) -> None:
    """Each event's number is what was seen before it plus what gaps said was missed before it."""
    position = 0
    for item in told:
        if isinstance(item, dict):
            position += sum(item.values())
        else:
            assert item == position
            position += 1
    assert position == published


def settled(hub: Hub) -> RecorderSubscription:
    """A barrier that trims nothing."""
    return hub.subscribe_recorder()


def test_what_does_not_fit_waits_within_queue_size_and_past_it_is_missed() -> None:
    """The own queue, then the hub's, then the newest are dropped for this subscription and shown before its next."""
    with Hub(HubConfig(queue_size=5, subscriber_queue_size=3, rate_limit=None)) as hub, hub.subscribe() as subscription:
        barrier = settled(hub)
        emit_range(hub, 0, 20)
        barrier.settle(10)
        row = subscription.stats()
        assert (row.offered, row.queued, row.dropped) == (20, 8, {"queue_full": 12})
        assert read_all(subscription) == list(range(8))
        emit_range(hub, 20, 22)
        barrier.settle(10)
        assert read_all(subscription) == [{"queue_full": 12}, 20, 21]


def test_queue_size_is_shared_by_all_live_subscriptions() -> None:
    """What waits beyond the own queues is bounded over all of them together."""
    with Hub(HubConfig(queue_size=10, subscriber_queue_size=2, rate_limit=None)) as hub:
        first, second, third = (hub.subscribe() for _ in range(3))
        barrier = settled(hub)
        emit_range(hub, 0, 8)
        barrier.settle(10)
        assert [subscription.stats().queued for subscription in (first, second, third)] == [8, 6, 2]
        assert sum(subscription.backlog for subscription in (first, second, third)) == 10
        read_all(first)
        emit_range(hub, 8, 12)
        barrier.settle(10)
        assert [subscription.stats().queued for subscription in (first, second, third)] == [4, 10, 2]


def test_a_filter_takes_no_room_for_what_it_leaves_out() -> None:
    """Only wanted events are offered, queued and missed."""
    with Hub(HubConfig(queue_size=1, subscriber_queue_size=1, rate_limit=None)) as hub:
        subscription = hub.subscribe(types=["wanted"])
        emit_range(hub, 0, 100)
        hub.emit("wanted", n=100)
        hub.flush()
        assert (subscription.stats().offered, subscription.dropped) == (1, 0)


def test_the_final_gap_comes_at_the_end() -> None:
    """What was missed last is said when the hub closes, though no event follows."""
    with Hub(HubConfig(queue_size=5, subscriber_queue_size=3, rate_limit=None)) as hub:
        subscription = hub.subscribe()
        settled(hub).settle(10)
        emit_range(hub, 0, 20)
        hub.close()
        told = story(list(subscription))
        assert told[:3] == [0, 1, 2]
        assert isinstance(told[3], dict)
        assert len(told) == 4
        assert_in_place(told, 20)


def test_the_final_gap_comes_when_unsubscribing() -> None:
    """A subscription that leaves learns what it missed up to then, and the hub's sums keep it."""
    with Hub(HubConfig(queue_size=1, subscriber_queue_size=1, rate_limit=None)) as hub:
        subscription = hub.subscribe()
        emit_range(hub, 0, 10)
        hub.flush()
        subscription.close()
        assert_in_place(story(list(subscription)), 10)
        assert sum(hub.stats().live_dropped.values()) == subscription.dropped == 9


def test_trimming_folds_gaps_that_lie_in_what_is_cut() -> None:
    """A gap in the part that flush cuts off is not lost: its count goes into the next one."""
    with Hub(HubConfig(queue_size=6, subscriber_queue_size=2, rate_limit=None)) as hub, hub.subscribe() as subscription:
        barrier = settled(hub)
        emit_range(hub, 0, 20)
        barrier.settle(10)
        assert story([subscription.get(timeout_s=0) or PublishedEvent("") for _ in range(4)]) == [0, 1, 2, 3]
        emit_range(hub, 20, 30)  # 4 wait; a gap, then some of these
        barrier.settle(10)
        hub.flush()  # back to 2: the gap is cut off with what follows it
        emit_range(hub, 30, 31)
        told = [0, 1, 2, 3, *read_all(subscription)]
        hub.flush()
        told += read_all(subscription)
        assert_in_place(told, 31)
        row = subscription.stats()
        assert row.offered == row.taken + sum(row.dropped.values()) == 31


def test_a_gap_names_its_subscription_and_is_in_no_figure() -> None:
    """The gap's data say who missed what; neither the subscription's nor the hub's ledger counts the notice."""
    clock = ManualClock(time_ns=99)
    with Hub(HubConfig(queue_size=1, subscriber_queue_size=1, rate_limit=None), clock=clock) as hub:
        subscription = hub.subscribe(session_id="s-1")
        other = hub.subscribe(queue_size=100)
        for number in range(3):
            hub.emit("x", n=number, session_id="s-1")
        hub.close()
        *_, gap = subscription
        assert gap.data == {"missed": 2, "reasons": gap.data["reasons"], "subscription": subscription.id}
        assert (gap.session_id, gap.time_ns, gap.seq) == ("s-1", 99, 0)
        assert subscription.stats().taken == 1
        assert hub.stats().published == 3
        assert [event.type for event in other] == ["x"] * 3


# -- the rate limit ----------------------------------------------------------------------------------------------------


def test_a_burst_of_five_thousand_passes_a_thousand() -> None:
    """The bucket holds ``rate_limit`` tokens and refills by the clock; the recorder gets everything all the same."""
    clock = ManualClock()
    with Hub(HubConfig(queue_size=10_000), clock=clock) as hub, hub.subscribe() as subscription:
        recorder = hub.subscribe_recorder()
        emit_range(hub, 0, 5_000)
        recorder.settle(10)
        assert subscription.stats().dropped == hub.stats().live_dropped == {"rate_limited": 4_000}
        clock.advance(0.25)
        emit_range(hub, 5_000, 6_000)
        recorder.settle(10)
        assert subscription.stats().queued == 1_250
        clock.advance(3_600)
        emit_range(hub, 6_000, 8_000)
        recorder.settle(10)
        told = read_all(subscription)
        hub.close()
        told += read_all(subscription)
        assert_in_place(told, 8_000)
        assert len([item for item in told if isinstance(item, int)]) == 2_250
        assert recorder.accepted == 8_000


def test_a_rate_limited_gap_lies_after_what_passed() -> None:
    """Of a batch the oldest pass: the gap follows them, and not the other way round."""
    with Hub(HubConfig(rate_limit=3), clock=ManualClock()) as hub:
        subscription = hub.subscribe()
        emit_range(hub, 0, 10)
        hub.close()
        assert story(list(subscription)) == [0, 1, 2, {"rate_limited": 7}]


def test_reasons_are_told_apart() -> None:
    """One gap may have several reasons, each with its number."""
    clock = ManualClock()
    config = HubConfig(queue_size=1, subscriber_queue_size=2, rate_limit=10)
    with Hub(config, clock=clock) as hub, hub.subscribe() as subscription:
        barrier = settled(hub)
        emit_range(hub, 0, 20)
        barrier.settle(10)
        hub.flush()
        counts = Counter(subscription.stats().dropped)
        assert counts == {"queue_full": 7, "rate_limited": 10, "subscriber_full": 1}
        hub.close()
        assert read_all(subscription) == [0, 1, dict(counts)]


def test_without_listeners_no_token_is_spent() -> None:
    """The limit is for live subscriptions: what nobody listens to doesn't use it up."""
    with Hub(HubConfig(rate_limit=5), clock=ManualClock()) as hub:
        emit_range(hub, 0, 100)
        hub.flush()
        with hub.subscribe() as subscription:
            emit_range(hub, 100, 105)
            hub.flush()
            assert read_all(subscription) == list(range(100, 105))
