"""The CPU profile of this process: one at a time, from ``start_cpu_profile`` to ``stop_cpu_profile``."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from sonde.errors import ConfigError, ProfileError
from sonde.profiling.encoding import encode_profile
from sonde.profiling.pyspy import PySpy
from sonde.profiling.report import ProfileReport
from sonde.profiling.sampler import DEFAULT_HZ, Mode, Sampler
from sonde.profiling.target import Target, Where

_log = logging.getLogger("sonde")

Format = Literal["pprof", "speedscope", "collapsed"]
Backend = Literal["sonde", "py-spy"]


class _Recording(Protocol):
    """A profile that is being taken."""

    def finish(self, target: Target) -> ProfileReport: ...
    def abandon(self) -> None: ...


class _Sampling:
    """Taken by our own sampler."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        sampler.start()

    def finish(self, target: Target) -> ProfileReport:
        profile, window = self._sampler.finish()
        target.write(encode_profile(profile, target.format))
        return ProfileReport(
            target=target.name,
            format=target.format,
            mode=self._sampler.mode,
            backend="sonde",
            duration_s=window.duration_s,
            hz_asked=self._sampler.hz,
            hz=window.hz,
            ticks=window.ticks,
            samples=window.samples,
            stacks=window.stacks,
            sampler_cpu_s=window.cpu_s,
            sampler_cpu_ratio=window.cpu_ratio,
            samples_without_span=window.without_span,
            samples_without_stack=window.without_stack,
            failures=window.failures,
        )

    def abandon(self) -> None:
        self._sampler.abandon()


class _Active:
    """The profile that is on, and who began it."""

    def __init__(self, recording: _Recording, target: Target, starter: str) -> None:
        self.recording = recording
        self.target = target
        self.starter = starter
        self.began_s = time.monotonic()


class _State:
    """What is on in this process. Only :attr:`lock` guards it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal handler that stops may come in while its own thread starts
        self.active: _Active | None = None
        self.is_watching_exit = False

    def after_fork_in_child(self) -> None:
        """The child does not inherit the profile: its thread is not there, and the target is the parent's."""
        self.lock = threading.RLock()
        active, self.active = self.active, None
        if active is not None:
            active.recording.abandon()


_state = _State()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.after_fork_in_child)


def start_cpu_profile(
    target: Where,
    *,
    hz: float = DEFAULT_HZ,
    mode: Mode = "wall",
    format: Format | None = None,
    backend: Backend = "sonde",
    seed: int | None = None,
    own_threads: bool = False,
) -> None:
    """Begin to sample this process; :func:`stop_cpu_profile` writes what was seen to ``target``.

    ``target`` is a path, or a binary file that is open when the profile is stopped. The format comes from the path's
    ending, unless ``format`` says it: ``.pb.gz`` and ``.pprof`` (pprof, also for files), ``.speedscope.json``, and
    ``.collapsed`` and ``.txt`` (collapsed stacks).

    ``mode`` says what a sample means: ``wall`` (time of all threads, with a label ``state``, and CPU time beside it),
    ``cpu`` (CPU time; threads that use none are left out; Linux only) or ``waiting`` (time that asyncio tasks wait).
    Each sample carries the labels ``session``, ``plan``, ``task``, ``operation``, ``tool`` (the nearest around),
    ``span`` and ``thread``; ``unknown`` where that is not sure, ``none`` where there is none.

    ``hz`` is how often it looks, on average, and at most: it looks less often where that would cost more than 1 % of
    a CPU. ``seed`` makes the moments repeatable. Threads whose names begin with ``sonde-`` are left out unless
    ``own_threads``. ``backend="py-spy"`` samples from another process, without labels.

    A program that exits meanwhile writes the profile at exit. A forked child has none; the parent's goes on.
    Thread-safe; returns at once (py-spy: when it is attached).

    Raises:
        ProfileError: one is on already, the target cannot be written, or this Python cannot be sampled so.
        ConfigError: a value that cannot work.
    """
    with _state.lock:
        active = _state.active
        if active is not None:
            raise ProfileError(
                f"cannot start a CPU profile: one to {active.target.name!r} is on, started "
                f"{time.monotonic() - active.began_s:.1f} s ago by {active.starter}; call stop_cpu_profile() first"
            )
        place = Target(target, format=format)
        recording: _Recording
        if backend == "sonde":
            recording = _Sampling(Sampler(hz=hz, mode=mode, seed=seed, own_threads=own_threads))
        elif backend == "py-spy":
            recording = PySpy(hz=hz, mode=mode)
        else:
            raise ConfigError(f"cannot profile with backend {backend!r}: expected 'sonde' or 'py-spy'")
        _state.active = _Active(recording, place, _starter())
        if not _state.is_watching_exit:
            _state.is_watching_exit = True
            atexit.register(_stop_at_exit)


def stop_cpu_profile() -> ProfileReport | None:
    """End the profile and write it; without one that is on, do nothing and return ``None``.

    Blocks while it encodes and writes: some milliseconds. However it ends, none is on afterwards.

    Raises:
        ProfileError: it could not be written (disk full); then nothing is under the target's path but what was there.
    """
    with _state.lock:
        active, _state.active = _state.active, None
        return None if active is None else active.recording.finish(active.target)


@contextmanager
def cpu_profile(
    target: Where,
    *,
    hz: float = DEFAULT_HZ,
    mode: Mode = "wall",
    format: Format | None = None,
    backend: Backend = "sonde",
    seed: int | None = None,
    own_threads: bool = False,
) -> Iterator[None]:
    """Profile a block: :func:`start_cpu_profile` before it and :func:`stop_cpu_profile` after it.

    An exception of the block goes through, and the profile is written all the same.

    >>> import io
    >>> file = io.BytesIO()
    >>> with cpu_profile(file, hz=200):
    ...     _ = sum(range(100_000))
    >>> from sonde.profiling import from_pprof
    >>> from_pprof(file.getvalue()).default_sample_type
    'wall'
    """
    start_cpu_profile(target, hz=hz, mode=mode, format=format, backend=backend, seed=seed, own_threads=own_threads)
    try:
        yield
    finally:
        stop_cpu_profile()


def _starter() -> str:
    """File and line outside of here that asked."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in (__name__, "contextlib"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in thread {threading.current_thread().name}"


def _stop_at_exit() -> None:
    try:
        stop_cpu_profile()
    except Exception as error:  # noqa: BLE001 - at exit nobody catches it, and a traceback tells less than the message
        _log.error("%s", error)
