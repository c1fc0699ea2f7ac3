"""Threads: who they are, and how much CPU each has used, without a system call that gives the interpreter away."""

from __future__ import annotations

import os
import sys
import threading
import time

from sonde.profiling.profile import Labels
from sonde.profiling.table import StackTable
from sonde.profiling.walker import Stack

OWN_PREFIX = "sonde-"
"""Threads whose names begin so are sonde's own."""

HAS_CLOCKS = sys.platform == "linux"

_PER_THREAD, _SCHEDULED = 4, 2


def clock_of(native_id: int) -> int:
    """The number of the clock that shows a thread's CPU time.

    As the kernel reads it (Linux, ``include/linux/posix-timers.h``): it looks the thread up, so a thread that has ended
    is an error. ``time.pthread_getcpuclockid`` follows a pointer instead, and an ended thread ends the process. Reading
    it costs some 0.4 µs; a file below ``/proc`` costs ten, and gives up the GIL, which beside a busy thread takes 5 ms.
    """
    return (~native_id << 3) | _PER_THREAD | _SCHEDULED


def cpu_ns_of(clock: int) -> int | None:
    """What a thread's clock shows; ``None`` if the thread has ended."""
    try:
        return time.clock_gettime_ns(clock)
    except OSError:
        return None


class ThreadFacts:
    """One thread, as long as it lives."""

    __slots__ = ("clock", "cpu_ns", "idle_sums", "idle_table", "is_left_out", "name", "seen", "thread")

    def __init__(self, ident: int, thread: threading.Thread | None, *, own_threads: bool) -> None:
        self.thread = thread
        self.name = thread.name if thread is not None else f"thread-{ident:x}"
        self.is_left_out = self.name.startswith(OWN_PREFIX) and not own_threads
        native_id = _native_id_of(thread) if thread is not None else None
        self.clock = clock_of(native_id) if native_id is not None and HAS_CLOCKS else None
        self.cpu_ns = 0
        self.seen: tuple[Stack, Labels] | None = None  # at the last look; it holds while the thread uses no CPU
        self.idle_table: StackTable | None = None  # where it is counted as long as it does not move
        self.idle_sums: list[int] = []


# Of the thread that called fork, the child's own number. Python 3.11 leaves the parent's in its ``native_id``, whose
# clock the child may not read: its only thread would seem to be idle for ever.
_survivor: tuple[threading.Thread | None, int] = (None, 0)


def _native_id_of(thread: threading.Thread) -> int | None:
    survivor, native_id = _survivor
    return native_id if thread is survivor else thread.native_id


def _note_survivor() -> None:
    global _survivor  # noqa: PLW0603 - a forked process has one
    thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
    _survivor = thread, threading.get_native_id()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_survivor)
