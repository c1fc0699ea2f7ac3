"""RecorderSubscription: everything, in order, bounded by bytes alone."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sonde.events import PublishedEvent
from sonde.hub import Chunk, Hub, HubConfig, Missed, RecorderSubscription
from sonde.hub.recording import estimate_bytes

TINY = HubConfig(queue_size=1, batch_size=1, rate_limit=1, subscriber_queue_size=1)


def take_all(recorder: RecorderSubscription) -> list[Chunk]:
    return recorder.take(max_events=10**9, max_bytes=10**12)


def numbers(chunks: list[Chunk]) -> list[int]:
    return [event.data["n"] for chunk in chunks for event in chunk.events]


def missed(chunks: list[Chunk]) -> dict[tuple[str, str], int]:
    total: dict[tuple[str, str], int] = {}
    for chunk in chunks:
        for session_id, reason, number in chunk.missed:
            total[session_id, reason] = total.get((session_id, reason), 0) + number
    return total


def test_live_bounds_do_not_touch_it() -> None:
    """Queue sizes of 1 and a rate of 1 a second: the recorder gets all 10,000, in order."""
    with Hub(TINY) as hub:
        live, recorder = hub.subscribe(), hub.subscribe_recorder()
        for number in range(10_000):
            hub.emit("x", n=number)
        assert recorder.settle(30)
        assert numbers(take_all(recorder)) == list(range(10_000))
        assert live.dropped >= 9_990


def test_bytes_count_until_they_are_released() -> None:
    """Taking makes no room: what the persister holds is still in memory."""
    with Hub() as hub:
        recorder = hub.subscribe_recorder()
        for number in range(100):
            hub.emit("x", n=number, text="a" * 1_000)
        recorder.settle(10)
        pending_bytes = recorder.pending_bytes
        assert 100_000 < pending_bytes < 200_000
        chunks = take_all(recorder)
        assert recorder.is_idle
        assert recorder.pending_bytes == pending_bytes
        assert recorder.stats().queued == 100
        recorder.release(chunks)
        assert (recorder.pending_bytes, recorder.released, recorder.stats().queued) == (0, 100, 0)


def test_take_stops_at_either_bound_and_gives_at_least_one() -> None:
    """A chunk is never cut; the bounds say after which chunk to stop."""
    with Hub() as hub:
        recorder = hub.subscribe_recorder()
        for number in range(3):
            hub.emit("x", n=number)
            recorder.settle(10)
        assert numbers(recorder.take(max_events=1, max_bytes=10**9)) == [0]
        assert numbers(recorder.take(max_events=10**9, max_bytes=1)) == [1]
        assert numbers(recorder.take(max_events=10**9, max_bytes=10**9)) == [2]
        assert recorder.take(max_events=1, max_bytes=1) == []


def test_past_the_bound_the_newest_are_dropped_and_named_in_their_place() -> None:
    """Taken and missed make up what was published; the gap lies before the first event after it, by session."""
    with Hub() as hub:
        recorder = hub.subscribe_recorder(max_pending_bytes=20_000)
        for number in range(100):
            hub.emit("x", n=number, session_id=f"s-{number % 2}")
        recorder.settle(10)
        first = take_all(recorder)
        kept = len(numbers(first))
        assert numbers(first) == list(range(kept))
        assert 20 < kept < 60
        assert missed(first) == {}
        row = recorder.stats()
        assert (row.offered, row.queued, row.dropped) == (100, kept, {"pending_full": 100 - kept})
        recorder.release(first)
        hub.emit("x", n=100, session_id="s-0")
        hub.close()
        rest = take_all(recorder)
        assert rest[0].missed
        assert set(rest[0].missed) <= {Missed(f"s-{i}", "pending_full", n) for i in (0, 1) for n in range(100)}
        assert sum(missed(rest).values()) + kept + len(numbers(rest)) == 101
        assert numbers(rest)[-1] == 100
        assert recorder.ended


def test_missed_events_are_reported_once_there_is_room_though_none_follow() -> None:
    """When the persister releases, the hub's thread tells it the gap by itself."""
    with Hub() as hub:
        recorder = hub.subscribe_recorder(max_pending_bytes=5_000)
        for number in range(100):
            hub.emit("x", n=number)
        recorder.settle(10)
        first = take_all(recorder)
        recorder.settle(10)
        assert recorder.is_idle  # nothing moved: nothing is told
        for number in range(20):
            hub.emit("x", n=number, text="a" * 10_000)
            recorder.settle(10)
        assert recorder.is_idle  # and gaps don't pile up while the store is away
        recorder.release(first)
        recorder.settle(10)
        (gap,) = take_all(recorder)
        assert gap.events == ()
        assert gap.missed == (Missed("", "pending_full", 120 - len(numbers(first))),)


def test_sessions_that_come_and_go_while_it_is_full_share_a_gap() -> None:
    """A thousand have one each; a server whose disk is away for a day must not remember millions. None is uncounted."""
    with Hub() as hub:
        recorder = hub.subscribe_recorder(max_pending_bytes=1_000)
        hub.emit("x")
        recorder.settle(10)
        for number in range(3_000):
            hub.emit("x", session_id=f"s{number}")
        hub.emit("x", session_id="s0")
        recorder.settle(10)
    found = missed(take_all(recorder))
    of_all = {reason: number for (session_id, reason), number in found.items() if not session_id}
    assert len(found) - len(of_all) == 1_000
    assert sum(of_all.values()) >= 2_000
    assert sum(found.values()) == 3_001


def test_the_last_gap_comes_with_the_end() -> None:
    """A recorder that is full to the end still learns what it missed."""
    hub = Hub()
    recorder = hub.subscribe_recorder(max_pending_bytes=1)
    for number in range(10):
        hub.emit("x", n=number)
    hub.close()
    assert missed(take_all(recorder)) == {("", "pending_full"): 10}
    assert recorder.stats().dropped == {"pending_full": 10}


def test_accepted_never_promises_an_event_that_is_dropped() -> None:
    """While offers overflow, ``accepted`` seen by another thread is reached by what can be taken."""
    with Hub(HubConfig(rate_limit=None)) as hub:
        recorder = hub.subscribe_recorder(max_pending_bytes=30_000)
        done = threading.Event()

        def publish() -> None:
            for number in range(20_000):
                hub.emit("x", n=number)
            done.set()

        thread = threading.Thread(target=publish)
        thread.start()
        taken = 0
        while not done.is_set():
            promised = recorder.accepted
            chunks = take_all(recorder)
            taken += len(numbers(chunks))
            recorder.release(chunks)
            row = recorder.stats()
            assert min(row.offered, row.taken, row.queued, *row.dropped.values(), 0) == 0
            if taken < promised:  # counted just before it is queued
                recorder.settle(30)
                chunks = take_all(recorder)
                taken += len(numbers(chunks))
                recorder.release(chunks)
            assert taken >= promised
        thread.join(30)


def test_the_bell_rings_for_each_chunk() -> None:
    """A persister that sleeps on the bell wakes when something comes, and when the end does."""
    with Hub() as hub:
        recorder = hub.subscribe_recorder()
        seen: list[int] = []

        def persist() -> None:
            while not (recorder.ended and recorder.is_idle):
                recorder.bell.sleep(3_600, lambda: not recorder.is_idle or recorder.ended)
                seen.extend(numbers(take_all(recorder)))

        thread = threading.Thread(target=persist)
        thread.start()
        for number in range(100):
            hub.emit("x", n=number)
            if number % 10 == 0:
                hub.flush()
        hub.close()
        thread.join(30)
        assert not thread.is_alive()
        assert seen == list(range(100))


class Endless(dict[str, Any]):
    """Data whose own methods never come to an end."""

    def values(self) -> Any:
        raise AssertionError("foreign code on the hub's thread")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("foreign code on the hub's thread")


@pytest.mark.parametrize(
    ("data", "least", "most"),
    [
        ({}, 400, 600),
        ({"n": 1, "f": 0.5, "b": True, "none": None}, 400, 600),
        ({"text": "a" * 10_000}, 10_000, 11_000),
        ({"blob": bytes(10_000)}, 10_000, 11_000),
        ({"list": ["a" * 100] * 1_000}, 100_000, 300_000),
        ({"deep": {"deep": {"text": "a" * 10_000}}}, 10_000, 12_000),
        ({"foreign": object()}, 400, 700),
    ],
    ids=["empty", "scalars", "text", "bytes", "list", "nested", "foreign"],
)
def test_estimates_are_near_the_truth(data: dict[str, Any], least: int, most: int) -> None:
    """Text counts as it is, lists by their first entries, what is foreign by a flat sum."""
    assert least <= estimate_bytes([PublishedEvent("x", data=data)]) <= most


def test_estimates_run_no_foreign_code_and_end() -> None:
    """Neither a mapping of the user's own, nor a cycle, nor a long list can hold the hub's thread up."""
    cycle: list[Any] = []
    cycle.append(cycle)
    wide: list[Any] = ["x"]
    for _ in range(10):
        wide = [wide] * 1_000
    events = [
        PublishedEvent("x", data=Endless(a=1)),
        PublishedEvent("x", data={"wide": wide}),
        PublishedEvent("x", data={"cycle": cycle}),
        PublishedEvent("x", data={"long": list(range(1_000_000))}),
        PublishedEvent("x", data=5),  # type: ignore[arg-type]
    ]
    assert estimate_bytes(events) > 1_000_000
