"""ThreadCensus: one look at all threads, counted."""

from __future__ import annotations

import sys
import threading
import time
from _thread import get_ident
from types import FrameType
from typing import Literal, NamedTuple, Protocol

from sonde.profiling.correlation import UNKNOWN_LABELS, Correlation
from sonde.profiling.table import StackTable
from sonde.profiling.threads import HAS_CLOCKS, ThreadFacts, cpu_ns_of
from sonde.profiling.walker import Walker

ACTIVE, IDLE = "active", "idle"
"""Values of the label ``state``: whether the thread used CPU since the last look."""

_SURE_SHARE = 0.8


class Census(Protocol):
    """Looks at something and counts it."""

    busy_threads: int | None
    """How many threads used CPU before the last look; ``None`` where that is not known."""

    def look(self, table: StackTable, weight_ns: int) -> None:
        """Add what is to be seen now to ``table``; the look stands for ``weight_ns`` of time."""
        ...

    def end(self) -> None:
        """Let go of what was remembered between looks."""
        ...


class _Look(NamedTuple):
    """What is one for all threads at a look."""

    table: StackTable
    weight_ns: int
    sure_until_s: float
    """Until then no other thread can have had the GIL."""


class ThreadCensus:
    """Counts the stacks of threads: all of them (``wall``), or those that used CPU since the last look (``cpu``).

    A thread that used no CPU since the last look stands where it stood: its stack is not walked again. To be sure of
    that, its clock is read *before* its frame. Where no clocks are (not Linux), every stack is walked.

    Nothing in a look gives up the GIL, and who holds it keeps it for a switch interval: within that, frames and scopes
    are of one moment. What is looked at later than that gets its labels only if the thread still
    stands at the same instruction, and ``unknown`` rather than wrong ones.
    """

    def __init__(self, mode: Literal["wall", "cpu"], walker: Walker, *, own_threads: bool) -> None:
        self._is_wall = mode == "wall"
        self._walker = walker
        self._own_threads = own_threads
        self._known: dict[int, ThreadFacts] = {}
        self._correlation = Correlation()
        self._is_first = True
        self.busy_threads: int | None = None

    def look(self, table: StackTable, weight_ns: int) -> None:
        """Add all threads but the calling one."""
        look = _Look(table, weight_ns, time.monotonic() + _SURE_SHARE * sys.getswitchinterval())
        used = self._count_idle(table, weight_ns)
        self.busy_threads = sum(used_ns > 0 for used_ns in used.values()) if HAS_CLOCKS else None
        frames = sys._current_frames()
        frames.pop(get_ident(), None)  # its frame holds the dict, and the dict would hold its frame
        self._correlation.begin()
        problem: Exception | None = None
        try:
            for ident in [one for one in self._known if one not in frames]:
                del self._known[ident]
            for ident, frame in frames.items():
                try:
                    self._look_at(ident, frame, used, look)
                except Exception as error:  # noqa: BLE001 - one odd thread must not hide the others; costs nothing
                    problem = error
            if problem is not None:
                raise problem
        finally:
            problem = None  # its traceback has this function, which would hold it in turn
            frames.clear()
            self._correlation.end()
            self._is_first = False

    def end(self) -> None:
        """Forget the threads."""
        self._known.clear()

    def _count_idle(self, table: StackTable, weight_ns: int) -> dict[int, int]:
        """Count those that did not move; for the others, how much CPU each used, or -1 where that is not known.

        Most threads of most programs are idle: what is done here for each makes up the price of a look.
        """
        used: dict[int, int] = {}
        read = time.clock_gettime_ns
        for ident, facts in self._known.items():
            if facts.clock is None:
                used[ident] = -1
                continue
            try:
                cpu_ns = read(facts.clock)
            except OSError:  # it has ended
                used[ident] = -1
                continue
            used_ns = cpu_ns - facts.cpu_ns
            if used_ns == 0 and facts.idle_table is table:
                facts.idle_sums[0] += 1
                facts.idle_sums[1] += weight_ns
            elif used_ns or self._is_wall:
                facts.cpu_ns = cpu_ns
                used[ident] = used_ns if used_ns >= 0 else cpu_ns  # it can only go back if the number is another's now
        return used

    def _look_at(self, ident: int, frame: FrameType, used: dict[int, int], look: _Look) -> None:
        facts = self._known.get(ident)
        # Not threading.enumerate(), which takes a lock that a fork or a signal handler may have left taken.
        if facts is None or facts.thread is not threading._active.get(ident):  # type: ignore[attr-defined]
            self._meet(ident, frame, look)
        elif ident in used and not facts.is_left_out:
            self._count(ident, facts, frame, used[ident], look)

    def _meet(self, ident: int, frame: FrameType, look: _Look) -> None:
        """Count a thread that was not there at the last look: its clock began at 0 since."""
        thread = threading._active.get(ident)  # type: ignore[attr-defined]
        facts = self._known[ident] = ThreadFacts(ident, thread, own_threads=self._own_threads)
        cpu_ns = cpu_ns_of(facts.clock) if facts.clock is not None else None
        facts.cpu_ns = cpu_ns or 0
        if not facts.is_left_out:
            used_ns = -1 if cpu_ns is None else 0 if self._is_first else cpu_ns
            self._count(ident, facts, frame, used_ns, look)
            facts.seen = None  # the clock was read after the frame: it may have moved on in between

    def _count(
        self,
        ident: int,
        facts: ThreadFacts,
        frame: FrameType,
        used_ns: int,
        look: _Look,
    ) -> None:
        """Count one thread by its stack."""
        if not self._is_wall and used_ns <= 0:
            return
        seen = facts.seen
        if used_ns or seen is None:
            at = frame.f_lasti
            walk = self._walker.walk(frame)
            labels = self._correlation.labels(self._correlation.scope_of(ident, walk))
            if time.monotonic() < look.sure_until_s:
                seen = facts.seen = walk.stack, labels
            else:  # others may have run meanwhile: has this one?
                has_stayed = frame.f_lasti == at and sys._current_frames().get(ident) is frame
                seen, facts.seen = (walk.stack, labels if has_stayed else UNKNOWN_LABELS), None
        state = "" if used_ns < 0 or not self._is_wall else ACTIVE if used_ns else IDLE
        sums = look.table.entry((*seen, facts.name, state))
        sums[1] += look.weight_ns
        sums[2] += max(used_ns, 0)
        is_settled = state == IDLE and facts.seen is not None
        facts.idle_table, facts.idle_sums = (look.table, sums) if is_settled else (None, [])
