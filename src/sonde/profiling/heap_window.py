"""HeapWindow: allocations traced for a while, and never longer than was said."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from typing import Self

from sonde.errors import ConfigError, ProfileError
from sonde.hub import Ticker
from sonde.profiling.encoding import encode_profile
from sonde.profiling.heap import DEFAULT_NFRAME, Snapshot, diff, profile_of, take_snapshot
from sonde.profiling.profile import Profile
from sonde.profiling.target import Target, Where

MAX_NFRAME = 65_535


def heap_window(
    seconds: float, *, nframe: int = DEFAULT_NFRAME, target: Where | None = None, format: str | None = None
) -> HeapWindow:
    """Look at what is allocated in the next ``seconds`` seconds and still held at their end.

    Tracing slows code that allocates: if it does nothing else 10 to 80 times, the more the deeper stacks are kept; code
    that waits, not at all. So a window is opened on purpose, and closes by itself when its time is over, though
    the block goes on. There is one at a time.

    Args:
        seconds: how long at most.
        nframe: frames of each stack, counted from the innermost; more cost more.
        target: where the profile goes at the end, as for :func:`write_heap_profile`; ``None``: nowhere.
        format: of the target.

    Raises:
        ConfigError: ``seconds`` or ``nframe`` is out of range.
        ProfileError: the target cannot be written, or (when it is opened) another window is open.

    >>> with heap_window(60) as window:
    ...     held = [bytearray(10_000) for _ in range(100)]
    >>> window.profile.total("inuse_space") > 1_000_000
    True
    """
    return HeapWindow(seconds, nframe=nframe, target=target, format=format)


class HeapWindow:
    """A window that is open while its ``with`` block runs and its time lasts; or ``run()``, for the whole time.

    If tracemalloc traces already, it goes on tracing, and the window shows the difference; else the window begins and
    ends it. A forked child has no window: tracing ends there. Attributes are for any thread.

    Attributes:
        profile: what was allocated in the window and is held at its end; ``None`` until then.
        overhead_bytes: what tracing itself held of memory at the end.
    """

    def __init__(self, seconds: float, *, nframe: int, target: Where | None, format: str | None) -> None:
        kind: type[object] = type(seconds)  # what callers without a type checker give
        if kind not in (int, float) or not 0 < seconds <= threading.TIMEOUT_MAX:
            raise ConfigError(
                f"cannot open a heap window for {seconds!r} seconds: a number above 0 is expected; give how long "
                "tracing may last at most, such as 30"
            )
        if type(nframe) is not int or not 1 <= nframe <= MAX_NFRAME:
            raise ConfigError(
                f"cannot trace {nframe!r} frames a stack: a whole number from 1 to {MAX_NFRAME} is expected; give "
                f"nframe={DEFAULT_NFRAME}"
            )
        self.profile: Profile | None = None
        self.overhead_bytes = 0
        self._seconds = seconds
        self._nframe = nframe
        self._target = None if target is None else Target(target, format=format)
        self._ended = threading.Event()
        self._turn = threading.Lock()
        self._error: BaseException | None = None
        self._before: Snapshot | None = None
        self._is_tracer = False  # whether it was this window that began to trace
        self._ticker: Ticker | None = None
        self._begun_ns = 0
        self._is_opened = False

    def run(self) -> Profile:
        """Trace for the whole time, while this thread waits, and give the profile.

        Raises:
            ProfileError: another window is open, or the target cannot be written.
        """
        with self:
            self._ended.wait()
        if self.profile is None:
            raise ProfileError("cannot give the profile of a heap window: it ended in a fork; open it in the child")
        return self.profile

    def __enter__(self) -> Self:
        if self._is_opened:
            raise ProfileError("cannot open a heap window twice; make another with sonde.heap_window(seconds)")
        _enter(self)
        self._is_opened = True
        try:
            self._begun_ns = time.time_ns()
            if tracemalloc.is_tracing():
                self._before = take_snapshot()
            else:
                self._is_tracer = True
                tracemalloc.start(self._nframe)
            self._ticker = Ticker("sonde-heap-window")
            self._ticker.every(self._seconds, self._end)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        if self._error is not None:
            raise self._error

    def _end(self) -> None:
        """Take the profile, once, whoever comes first: the end of the block or the end of the time."""
        with self._turn:
            if self._ended.is_set():
                return
            try:
                self._finish()
            except Exception as error:  # noqa: BLE001 - for the block's end, if it comes up on the ticker's thread
                self._error = error
            finally:
                self._leave()
                self._ended.set()

    def _finish(self) -> None:
        taken = take_snapshot()
        self.overhead_bytes = tracemalloc.get_tracemalloc_memory()
        if self._before is None:
            tracemalloc.stop()  # before the names are read
            after = profile_of(taken)
            self.profile = diff(Profile(sample_types=after.sample_types, time_ns=self._begun_ns), after)
        else:
            self.profile = diff(profile_of(self._before), profile_of(taken))
        if self._target is not None:
            self._target.write(encode_profile(self.profile, self._target.format))

    def _leave(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
        if self._is_tracer and tracemalloc.is_tracing():
            tracemalloc.stop()
        _OPEN.clear()


_OPEN: list[HeapWindow] = []  # none or one
_DOOR = threading.Lock()


def _enter(window: HeapWindow) -> None:
    with _DOOR:
        if _OPEN:
            raise ProfileError(
                "cannot open a heap window: one is open already, and two would show each other's memory; close that "
                "first, or wait for the end of its time"
            )
        _OPEN.append(window)


def _end_in_child() -> None:
    global _DOOR  # noqa: PLW0603 - a thread of the parent may hold it
    _DOOR = threading.Lock()
    for window in _OPEN:
        window._turn = threading.Lock()  # this module's own
        window._leave()
        window._ended.set()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_in_child)
