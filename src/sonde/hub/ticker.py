"""Ticker: one daemon thread for everything that happens every so often, also after a fork."""

from __future__ import annotations

import math
import os
import time
import weakref
from _thread import allocate_lock
from collections.abc import Callable

from sonde.failures import FailureLog
from sonde.hub.bell import Bell
from sonde.hub.thread import LazyThread


class Ticker:
    """Calls each of its actions at an interval of its own, one after the other, on a thread of its own.

    The thread starts with the first :meth:`every`. Due times are absolute: a slow action does not push the next ones
    away, and what was missed (a suspended machine) is left out. An action that raises is counted in ``failures`` and
    logged, and called again next time. A forked child has all of it anew, with whole intervals ahead.

    ``every`` and ``stop`` are for one thread at a time; neither blocks.

    >>> from threading import Event
    >>> ticker, rung = Ticker("sonde-example"), Event()
    >>> ticker.every(0.001, rung.set)
    >>> rung.wait(10)
    True
    >>> ticker.stop(timeout_s=10)
    True
    """

    def __init__(self, name: str, *, failures: FailureLog | None = None) -> None:
        """Start nothing yet. ``name`` is the thread's, and the kind under which failures are counted."""
        self.failures = FailureLog() if failures is None else failures
        self._name = name
        self._actions: tuple[_Action, ...] = ()  # put in place whole
        self._is_open = True
        self._arm()

    def _arm(self) -> None:
        self._bell = Bell()
        self._turn = allocate_lock()  # held while actions are called
        self._thread = LazyThread(self._name, self._run)

    def every(self, interval_s: float, action: Callable[[], object]) -> None:
        """Call ``action`` in ``interval_s`` seconds from now, and so on."""
        self._actions = (*self._actions, _Action(interval_s, action))
        _ALL.add(self)
        self._thread.start()
        self._bell.ring()

    def stop(self, timeout_s: float = 0.0) -> bool:
        """Call nothing any more; wait ``timeout_s`` seconds at most for what is under way. Idempotent, and for good.

        Returns whether nothing is being called now. Not for the actions themselves.
        """
        self._is_open = False
        _ALL.discard(self)
        self._bell.ring()
        if not self._turn.acquire(timeout=max(0.0, timeout_s)):
            return False
        self._turn.release()
        return True

    def _run(self) -> None:
        while self._is_open:
            self._sleep_until(self._due_s())
            with self._turn:
                for action in self._actions:
                    self._call_if_due(action)

    def _sleep_until(self, due_s: float) -> None:
        self._bell.sleep(max(0.0, due_s - time.monotonic()), lambda: not self._is_open or self._due_s() < due_s)

    def _due_s(self) -> float:
        return min((action.due_s for action in self._actions), default=math.inf)

    def _call_if_due(self, action: _Action) -> None:
        if not self._is_open or action.due_s > time.monotonic():
            return
        action.advance()
        try:
            action.call()
        except Exception as error:  # noqa: BLE001 - what it calls must not end the thread
            self.failures.add(self._name, f"cannot do what is due in thread {self._name}: {error!r}", error=error)

    def _restart_in_child(self) -> None:
        for action in self._actions:
            action.begin()
        self._arm()
        self._thread.start()


class _Action:
    """What is called, how often, and when next (on the monotonic clock)."""

    def __init__(self, interval_s: float, call: Callable[[], object]) -> None:
        self.interval_s = interval_s
        self.call = call
        self.begin()

    def begin(self) -> None:
        self.due_s = time.monotonic() + self.interval_s

    def advance(self) -> None:
        self.due_s = max(self.due_s, time.monotonic() - self.interval_s) + self.interval_s


_ALL: weakref.WeakSet[Ticker] = weakref.WeakSet()


def _restart_all() -> None:
    for ticker in list(_ALL):
        ticker._restart_in_child()  # this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
