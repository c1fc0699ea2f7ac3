"""Metrics are exact: under threads, under signals that interrupt an update, and in forked children."""

import gc
import math
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from sonde.metrics import Counter, Gauge, Histogram, HistogramSnapshot, Registry, Window

THREADS = 8


@pytest.fixture
def _stormy() -> Iterator[None]:
    """Threads take turns quickly."""
    found = sys.getswitchinterval()
    sys.setswitchinterval(20e-6)
    yield
    sys.setswitchinterval(found)


def run_threads(work: Callable[[int], None]) -> None:
    """Eight threads do ``work``, beginning together."""
    start = threading.Barrier(THREADS)

    def wait_and_work(number: int) -> None:
        start.wait(60)
        work(number)

    threads = [threading.Thread(target=wait_and_work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
        assert not thread.is_alive()


def hammer(times: int) -> None:
    counter, gauge, histogram = Counter("x"), Gauge("x"), Histogram("x", buckets=[1, 4])

    def work(number: int) -> None:
        for _ in range(times):
            counter.inc()
            counter.inc(2)
            gauge.inc(3)
            gauge.dec()
            histogram.observe(float(number))

    run_threads(work)
    total = THREADS * times
    assert counter.get() == 3 * total
    assert gauge.get() == 2.0 * total
    assert histogram.buckets() == {1.0: 2 * times, 4.0: 5 * times, math.inf: total}
    assert histogram.sum == times * sum(range(THREADS))
    assert histogram.snapshot().sketch.count == total


@pytest.mark.usefixtures("_stormy")
def test_threads_lose_no_update() -> None:
    """Eight threads that update the same metrics leave the exact sums."""
    hammer(20_000)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_threads_lose_no_update_in_a_million() -> None:
    """The same with a million updates of each kind and thread."""
    hammer(1_000_000)


def test_threads_lose_no_update_in_eight_million() -> None:
    """Eight threads that count and observe a million times each leave the exact figures."""
    counter, histogram = Counter("x"), Histogram("x", buckets=[0.5])
    times = 1_000_000

    def work(_: int) -> None:
        inc, observe = counter.inc, histogram.observe
        for _ in range(times):
            inc()
            observe(1.0)

    run_threads(work)
    total = THREADS * times
    assert counter.get() == histogram.count == histogram.sum == total
    assert histogram.buckets() == {0.5: 0, math.inf: total}
    assert histogram.snapshot().sketch.count == total


@pytest.mark.usefixtures("_stormy")
def test_each_snapshot_is_of_one_moment() -> None:
    """While threads observe, count, sum, buckets and distribution of a snapshot agree, and never go back."""
    histogram, done = Histogram("x", buckets=[0.5]), threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            now = histogram.snapshot()
            assert now.buckets()[math.inf] == now.count == now.sum == now.sketch.count
            assert now.cumulative == (0,)
            seen.append(now.count)

    reader = threading.Thread(target=read)
    reader.start()

    def observe(_: int) -> None:
        for _ in range(5_000):
            histogram.observe(1.0)

    run_threads(observe)
    done.set()
    reader.join(60)
    assert seen == sorted(seen)
    assert histogram.count == THREADS * 5_000


@pytest.mark.usefixtures("_stormy")
def test_what_waits_to_be_folded_is_bounded() -> None:
    """However many threads append, no more than a chunk and a few for each thread wait."""
    histogram = Histogram("x")
    longest = [0] * THREADS

    def observe(number: int) -> None:
        for _ in range(10_000):
            histogram.observe(0.5)
            longest[number] = max(longest[number], len(histogram._journal.entries))

    run_threads(observe)
    assert max(longest) <= 512 + 8 * THREADS


@pytest.mark.usefixtures("_stormy")
def test_threads_get_the_same_metric() -> None:
    """Of several threads that ask for a new series at once, all get the same one."""
    registry = Registry()

    def work(_: int) -> None:
        for n in range(2_000):
            registry.counter("calls", {"n": str(n)}).inc()

    run_threads(work)
    assert {counter.get() for counter in registry.counters()} == {THREADS}
    assert registry.overflowed == {}


class StruckError(Exception):
    """What a signal handler raises."""


def strike(handler: Callable[[], None], update: Callable[[], None], times: int) -> int:
    """Call ``update`` over and over until a timer's signal has interrupted it ``times`` times; how often it was called.

    The signal comes at any instruction, so in the long run it comes at each.
    """
    calls = strikes = armed = 0
    rng = random.Random(7)

    def handle(_: int, __: FrameType | None) -> None:
        nonlocal strikes
        if strikes < armed:  # else it is somebody else's
            strikes += 1
            handler()

    found = signal.signal(signal.SIGALRM, handle)
    try:
        while strikes < times:
            try:
                while strikes < times:
                    if armed == strikes < times:  # one at a time, or handlers would interrupt handlers without end
                        armed += 1
                        signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 100e-6))
                    calls += 1
                    update()
            except StruckError:
                continue
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, found)
    return calls


@pytest.mark.parametrize("times", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_signal_handler_may_update_what_it_interrupts(times: int) -> None:
    """It neither deadlocks nor loses an update, its own or the interrupted one, also in the middle of folding."""
    counter, gauge, histogram, registry = Counter("x"), Gauge("x"), Histogram("x"), Registry()
    handled = 0

    def update() -> None:
        counter.inc(2)
        gauge.inc()
        histogram.observe(1.0)
        registry.counter("calls", {"n": "1"}).inc()

    def handler() -> None:
        nonlocal handled
        handled += 1
        for _ in range(40):
            update()

    calls = strike(handler, update, times)
    total = calls + 40 * handled
    assert handled >= times
    assert counter.get() == 2 * total
    assert gauge.get() == histogram.count == histogram.sum == total
    assert registry.counter("calls", {"n": "1"}).get() == total


class Gadgets:
    """One of each, updated alike and read in every way."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.counter = self.registry.counter("calls_total")
        self.gauge = self.registry.gauge("level")
        self.histogram = self.registry.histogram("x_seconds", buckets=[1])
        self.window = Window(self.histogram, seconds=0.01)

    def update(self) -> None:
        self.counter.inc()
        self.gauge.set(7.0)
        self.histogram.observe(1.0)

    def read(self) -> None:
        """What is read is of one moment, whatever interrupts it."""
        now = self.histogram.snapshot()
        assert now.count == now.sum == now.sketch.count == now.buckets()[1.0] == now.buckets()[math.inf]
        assert self.histogram.percentile(0.5) in (0.0, 1.0)
        assert self.window.read().percentile(0.99) in (0.0, 1.0)
        assert self.gauge.get() in (0.0, 7.0)
        observed = self.registry.snapshot().get("x_seconds")
        assert isinstance(observed, HistogramSnapshot)
        assert observed.count == observed.sum >= now.count


@pytest.mark.parametrize("times", [300, pytest.param(5_000, marks=pytest.mark.long)])
def test_a_signal_handler_may_read_what_it_interrupts(times: int) -> None:
    """In the middle of updates and of reads: nothing deadlocks, and each figure is of one moment."""
    gadgets = Gadgets()
    begun = handled = seen = 0

    def handler() -> None:
        nonlocal handled
        handled += 1
        gadgets.read()
        for _ in range(600):  # enough to fold what the interrupted code is about to read
            gadgets.update()

    def work() -> None:
        nonlocal begun, seen
        begun += 1
        gadgets.update()
        now = gadgets.histogram.snapshot()
        assert now.count == now.sum >= seen
        seen = now.count
        if begun % 20 == 0:
            gadgets.read()

    calls = strike(handler, work, times)
    total = calls + 600 * handled
    assert (begun, handled) == (calls, times)
    assert gadgets.counter.get() == gadgets.histogram.count == gadgets.histogram.sum == total
    assert gadgets.gauge.get() == 7.0


@pytest.mark.parametrize("times", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_an_interrupt_in_the_middle_loses_nothing(times: int) -> None:
    """Ctrl-C anywhere in an update or a read leaves it done or not done, never half, and all goes on as before."""
    gadgets = Gadgets()
    begun = done = 0

    def handler() -> None:
        raise StruckError

    def work() -> None:
        nonlocal begun, done
        begun += 1
        gadgets.update()
        done += 1
        if done % 20 == 0:
            gadgets.read()

    gc.disable()  # hypothesis' callback would swallow the exception
    try:
        strike(handler, work, times)
    finally:
        gc.enable()
    assert done < begun
    for total in (gadgets.counter.get(), gadgets.histogram.count):
        assert done <= total <= begun
    gadgets.read()
    before = gadgets.histogram.count, gadgets.counter.get()
    for _ in range(1_500):
        gadgets.update()
    assert (gadgets.histogram.count, gadgets.counter.get()) == (before[0] + 1_500, before[1] + 1_500)
    assert len(gadgets.histogram._journal.entries) <= 513


def test_an_exception_in_the_middle_of_folding_loses_nothing() -> None:
    """A handler that raises leaves each value counted once, and folding goes on afterwards."""
    histogram = Histogram("x")
    appended = 0

    def handler() -> None:
        raise StruckError

    def update() -> None:
        nonlocal appended
        entries = histogram._journal.entries
        entries.append(1.0)  # the first half of observe, and known to be done
        appended += 1
        histogram._journal.shorten()

    gc.disable()  # hypothesis' callback would swallow the exception
    try:
        strike(handler, update, 1_000)
        # The only call whose count the exception may have cost is that between the two lines above.
        assert 0 <= histogram.count - appended <= 1_000
    finally:
        gc.enable()
    for _ in range(len(histogram._journal.entries)):
        histogram.observe(1.0)
    assert histogram.count == histogram.sum == histogram.snapshot().sketch.count
    assert len(histogram._journal.entries) <= 513


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_goes_on() -> None:
    """Forked while other threads update, a child neither hangs nor miscounts."""
    histogram, done = Histogram("x"), threading.Event()

    def work() -> None:
        while not done.is_set():
            histogram.observe(1.0)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                before = histogram.count
                for _ in range(2_000):
                    histogram.observe(1.0)
                os._exit(0 if histogram.count == before + 2_000 == histogram.sum else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
