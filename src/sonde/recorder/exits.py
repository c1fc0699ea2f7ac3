"""Exits: what is open when the process ends is closed, all of it within one deadline.

No thread is started for it (from Python 3.12 on there are none to be had by then): the recorders' own go on while
``atexit`` runs; where a forked child never had any, the main thread does their work.
"""

from __future__ import annotations

import atexit
import sys
import time
from typing import Protocol

from sonde.failures import LOGGER
from sonde.persister import FlushReport
from sonde.recorder.termination import termination
from sonde.recorder.worker import close_in_workers

EXIT_TIMEOUT_S = 5.0


class Closable(Protocol):
    """What is asked of a recorder: :meth:`Recorder.close`, in its two halves."""

    session_id: str

    def end_session(self, deadline_s: float, error: BaseException | None) -> None:
        """Take no more events; returns soon."""
        ...

    def end_writing(self, deadline_s: float) -> FlushReport:
        """Wait until all is written, or the deadline is over."""
        ...


OPEN: set[Closable] = set()  # not weak: a recorder that nobody holds any more still has a session to end


def close_all() -> None:
    """Close what is open: first all sessions end, so that several slow stores are written at the same time."""
    deadline_s = time.monotonic() + EXIT_TIMEOUT_S
    error = termination.error or getattr(sys, "last_value", None)
    termination.is_held_off = True
    try:
        found = list(OPEN)
        for recorder in found:
            try:
                recorder.end_session(deadline_s, error)
            except Exception as problem:  # noqa: BLE001 - the others are to be closed, too
                LOGGER.warning("cannot end session %s at exit: %r", recorder.session_id, problem)
        for recorder in found:
            try:
                report = recorder.end_writing(deadline_s)
            except Exception as problem:  # noqa: BLE001 - the others are to be closed, too
                LOGGER.warning("cannot close session %s at exit: %r", recorder.session_id, problem)
                continue
            if not report:
                LOGGER.warning("session %s was closed at exit: %s", recorder.session_id, report)
    finally:
        termination.is_held_off = False


atexit.register(close_all)
workers = close_in_workers(close_all)
