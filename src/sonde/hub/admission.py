"""Admission: what happens to events that come after close, or faster than memory allows."""

from __future__ import annotations

import sys
import threading
import time
from _thread import get_ident
from collections.abc import Sequence, Sized

from sonde.hub.counter import AtomicCounter
from sonde.hub.recording import DEFAULT_MAX_PENDING_BYTES, RecorderSubscription

CLOSED = "closed"
OVERLOADED = "overloaded"
INVALID = "invalid"

BLOCK_AT_MOST_S = 1.0
_BLOCK_STEP_S = 0.002

# What an event in the inbox is taken to weigh until the recorder knows better.
_FIRST_EVENT_BYTES = 1024

_OPEN, _SHUT = 0, 1


class Admission:
    """Guards the hub's inbox. Publishers look at ``gate`` alone, one attribute, as long as all is well.

    The inbox is unbounded by itself, and eight publishing threads leave the hub's thread a ninth of the interpreter, so
    its length is bounded here: by the recorder's ``max_pending_bytes`` over the average size of an event.
    """

    __slots__ = ("_blocks", "_inbox", "_is_closed", "_recorders", "_refusals", "gate", "limit")

    def __init__(self, inbox: Sized) -> None:
        """Guard ``inbox``, open."""
        self._inbox = inbox
        self._refusals = {reason: AtomicCounter() for reason in (CLOSED, OVERLOADED, INVALID)}
        self._is_closed = False
        self._blocks = False
        self._recorders: Sequence[RecorderSubscription] = ()
        self.limit = DEFAULT_MAX_PENDING_BYTES // _FIRST_EVENT_BYTES
        """Events that may wait in the inbox."""
        self.gate = _OPEN
        """Whether a publisher has to ask :meth:`admit`."""

    # -- for publishers: no lock, no exception ---------------------------------------------------------------------------

    def look(self) -> None:
        """Shut the gate if the inbox holds too much."""
        if len(self._inbox) >= self.limit:
            self.gate = _SHUT

    def admit(self) -> bool:
        """Whether one more event may come in; counts it if not. May wait, if a recorder asked for that."""
        if not self._is_closed and (self.gate == _OPEN or (self._blocks and self._wait())):
            return True
        self.refuse(CLOSED if self._is_closed else OVERLOADED)
        return False

    def refuse(self, reason: str) -> None:
        """Count an event that is not taken."""
        self._refusals[reason].increment()

    def _wait(self) -> bool:
        """Wait for room where waiting harms nobody but the caller: the one named exception to "never blocks"."""
        if get_ident() == threading.main_thread().ident:
            return False
        asyncio = sys.modules.get("asyncio")
        if asyncio is not None and asyncio._get_running_loop() is not None:  # the cheap, documented-as-such look
            return False
        deadline_s = time.monotonic() + BLOCK_AT_MOST_S
        while not self._is_closed:
            if not self._is_full():  # the hub's thread may be asleep: look for oneself
                self.gate = _OPEN
                return True
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(_BLOCK_STEP_S)
        return False

    def _is_full(self) -> bool:
        return len(self._inbox) >= self.limit or any(
            recorder.overflow == "block" and recorder.is_full for recorder in self._recorders
        )

    # -- for the hub's thread --------------------------------------------------------------------------------------------

    def settle(self, recorders: Sequence[RecorderSubscription]) -> None:
        """Take the measure of the recorders, and open or shut the gate accordingly."""
        self._recorders = recorders
        self._blocks = any(recorder.overflow == "block" for recorder in recorders)
        if recorders:
            self.limit = max(1024, min(recorder.events_within_bound(_FIRST_EVENT_BYTES) for recorder in recorders))
        self.gate = _SHUT if self._is_full() or self._is_closed else _OPEN

    def close(self) -> None:
        """Let nothing in any more."""
        self._is_closed = True
        self.gate = _SHUT

    def refused(self, reason: str) -> int:
        """Events not taken for ``reason``."""
        return self._refusals[reason].value
