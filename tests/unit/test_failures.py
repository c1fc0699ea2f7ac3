"""FailureLog: counts all, logs once an interval, raises nothing."""

import logging

import pytest

from sonde.clock import ManualClock
from sonde.failures import LOGGER, FailureLog


class RaisingHandler(logging.Handler):
    """A handler of a user who did not read logging's manual."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ZeroDivisionError(record.msg)


def test_all_failures_are_counted_and_one_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Within an interval the first of a kind is logged; the count has all."""
    log = FailureLog(interval_s=60, clock=ManualClock())
    for _ in range(1_000):
        log.add("write", "disk full")
    assert log.counts == {"write": 1_000}
    assert [record.getMessage() for record in caplog.records] == ["disk full"]


def test_the_next_line_says_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """After the interval the line tells what happened since the last one."""
    clock = ManualClock()
    log = FailureLog(interval_s=60, clock=clock)
    log.add("write", "disk full")
    log.add("write", "disk full")
    log.add("write", "disk full")
    clock.advance(60)
    log.add("write", "disk full")
    clock.advance(60)
    log.add("write", "disk full")
    assert [record.getMessage() for record in caplog.records] == [
        "disk full",
        "disk full (2 more like this since the last line)",
        "disk full",
    ]


def test_kinds_do_not_silence_each_other(caplog: pytest.LogCaptureFixture) -> None:
    """Each kind has its own interval and its own count."""
    log = FailureLog(clock=ManualClock())
    log.add("write", "one")
    log.add("turn", "two")
    assert [record.getMessage() for record in caplog.records] == ["one", "two"]
    assert log.counts == {"write": 1, "turn": 1}


def test_the_traceback_goes_to_debug(caplog: pytest.LogCaptureFixture) -> None:
    """A warning is one line; who wants the traceback turns DEBUG on."""
    log = FailureLog(clock=ManualClock())
    with caplog.at_level(logging.DEBUG, logger="sonde"):
        log.add("turn", "it broke", error=ValueError("why"))
    warning, debug = caplog.records
    assert (warning.levelno, warning.exc_info) == (logging.WARNING, None)
    assert debug.levelno == logging.DEBUG
    assert debug.exc_info is not None
    assert isinstance(debug.exc_info[1], ValueError)


def test_a_raising_handler_does_not_reach_the_thread_that_reports() -> None:
    """The user's logging may be broken: the failure is counted, and so is that."""
    handler = RaisingHandler()
    LOGGER.addHandler(handler)
    try:
        log = FailureLog(clock=ManualClock())
        log.add("turn", "it broke")
    finally:
        LOGGER.removeHandler(handler)
    assert log.counts == {"turn": 1, "logging": 1}


def test_counts_are_a_copy() -> None:
    """What a reader does to the counts changes nothing."""
    log = FailureLog(clock=ManualClock())
    log.add("turn", "it broke")
    counts = log.counts
    assert isinstance(counts, dict)
    counts.clear()
    assert log.counts == {"turn": 1}
