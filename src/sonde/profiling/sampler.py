"""Sampler: a thread that looks at the program now and then, and counts what it sees."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
import traceback
import weakref
from _thread import LockType, allocate_lock
from typing import Literal

from sonde.errors import ConfigError, ProfileError
from sonde.failures import FailureLog
from sonde.profiling.census import Census, ThreadCensus
from sonde.profiling.governor import DEFAULT_CPU_RATIO, Governor
from sonde.profiling.profile import Frame, Profile, Sample, ValueType, labels_of
from sonde.profiling.report import Window
from sonde.profiling.secrets import redact_labels
from sonde.profiling.switching import SwitchInterval
from sonde.profiling.table import MAX_STACKS, MORE_STACKS, StackTable
from sonde.profiling.threads import HAS_CLOCKS
from sonde.profiling.waiting import TaskCensus
from sonde.profiling.walker import Walker

DEFAULT_HZ = 100.0
"""Looks a second that are asked for. The governor makes it less where a look is dear."""

Mode = Literal["wall", "cpu", "waiting"]
MODES: tuple[Mode, ...] = ("wall", "cpu", "waiting")

_MAX_HZ = 1_000.0
_JOIN_S = 5.0


class Sampler:
    """Counts stacks from a daemon thread of its own, ``sonde-profiler``, from :meth:`start` to :meth:`stop`.

    Looks come at random, on average ``hz`` times a second (a Poisson process on absolute deadlines), so that a program
    with a rhythm of its own is not always met at the same point of it. A look that comes late, since another thread
    would not give up the GIL, counts for all that were due. ``seed`` makes the moments repeatable.

    The governor keeps the thread's own CPU time under ``cpu_ratio`` of one CPU by looking less often; a look counts for
    the time between looks at its rate, so totals stay right. While one thread is busy at most, the interpreter's switch
    interval is shortened, so that short work is seen (:class:`~sonde.profiling.switching.SwitchInterval`).

    All methods are thread-safe. A failure is logged and counted, and the program goes on. Another thread's frames are
    never kept past a look.

    >>> sampler = Sampler(hz=200, mode="wall")
    >>> sampler.start()
    >>> profile = sampler.stop()
    >>> [one.type for one in profile.sample_types][:2]
    ['samples', 'wall']
    """

    def __init__(
        self,
        *,
        hz: float = DEFAULT_HZ,
        mode: Mode = "wall",
        seed: int | None = None,
        cpu_ratio: float = DEFAULT_CPU_RATIO,
        max_stacks: int = MAX_STACKS,
        own_threads: bool = False,
    ) -> None:
        """Start nothing yet.

        Raises:
            ConfigError: a value that cannot work.
            ProfileError: this Python, or this system, cannot be sampled so.
        """
        if mode not in MODES:
            raise ConfigError(f"cannot sample in mode {mode!r}: expected one of {', '.join(MODES)}")
        if not 0 < hz <= _MAX_HZ:
            raise ConfigError(f"cannot sample at {hz!r} Hz: expected more than 0 and at most {_MAX_HZ:.0f}")
        if not 0 < cpu_ratio <= 1:
            raise ConfigError(f"cannot bound the sampler's CPU by {cpu_ratio!r}: expected a ratio of one CPU, as 0.01")
        refuse_free_threading()
        if mode == "cpu" and not HAS_CLOCKS:
            raise ProfileError(
                f"cannot sample in mode 'cpu' on {sys.platform}: it reads the clocks of threads, which needs Linux; "
                "use mode='wall'"
            )
        self.mode: Mode = mode
        self.hz = hz
        self._seed = seed
        self._cpu_ratio = cpu_ratio
        self._max_stacks = max_stacks
        self._own_threads = own_threads
        self._failures = FailureLog()
        self._thread: threading.Thread | None = None
        self._reset()

    def start(self) -> None:
        """Begin. A sampler that runs goes on as it was.

        Raises:
            ProfileError: no thread can be had.
        """
        if self._thread is not None:
            return
        self._reset()
        _ALL.add(self)
        self._thread = threading.Thread(target=self._run, name="sonde-profiler", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._thread = None
            raise ProfileError(f"cannot start the sampler: {error}; start it before the interpreter exits") from error
        except BaseException:  # Ctrl-C, while it waits for the thread, which is there: nobody else would end it
            self._thread = None
            self._wanted.release()
            raise

    def take(self) -> Profile:
        """What was counted since the start or the last ``take``; counting goes on from 0. Waits for a running look."""
        return self._take()[0]

    def stop(self) -> Profile:
        """End, and give what was counted since the last :meth:`take`. Waits for a look in progress, at most 5 s."""
        return self.finish()[0]

    def finish(self) -> tuple[Profile, Window]:
        """As :meth:`stop`, with the figures."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._wanted.release()
            if thread is not threading.current_thread() and thread.is_alive():  # or a signal handler came into start
                thread.join(_JOIN_S)
            if not thread.is_alive():
                self._switching.restore()  # in a forked child nobody else did
        taken = self._take()
        self._walker.forget()
        return taken

    def after_fork_in_child(self) -> None:
        """Begin anew in a forked child, where the thread is gone: for those who want the child sampled too.

        What the parent had counted stays the parent's. To be called from ``os.register_at_fork``.
        """
        was_running = self._thread is not None
        self.abandon()
        if was_running:
            self.start()

    def abandon(self) -> None:
        """Forget the thread without waiting: it does not live in a forked child."""
        self._thread = None
        self._switching.restore()
        self._reset()

    def _reset(self) -> None:
        self._lock = allocate_lock()
        self._wanted = allocate_lock()  # taken while looks are wanted
        self._wanted.acquire()
        self._walker = Walker()
        self._census: Census = (
            TaskCensus(self._walker, seed=self._seed)
            if self.mode == "waiting"
            else ThreadCensus(self.mode, self._walker, own_threads=self._own_threads)
        )
        self._switching = SwitchInterval()
        self._governor = Governor(hz=self.hz, cpu_ratio=self._cpu_ratio)
        self._table = StackTable(self._max_stacks)
        self._window = Window.begin(self._governor.cpu_s)

    def _run(self) -> None:
        wanted, governor, census, switching = self._wanted, self._governor, self._census, self._switching
        try:
            self._look_again_and_again(wanted, governor, census, switching)
        finally:
            switching.restore()
            census.end()

    def _look_again_and_again(
        self, wanted: LockType, governor: Governor, census: Census, switching: SwitchInterval
    ) -> None:
        draw = random.Random(self._seed).expovariate  # noqa: S311 - when to look is no secret
        cpu_s, learnt_s = time.thread_time(), time.monotonic()
        drawn_s = governor.interval_s
        due_s = learnt_s + draw(1 / drawn_s)
        while not wanted.acquire(timeout=max(0.0, due_s - time.monotonic())):
            now_s, weight_s = time.monotonic(), 0.0
            while due_s <= now_s:
                weight_s += drawn_s
                drawn_s = governor.interval_s
                due_s += draw(1 / drawn_s)
                if now_s - due_s > 1_000 * drawn_s:  # not seconds of drawing after minutes without the GIL
                    weight_s += now_s - due_s
                    due_s = now_s
            if weight_s:
                self._look(census, round(weight_s * 1e9))
            cpu_before_s, cpu_s = cpu_s, time.thread_time()
            learnt_before_s, learnt_s = learnt_s, time.monotonic()
            if census.busy_threads is not None:
                switching.adapt(census.busy_threads)
            governor.learn(cpu_s=cpu_s - cpu_before_s, elapsed_s=learnt_s - learnt_before_s)

    def _look(self, census: Census, weight_ns: int) -> None:
        with self._lock:
            try:
                census.look(self._table, weight_ns)
            except Exception as error:  # noqa: BLE001 - it walks through what others do at the moment; one look is lost
                self._window.failures += 1
                traceback.clear_frames(error.__traceback__)  # who keeps the log record would keep the program's frames
                self._failures.add("sample", f"cannot look at the program for its profile: {error!r}", error=error)
            self._window.ticks += 1

    def _take(self) -> tuple[Profile, Window]:
        with self._lock:
            table, self._table = self._table, StackTable(self._max_stacks)
            window, self._window = self._window, Window.begin(self._governor.cpu_s)
        window.end(self._governor.cpu_s, table)
        return self._profile(table, window), window

    def _profile(self, table: StackTable, window: Window) -> Profile:
        kinds = [ValueType("samples", "count"), ValueType(self.mode, "nanoseconds")]
        places = [0, 2 if self.mode == "cpu" else 1]
        if self.mode == "wall" and HAS_CLOCKS:
            kinds.append(ValueType("cpu", "nanoseconds"))
            places.append(2)
        samples = []
        for key, sums in table.sums.items():
            stack, labels, thread, state = key
            named = dict(labels)
            if thread:
                named["thread"] = thread
            if state:
                named["state"] = state
            frames = (_MORE,) if key is MORE_STACKS else self._walker.stack_of(stack)
            samples.append(Sample(frames, tuple([sums[place] for place in places]), redact_labels(labels_of(named))))
        return Profile(
            sample_types=tuple(kinds),
            samples=tuple(samples),
            period_type=kinds[1],
            period=round(window.duration_s / window.ticks * 1e9) if window.ticks else round(1e9 / self.hz),
            time_ns=window.time_ns,
            duration_ns=round(window.duration_s * 1e9),
            default_sample_type=self.mode,
            comments=(f"sonde {self.mode} profile, {window.summary(self.hz)}",),
        )


_MORE = Frame("[more stacks]")

_ALL: weakref.WeakSet[Sampler] = weakref.WeakSet()


def _free_all_in_child() -> None:
    """The thread that is not in the child may have held the lock, and had the switch interval shortened."""
    for sampler in list(_ALL):
        sampler._lock = allocate_lock()  # this module's own
        sampler._switching.restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all_in_child)


def refuse_free_threading() -> None:
    """Reading another thread's frames while it runs is a race that ends the process: cpython#152355.

    Raises:
        ProfileError: the GIL is off.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise ProfileError(
            "cannot sample a free-threaded Python: without the GIL the frames of other threads cannot be read safely; "
            "run with PYTHON_GIL=1, or use backend='py-spy'"
        )
