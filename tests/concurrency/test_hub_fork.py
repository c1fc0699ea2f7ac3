"""Fork: the child begins anew, and neither side hangs, loses or doubles anything."""

import json
import os
import select
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sonde.hub import Hub, HubConfig, RecorderSubscription

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

DEADLINE_S = 30
# An hour between batches: what the parent has queued is certainly not delivered when it forks.
PATIENT = HubConfig(rate_limit=None, flush_interval_s=3_600, batch_size=10**6)


def in_child(act: Callable[[], Any]) -> Any:
    """What ``act`` returns in a forked child, which has a deadline."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = json.dumps(act())
        except BaseException as error:  # noqa: BLE001 - a child must never run on into pytest
            answer = json.dumps(f"{type(error).__name__}: {error}")
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    try:
        if not select.select([reader], [], [], DEADLINE_S)[0]:
            os.kill(child, signal.SIGKILL)
            pytest.fail(f"the child did not answer within {DEADLINE_S} s")
        with os.fdopen(reader, closefd=False) as pipe:
            return json.loads(pipe.read())
    finally:
        os.close(reader)
        os.waitpid(child, 0)


def drain(recorder: RecorderSubscription) -> list[Any]:
    chunks = recorder.take(max_events=10**9, max_bytes=10**12)
    recorder.release(chunks)
    return [event.data["n"] for chunk in chunks for event in chunk.events]


def test_the_child_begins_anew() -> None:
    """A new writer, an empty hub, its own thread; subscriptions live on; what the parent queued stays there."""
    with Hub(PATIENT) as hub:
        live, recorder = hub.subscribe(queue_size=5), hub.subscribe_recorder()
        for number in range(10):
            hub.emit("parent", n=number)
        hub.flush()  # full, and with drops
        for number in range(10, 20):
            hub.emit("parent", n=number)
        parent = hub.stats()
        assert parent.live_dropped
        assert parent.queued > 0

        def child() -> Any:
            fresh = hub.stats()
            hub.emit("child", n="mine")
            first = live.get(timeout_s=DEADLINE_S)
            hub.emit("child", n="too")
            hub.flush()
            names = [thread.name for thread in threading.enumerate()]
            recorded = drain(recorder)
            hub.close()
            end = hub.stats()
            return {
                "writer": hub.writer_id,
                "fresh": [fresh.published, fresh.queued, fresh.live_dropped, fresh.dropped],
                "rows": [[row.offered, row.taken, row.queued] for row in (*fresh.subscriptions, *fresh.recorders)],
                "first": first and [first.data["n"], first.seq, first.writer_id == hub.writer_id],
                "threads": names,
                "recorded": recorded,
                "live": [event.data["n"] for event in live],
                "end": [end.published, end.handed_over, end.queued, end.dropped],
            }

        answer = in_child(child)
        assert answer.pop("writer") != hub.writer_id
        assert answer == {
            "fresh": [0, 0, {}, {}],
            "rows": [[0, 0, 0], [0, 0, 0]],
            "first": ["mine", 1, True],
            "threads": ["MainThread", "sonde-hub"],
            "recorded": ["mine", "too"],
            "live": ["too"],
            "end": [2, 2, 0, {}],
        }
        hub.emit("parent", n=20)
        hub.flush()
        assert drain(recorder) == list(range(21))
        assert hub.stats().published == 21


def test_a_closed_hub_stays_closed_in_the_child() -> None:
    """The child of a process that closed its hub has a closed hub: nothing starts, nothing hangs."""
    hub = Hub()
    subscription = hub.subscribe()
    hub.emit("x", n=1)
    hub.close()

    def child() -> Any:
        hub.emit("late")
        hub.flush()
        hub.close()
        names = [thread.name for thread in threading.enumerate()]
        return [hub.stats().dropped, hub.wait(1), list(subscription), hub.stats().queued, names]

    assert in_child(child) == [{"closed": 1}, True, [], 0, ["MainThread"]]


def test_a_child_of_a_hub_that_is_closing_ends_too() -> None:
    """Forked between stop and the end, the child's hub is closed and its subscriptions end."""
    for _ in range(10):
        hub = Hub(PATIENT)
        subscription = hub.subscribe()
        for number in range(1_000):
            hub.emit("x", n=number)
        hub.stop()
        assert in_child(lambda hub=hub, subscription=subscription: [hub.wait(DEADLINE_S), list(subscription)]) == [
            True,
            [],
        ]
        assert hub.wait(DEADLINE_S)


def test_a_hub_made_in_the_child_works() -> None:
    """A child's own hub knows nothing of its parent's."""

    def child() -> Any:
        with Hub() as hub, hub.subscribe() as subscription:
            hub.emit("x", n=1)
            event = subscription.get(timeout_s=DEADLINE_S)
            return event and event.data["n"]

    assert in_child(child) == 1


def test_a_grandchild_begins_anew_too() -> None:
    """Every fork gives a new writer."""
    with Hub() as hub:
        recorder = hub.subscribe_recorder()
        hub.emit("x", n="parent")

        def grandchild() -> Any:
            hub.emit("x", n="grandchild")
            hub.flush()
            return [hub.writer_id, drain(recorder)]

        def child() -> Any:
            hub.emit("x", n="child")
            below = in_child(grandchild)
            hub.flush()
            return [hub.writer_id, drain(recorder), below]

        writer, recorded, (below_writer, below_recorded) = in_child(child)
        assert len({hub.writer_id, writer, below_writer}) == 3
        assert (recorded, below_recorded) == (["child"], ["grandchild"])


@pytest.mark.parametrize("forks", [30, pytest.param(500, marks=pytest.mark.long)])
def test_fork_while_threads_publish_subscribe_and_flush(forks: int) -> None:
    """Whatever the parent's threads are in the middle of, each child works and ends within its deadline."""
    hub = Hub(HubConfig(rate_limit=None))
    stop = threading.Event()

    def publish() -> None:
        while not stop.is_set():
            for _ in range(100):
                hub.emit("parent", n=0)
            hub.flush()

    def come_and_go() -> None:
        while not stop.is_set():
            with hub.subscribe() as subscription:
                subscription.get(timeout_s=0.001)
                hub.stats()

    threads = [threading.Thread(target=work) for work in (publish, publish, come_and_go)]
    for thread in threads:
        thread.start()
    writers = {hub.writer_id}
    try:
        for _ in range(forks):

            def child() -> Any:
                subscription, recorder = hub.subscribe(queue_size=1_000), hub.subscribe_recorder()
                for number in range(10):
                    hub.emit("child", n=number)
                hub.flush()
                hub.close()
                stats = hub.stats()
                return [
                    hub.writer_id,
                    [event.data["n"] for event in subscription],
                    drain(recorder),
                    [stats.published, stats.handed_over, stats.queued, stats.dropped],
                ]

            writer, seen, recorded, ledger = in_child(child)
            assert seen == recorded == list(range(10))
            assert ledger == [10, 10, 0, {}]
            writers.add(writer)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert len(writers) == forks + 1
    hub.close()
    stats = hub.stats()
    assert stats.published == stats.handed_over
