"""Admission: what happens to events that come after close, or faster than memory allows."""

from __future__ import annotations

import sys
import threading
import time
from _thread import get_ident
from collections.abc import Sequence, Sized

from sonde.hub.recording import DEFAULT_MAX_PENDING_BYTES, RecorderSubscription
from sonde.hub.witness import Witness
from sonde.tally import Tally

CLOSED = "closed"
OVERLOADED = "overloaded"
INVALID = "invalid"

BLOCK_AT_MOST_S = 1.0
_BLOCK_STEP_S = 0.002

# What an event in the inbox is taken to weigh until the recorder knows better.
_FIRST_EVENT_BYTES = 1024
_SMALLEST_LIMIT = 1024

# With a witness publishers come by when the inbox has doubled, at first after so many events, at last each so many.
_FIRST_STEP = 8
_LARGEST_STEP = 512

_OPEN, _SHUT = 0, 1


class Admission:
    """Guards the hub's inbox. Publishers look at ``gate`` and ``attention`` alone, as long as all is well.

    The inbox is unbounded by itself, and eight publishing threads leave the hub's thread a ninth of the interpreter, so
    its length is bounded here: by the recorder's ``max_pending_bytes`` over the average size of an event.
    """

    __slots__ = (
        "_blocks",
        "_inbox",
        "_is_closed",
        "_recorders",
        "_refusals",
        "_witness",
        "attention",
        "gate",
        "hub_ident",
        "limit",
        "refuse_invalid",
        "wanted",
    )

    def __init__(self, inbox: Sized, witness: Witness | None = None) -> None:
        """Guard ``inbox``, open."""
        self._inbox = inbox
        self._witness = witness
        self._refusals = {reason: Tally() for reason in (CLOSED, OVERLOADED, INVALID)}
        self.refuse_invalid = self._refusals[INVALID].increment
        """Count an event that could not be made. A C function: it works when this module's globals are gone."""
        self._is_closed = False
        self._blocks = False
        self._recorders: Sequence[RecorderSubscription] = ()
        self.limit = DEFAULT_MAX_PENDING_BYTES // _FIRST_EVENT_BYTES
        """Events that may wait in the inbox."""
        self.gate = _OPEN
        """Whether a publisher has to ask :meth:`admit`."""
        self.wanted = 1
        """The inbox's length at which a publisher wakes the hub's thread."""
        self.attention = 1
        """The inbox's length at which a publisher comes by: that one, or less if a witness is to be told."""
        self.hub_ident = 0
        """The hub's thread. A finalizer that publishes there waits for nobody."""

    # -- for publishers: no lock, no exception -------------------------------------------------------------------------

    def attend(self) -> bool:
        """A publisher comes by: whether the hub's thread is to be woken.

        Told once, the thread may still need milliseconds to get the interpreter and need not be told again. It asks for
        attention before it goes to sleep, and then looks at the inbox once more.
        """
        is_wanted = len(self._inbox) >= self.wanted
        if is_wanted:
            self.wanted = self.limit
        self.expect()
        return is_wanted

    def ask(self, wanted: int) -> None:
        """The hub's thread wants to be woken when the inbox is so long."""
        self.wanted = wanted
        self.expect()

    def expect(self) -> None:
        """Set ``attention`` by the inbox's length, and tell the witness. By any thread, and by several at once."""
        witness = self._witness
        if witness is None:
            self.attention = self.wanted
            return
        while True:
            length = len(self._inbox)
            attention = min(self.wanted, length + min(max(length, _FIRST_STEP), _LARGEST_STEP))
            told = max(attention, length + 1)
            if attention > self.attention:  # told before it is so: what the witness knows is never too little
                witness.waiting(told)
            self.attention = attention
            witness.waiting(told)
            # Between the look and the telling other threads may have published a lot, told more, and been overwritten.
            if len(self._inbox) < told and self.attention <= told:
                return

    def look(self) -> None:
        """Shut the gate if the inbox holds too much."""
        if len(self._inbox) >= self.limit:
            self.gate = _SHUT

    def admit(self) -> bool:
        """Whether one more event may come in; counts it if not. May wait, if a recorder asked for that."""
        # A shut gate is looked at again, not believed: a publisher that shut it late, or the persister's last release,
        # has nobody to open it until the hub's thread comes by.
        if not self._is_closed and (not self._is_full() or (self._blocks and self._wait())):
            self._open()
            if not self._is_closed:
                return True
        self._refusals[CLOSED if self._is_closed else OVERLOADED].increment()
        return False

    def _wait(self) -> bool:
        """Wait for room where waiting harms nobody but the caller: the one named exception to "never blocks"."""
        here = get_ident()
        if here in (threading.main_thread().ident, self.hub_ident):
            return False
        if any(recorder.reader_ident == here for recorder in self._recorders):
            return False
        # The cheap look that asyncio itself has; a module that is just being imported has no loop yet.
        running_loop = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
        if running_loop is not None and running_loop() is not None:
            return False
        deadline_s = time.monotonic() + BLOCK_AT_MOST_S
        while not self._is_closed and time.monotonic() < deadline_s:
            if not self._is_full():  # the hub's thread may be asleep: look for oneself
                return True
            time.sleep(_BLOCK_STEP_S)
        return False

    def _is_full(self) -> bool:
        return len(self._inbox) >= self.limit or any(
            recorder.overflow == "block" and recorder.is_full for recorder in self._recorders
        )

    def _open(self) -> None:
        self.gate = _OPEN
        if self._is_closed:  # meanwhile: close() sets this first and shuts the gate second, so one of us sees it
            self.gate = _SHUT

    # -- for the hub's thread ------------------------------------------------------------------------------------------

    def settle(self, recorders: Sequence[RecorderSubscription]) -> None:
        """Take the measure of the recorders, and open or shut the gate accordingly."""
        self._recorders = recorders
        self._blocks = any(recorder.overflow == "block" for recorder in recorders)
        self.limit = max(
            _SMALLEST_LIMIT,
            min(
                (recorder.events_within_bound(_FIRST_EVENT_BYTES) for recorder in recorders),
                default=DEFAULT_MAX_PENDING_BYTES // _FIRST_EVENT_BYTES,
            ),
        )
        if self._is_full():
            self.gate = _SHUT
        else:
            self._open()

    def close(self) -> None:
        """Let nothing in any more."""
        self._is_closed = True
        self.gate = _SHUT

    def refused(self, reason: str) -> int:
        """Events not taken for ``reason``."""
        return self._refusals[reason].value
