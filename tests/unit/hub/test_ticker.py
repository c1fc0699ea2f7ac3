import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from sonde.hub import Ticker


@pytest.fixture
def ticker() -> Iterator[Ticker]:
    made = Ticker("sonde-test")
    yield made
    made.stop()


class Count:
    """Counts calls, and lets a test wait for the n-th."""

    def __init__(self) -> None:
        self.n = 0
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.n += 1
            self._changed.notify_all()

    def reaches(self, n: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.n >= n, timeout=30)


def test_each_action_has_its_interval(ticker: Ticker) -> None:
    """The quick one is called again and again while the slow one waits; one thread does both."""
    quick, slow = Count(), Count()
    ticker.every(1000, slow)
    ticker.every(0.001, quick)
    assert quick.reaches(20)
    assert slow.n == 0
    assert [thread.name for thread in threading.enumerate()].count("sonde-test") == 1


def test_nothing_is_called_before_its_time(ticker: Ticker) -> None:
    """The first call comes after one whole interval."""
    begun_s, called = time.monotonic(), Count()
    ticker.every(0.05, called)
    assert called.reaches(1)
    assert time.monotonic() - begun_s >= 0.05


def test_an_action_that_fails_is_called_again(ticker: Ticker, caplog: pytest.LogCaptureFixture) -> None:
    """What an action raises is counted and logged; neither it nor the others miss their next turn."""
    failing, other = Count(), Count()

    def fail() -> None:
        failing()
        raise OSError("no such sensor")

    with caplog.at_level(logging.WARNING, "sonde"):
        ticker.every(0.001, fail)
        ticker.every(0.001, other)
        assert failing.reaches(3)
        assert other.reaches(3)
    assert ticker.failures.counts["sonde-test"] >= 2
    assert "OSError('no such sensor')" in caplog.text


def test_a_slow_action_does_not_pile_up(ticker: Ticker) -> None:
    """What was due several times while an action ran is done once, and then in step again."""
    held, count = threading.Event(), Count()

    def slow() -> None:
        count()
        if count.n == 1:
            held.wait(30)

    ticker.every(0.02, slow)
    assert count.reaches(1)
    begun_s = time.monotonic()
    other, passed = Ticker("sonde-other"), Count()
    other.every(0.02, passed)
    assert passed.reaches(10)
    other.stop()
    held.set()
    assert count.reaches(4)
    assert time.monotonic() - begun_s >= 0.2 + 0.02  # of the three calls, two had to wait for their time


def test_the_thread_ends_with_stop(ticker: Ticker) -> None:
    """``stop`` ends the thread, however long it would have slept, and a second one does nothing."""
    ran_in: list[threading.Thread] = []
    done = Count()

    def work() -> None:
        if not ran_in:
            ran_in.append(threading.current_thread())
            ticker.every(1000, Count())
        done()

    ticker.every(0.001, work)
    assert done.reaches(2)
    ticker.stop()
    ticker.stop()
    ran_in[0].join(30)
    assert not ran_in[0].is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_ticks_too() -> None:
    """Both go on after a fork, each on a thread of its own; a stopped ticker stays stopped."""
    code = """
import os, threading
from sonde.hub import Ticker
ticked = threading.Event()
ticker, stopped = Ticker("sonde-test"), Ticker("sonde-stopped")
ticker.every(0.01, lambda: ticked.set())
stopped.every(0.01, lambda: None)
stopped.stop()
assert ticked.wait(30)
pid = os.fork()
ticked = threading.Event()
ok = ticked.wait(30) and not any(thread.name == "sonde-stopped" for thread in threading.enumerate()) or pid
if pid == 0:
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert ok
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, "")
