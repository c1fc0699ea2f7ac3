"""The hub's small parts: a bell, a thread that starts lazily, a counter."""

import threading
from concurrent.futures import ThreadPoolExecutor

from sonde.hub.bell import Bell
from sonde.hub.thread import LazyThread
from sonde.tally import Tally


def test_many_starts_make_one_thread() -> None:
    """However many threads start it, the body runs once."""
    runs = Tally()
    go = threading.Event()

    def body() -> None:
        runs.increment()
        go.wait(30)

    thread = LazyThread("lazy", body)
    assert thread.is_wanting
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: thread.start(), range(100)))
    assert not thread.is_wanting
    go.set()
    assert runs.value <= 1


def test_a_second_thread_leaves_the_first_alone() -> None:
    """After an interrupt it may be started twice: the second finds the first alive, and leaves."""
    runs = Tally()
    entered, go, left = threading.Event(), threading.Event(), threading.Event()

    def body() -> None:
        runs.increment()
        entered.set()
        go.wait(30)
        left.set()

    thread = LazyThread("lazy", body)
    thread.start()
    assert entered.wait(30)
    thread._live()  # what a second thread would run
    thread.revive()
    assert not thread.is_wanting  # it lives
    go.set()
    assert left.wait(30)
    assert runs.value == 1


def test_revive_makes_a_lost_start_good() -> None:
    """A start that an interrupt swallowed is wanting again after ``revive``."""
    done = threading.Event()
    thread = LazyThread("lazy", done.set)
    thread._tokens.clear()  # as an interrupt between taking the token and the start leaves it
    thread.start()
    assert not done.is_set()
    thread.revive()
    assert thread.is_wanting
    thread.start()
    assert done.wait(30)


def test_a_ring_before_the_sleep_is_not_needed() -> None:
    """The sleeper looks once more after it said that it sleeps: what came before the ring could be heard is seen."""
    bell = Bell()
    bell.ring()  # nobody sleeps
    bell.sleep(3_600, lambda: True)


def test_a_ring_wakes_the_sleeper() -> None:
    """One ring ends a sleep of an hour."""
    bell, ready = Bell(), threading.Event()
    asleep = threading.Event()

    def look() -> bool:
        asleep.set()
        return ready.is_set()

    thread = threading.Thread(target=bell.sleep, args=(3_600, look))
    thread.start()
    assert asleep.wait(30)
    bell.ring()
    thread.join(30)
    assert not thread.is_alive()


def test_rings_without_a_sleeper_do_no_harm() -> None:
    """Any number of rings, and late ones, wake at most one sleep too many."""
    bell = Bell()
    for _ in range(3):
        bell._asleep.append(None)  # a sleeper that just timed out
        bell.ring()
        bell.ring()
    bell.sleep(3_600, lambda: False)  # the late ring
    bell.sleep(0.001, lambda: False)  # it left nothing behind


def test_counter_is_exact_under_threads() -> None:
    """Eight threads, and no increment is lost."""
    counter = Tally()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [counter.increment() for _ in range(5_000)], range(8)))
    assert counter.value == 40_000
