"""Interrupts: exceptions that a signal, or another thread, raises in the middle of publishing."""

import ctypes
import gc
import itertools
import os
import queue
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

import pytest

from sonde.events import Event
from sonde.hub import Hub, HubConfig, RecorderSubscription, Subscription

UNLIMITED = HubConfig(rate_limit=None)

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")


@pytest.fixture
def _stormy() -> Iterator[None]:
    """Threads take turns quickly, and nothing is collected.

    An exception that strikes a callback of the garbage collector (hypothesis has one) is lost, which is not our matter.
    """
    found = sys.getswitchinterval()
    sys.setswitchinterval(50e-6)
    gc.disable()
    yield
    gc.enable()
    sys.setswitchinterval(found)


class Collector:
    """Takes what a recorder gets, on a thread of its own, and keeps the numbers."""

    def __init__(self, recorder: RecorderSubscription) -> None:
        self.numbers: list[Any] = []
        self.missed = 0
        self._recorder = recorder
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def _collect(self) -> None:
        recorder = self._recorder
        while not (recorder.ended and recorder.is_idle):
            recorder.bell.sleep(1, lambda: not recorder.is_idle or recorder.ended)
            chunks = recorder.take(max_events=10_000, max_bytes=10**9)
            for chunk in chunks:
                self.missed += sum(number for _, _, number in chunk.missed)
                self.numbers += [event.data["n"] for event in chunk.events]
            recorder.release(chunks)

    def join(self) -> list[Any]:
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.missed == 0
        return self.numbers


@contextmanager
def handling(number: int, handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """A signal handler for a while."""
    found = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(number, found)


@contextmanager
def timer() -> Iterator[Callable[[], None]]:
    """SIGALRM within a third of a millisecond."""
    rng = random.Random(7)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, rng.uniform(20e-6, 300e-6)) and None


@contextmanager
def keyboard() -> Iterator[Callable[[], None]]:
    """Ctrl-C, sent by another thread."""
    orders: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def obey() -> None:
        while orders.get():
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=obey)
    thread.start()
    yield lambda: orders.put(True)
    orders.put(False)
    thread.join(60)


@pytest.mark.parametrize(("number", "source"), [(signal.SIGALRM, timer), (signal.SIGINT, keyboard)])
@pytest.mark.usefixtures("_stormy")
@pytest.mark.parametrize("rounds", [300, pytest.param(3_000, marks=pytest.mark.long)])
def test_a_storm_of_interrupts_in_the_main_thread(
    rounds: int, number: signal.Signals, source: Callable[[], AbstractContextManager[Callable[[], None]]]
) -> None:
    """Every emit that returned is delivered, in order; the surplus is at most one an interrupt; delivery goes on."""
    armed = False
    strikes = 0

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal armed, strikes
        if armed:
            armed = False
            strikes += 1
            raise KeyboardInterrupt

    returned: list[int] = []
    numbers = itertools.count()
    total = 0
    # The more hubs, the more interrupts strike a hub's very first events, which start its thread.
    for first in range(0, rounds, 10):
        hub = Hub(UNLIMITED)
        collector = Collector(hub.subscribe_recorder(max_pending_bytes=2**32))
        returned.clear()
        hub_strikes = strikes
        with handling(number, interrupt), source() as strike:
            for _ in range(first, min(rounds, first + 10)):
                try:
                    armed = True
                    strike()
                    while True:
                        this = next(numbers)
                        hub.emit("x", n=this)
                        returned.append(this)
                except KeyboardInterrupt:
                    continue
        hub.emit("x", n="afterwards")
        hub.close()
        *delivered, last = collector.join()
        assert last == "afterwards"
        assert delivered == sorted(set(delivered))
        assert set(returned) <= set(delivered)
        assert len(delivered) - len(returned) <= strikes - hub_strikes
        stats = hub.stats()
        assert (stats.published, stats.queued, stats.dropped) == (len(delivered) + 1, 0, {})
        total += len(delivered)
    assert strikes == rounds
    assert total > rounds


class Strike(BaseException):
    """Thrown into a thread from outside."""


@pytest.mark.usefixtures("_stormy")
@pytest.mark.parametrize("rounds", [300, pytest.param(3_000, marks=pytest.mark.long)])
def test_a_storm_of_exceptions_in_publishing_threads(rounds: int) -> None:
    """The same, with exceptions that are set in four publishing threads while they emit."""
    hub = Hub(UNLIMITED)
    collector = Collector(hub.subscribe_recorder(max_pending_bytes=2**32))
    ready: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    returned: list[list[tuple[int, int]]] = [[] for _ in range(4)]
    struck = 0

    def publish(worker: int) -> None:
        nonlocal struck
        number = 0
        mine = returned[worker]
        for _ in range(rounds // 4):
            try:
                ready.put(threading.get_ident())
                while True:
                    number += 1
                    hub.emit("x", n=(worker, number))
                    mine.append((worker, number))
            except Strike:
                continue
        ready.put(None)

    threads = [threading.Thread(target=publish, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    ended = 0
    while ended < len(threads):
        ident = ready.get(timeout=60)
        if ident is None:
            ended += 1
        else:
            struck += ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Strike))
    for thread in threads:
        thread.join(60)
    hub.emit("x", n=(4, 0))
    hub.close()
    delivered = collector.join()
    assert struck == rounds // 4 * 4
    kept = {number for mine in returned for number in mine}
    assert kept <= set(delivered)
    assert len(delivered) == len(set(delivered))
    assert delivered[-1] == (4, 0)
    assert len(delivered) - 1 - len(kept) <= struck
    for worker in range(4):
        own = [number for number in delivered if number[0] == worker]
        assert own == sorted(own)
    assert hub.stats().published == len(delivered)


# -- an interrupt at every single place --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["emit", "publish"])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
def test_an_interrupt_at_any_opcode_of_publishing_loses_nothing(
    strike_at: Callable[..., bool], method: str, is_first: bool
) -> None:
    """Wherever it strikes, also while the thread is started: what comes before and after is delivered, counted once."""
    for step in itertools.count():
        hub = Hub(HubConfig(rate_limit=None, flush_interval_s=0.001))
        subscription = hub.subscribe()
        if not is_first:
            hub.emit("before")
        act = (
            (lambda hub=hub: hub.emit("struck", a=1))
            if method == "emit"
            else lambda hub=hub: hub.publish(Event("struck"))
        )
        went_on = strike_at(act, step, everywhere=True)
        hub.emit("after")
        types = []
        while not types or types[-1] != "after":
            event = subscription.get(timeout_s=20)  # without a flush: the thread must be there by itself
            assert event is not None
            types.append(event.type)
        assert types in ([*["before"][is_first:], "after"], [*["before"][is_first:], "struck", "after"])
        assert hub.stats().published == len(types)
        hub.close()
        if not went_on:
            assert "struck" in types
            break
    assert step > 30


def test_an_interrupt_at_any_place_of_joining_and_leaving_locks_nothing(strike_at: Callable[..., bool]) -> None:
    """Subscribing, unsubscribing and looking at the ledger may be cut off anywhere: the hub works on, and balances."""
    for name in ("subscribe", "subscribe_recorder", "unsubscribe", "stats", "flush"):
        for step in itertools.count():
            hub = Hub(HubConfig(rate_limit=None, queue_size=1, subscriber_queue_size=1))
            leaving: Subscription = hub.subscribe()
            staying = hub.subscribe(queue_size=100)
            for number in range(5):
                hub.emit("x", n=number)
            hub.flush()
            acts: dict[str, Callable[[], object]] = {
                "subscribe": hub.subscribe,
                "subscribe_recorder": hub.subscribe_recorder,
                "unsubscribe": leaving.close,
                "stats": hub.stats,
                "flush": hub.flush,
            }
            went_on = strike_at(acts[name], step, everywhere=False)
            hub.emit("x", n=5)
            hub.flush()
            assert staying.stats().queued == 6
            leaving.close()
            assert [event.type for event in leaving] == ["x", "sonde.gap"]
            assert sum(hub.stats().live_dropped.values()) == leaving.dropped
            assert 4 <= leaving.dropped <= 5
            assert hub.stats().published == hub.stats().handed_over == 6
            hub.close()
            if not went_on:
                break
        assert step > 5


# -- emitting where others may not -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_emit_in_a_signal_handler_that_interrupts_emit(wanted: int) -> None:
    """Handlers that emit strike the main thread's own emits: no deadlock, and every event of both is there."""
    hub = Hub(UNLIMITED)
    collector = Collector(hub.subscribe_recorder(max_pending_bytes=2**32))
    handled = published = 0

    def handler(signum: int, frame: FrameType | None) -> None:
        nonlocal handled
        hub.emit("from.handler", n=("handler", handled))
        hub.publish(Event("from.handler", data={"n": ("again", handled)}))
        handled += 1
        if handled < wanted:
            signal.setitimer(signal.ITIMER_REAL, 30e-6)

    with handling(signal.SIGALRM, handler):
        signal.setitimer(signal.ITIMER_REAL, 30e-6)
        while handled < wanted:
            hub.emit("from.main", n=("main", published))
            published += 1
    hub.close()
    delivered = collector.join()
    assert hub.stats().published == len(delivered) == published + 2 * handled
    assert len(set(delivered)) == len(delivered)
    for source in ("main", "handler", "again"):
        own = [number for kind, number in delivered if kind == source]
        assert own == list(range(len(own)))


def test_emit_in_a_finalizer_during_collection() -> None:
    """Objects that emit when they are collected, 10,000 of them, on whatever thread: no deadlock, none lost."""
    hub = Hub(UNLIMITED)
    collector = Collector(hub.subscribe_recorder(max_pending_bytes=2**32))

    class Noisy:
        def __init__(self, number: int) -> None:
            self.number = number
            self.myself = self  # a cycle: only the collector ends it

        def __del__(self) -> None:
            hub.emit("collected", n=self.number)

    found = gc.get_threshold()
    gc.set_threshold(50)
    try:
        for number in range(10_000):
            Noisy(number)
            hub.emit("made", n=-1)
        gc.collect()
    finally:
        gc.set_threshold(*found)
    hub.close()
    delivered = collector.join()
    assert sorted(number for number in delivered if number >= 0) == list(range(10_000))
    assert hub.stats().published == len(delivered) == 20_000
