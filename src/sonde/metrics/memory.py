"""MemoryStats: what this process holds of memory, and what limits it."""

from __future__ import annotations

import gc
import os
import sys
import threading
from typing import Any

import msgspec

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.metrics.memory_cgroup import CgroupMemory, read_cgroup_memory
from sonde.metrics.memory_files import read_sizes, read_text
from sonde.metrics.memory_pauses import GC_PAUSES, Pauses

FOOTPRINT_INTERVAL_S = 60.0
"""How old :attr:`MemoryStats.footprint` may be: the kernel walks all pages for it, 0.1 ms and 12 ms more a gigabyte."""


class GcStats(msgspec.Struct, frozen=True):
    """The garbage collector, since the process began.

    Attributes:
        collections: of each generation, the youngest first.
        collected: objects that it freed.
        uncollectable: objects that it found and could not free.
        pending: allocations or collections since the last collection of each generation.
        pauses: collections timed, from the first ``get_memory_stats()`` on; ``pause_total_s``, ``pause_max_s``: seconds
            that they took. No thread runs Python meanwhile.
        pauses_since_ns: when that was (Unix time).
    """

    collections: list[int]
    collected: int
    uncollectable: int
    pending: list[int]
    pauses: int | None
    pause_total_s: float | None
    pause_max_s: float | None
    pauses_since_ns: int | None


class Footprint(msgspec.Struct, frozen=True):
    """What of the resident memory is this process's alone: of interest where forked workers share pages. Bytes.

    Attributes:
        pss: shared pages count by their share.
        uss: pages that nobody shares: what its end would free.
        taken_ns: when this was read (Unix time), up to :data:`FOOTPRINT_INTERVAL_S` before the rest.
    """

    pss: int | None
    uss: int | None
    taken_ns: int


class MachineMemory(msgspec.Struct, frozen=True):
    """The machine's memory in bytes: all of it, and what programs can still get without swapping."""

    total: int | None
    available: int | None


class MemoryStats(msgspec.Struct, frozen=True):
    """Memory of this process at one moment. Sizes in bytes; ``None`` (``null`` in JSON) is unknown, never 0.

    The first fourteen are those of the Go original, by the same names in JSON, as far as CPython has such a thing.
    Linux tells nearly all of them; elsewhere more are ``None``.

    Attributes:
        alloc: bytes of living Python objects. Known only to a program that runs under ``PYTHONTRACEMALLOC`` (or
            ``-X tracemalloc``) from its start on.
        total_alloc: bytes ever allocated: nobody counts them in CPython.
        sys: address space that the system gave to the process.
        num_gc: garbage collections, of all generations.
        heap_alloc: as ``alloc``.
        heap_sys: writable address space of its own: heaps, and stacks of threads.
        heap_idle: ``None``: the allocators under Python do not tell.
        heap_inuse: what is resident of its own: heaps and stacks, without files and libraries.
        heap_released: ``None``, as ``heap_idle``.
        heap_objects: blocks that the allocator of Python objects has handed out.
        stack_inuse: ``None``: a thread's stack is memory like any other.
        stack_sys: ``None``, as ``stack_inuse``.
        goroutines: what CPython has in their place: ``threads`` and ``asyncio_tasks`` together.
        timestamp: Unix time in seconds.
        time_ns: the same in nanoseconds.
        rss: resident memory.
        peak_rss: the most that ``rss`` ever was.
        swap: what of the process is swapped out.
        traced: bytes allocated since tracemalloc began to trace, and not yet freed; ``traced_peak``: the most that was.
        threads: Python threads; ``native_threads``: those of libraries too.
        asyncio_tasks: tasks that are not done, of all event loops.
        fds: open file descriptors; ``fd_limit``: how many there may be.
        gc: the garbage collector.
        cgroup: the limit of the container, or of the service.
        machine: memory of the machine.
        footprint: what is this process's alone; read at most once a minute.
    """

    alloc: int | None
    total_alloc: int | None
    sys: int | None
    num_gc: int | None
    heap_alloc: int | None
    heap_sys: int | None
    heap_idle: int | None
    heap_inuse: int | None
    heap_released: int | None
    heap_objects: int | None
    stack_inuse: int | None
    stack_sys: int | None
    goroutines: int | None
    timestamp: int
    time_ns: int
    rss: int | None
    peak_rss: int | None
    swap: int | None
    traced: int | None
    traced_peak: int | None
    threads: int
    native_threads: int | None
    asyncio_tasks: int | None
    fds: int | None
    fd_limit: int | None
    gc: GcStats | None
    cgroup: CgroupMemory | None
    machine: MachineMemory | None
    footprint: Footprint | None

    def to_data(self) -> dict[str, Any]:
        """Plain values that JSON carries: the ``data`` of a ``sonde.memory`` event."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    def to_json(self) -> bytes:
        """One JSON object, the original's fourteen keys first."""
        return msgspec.json.encode(self)


class MemoryReader:
    """Reads memory statistics from the places given: the system's, or those that a test makes up.

    Thread-safe: what it remembers is one object that is put in place whole.
    """

    def __init__(self, *, proc: str = "/proc", cgroups: str = "/sys/fs/cgroup", clock: Clock = SYSTEM_CLOCK) -> None:
        """Read nothing yet."""
        self._proc = proc
        self._cgroups = cgroups
        self._clock = clock
        self._footprint: tuple[float, int, Footprint | None] | None = None

    def read(self) -> MemoryStats:
        """The statistics of now; see :func:`get_memory_stats`."""
        GC_PAUSES.watch()
        status = read_sizes(f"{self._proc}/self/status")
        traced, traced_peak = _traced()
        threads, tasks = threading.active_count(), _asyncio_tasks()
        collector = _gc_stats(GC_PAUSES.read())
        alloc = traced if _is_traced_from_the_start() else None
        time_ns = self._clock.time_ns()
        return MemoryStats(
            alloc=alloc,
            total_alloc=None,
            sys=status.get("VmSize"),
            num_gc=sum(collector.collections) if collector else None,
            heap_alloc=alloc,
            heap_sys=status.get("VmData"),
            heap_idle=None,
            heap_inuse=status.get("RssAnon"),
            heap_released=None,
            heap_objects=sys.getallocatedblocks() if hasattr(sys, "getallocatedblocks") else None,
            stack_inuse=None,
            stack_sys=None,
            goroutines=None if tasks is None else threads + tasks,
            timestamp=time_ns // 1_000_000_000,
            time_ns=time_ns,
            rss=status.get("VmRSS"),
            # Not ru_maxrss where it can be helped: a program inherits that from whoever started it.
            peak_rss=status.get("VmHWM") or _max_rss(),
            swap=status.get("VmSwap"),
            traced=traced,
            traced_peak=traced_peak,
            threads=threads,
            native_threads=status.get("Threads"),
            asyncio_tasks=tasks,
            fds=self._fds(),
            fd_limit=_fd_limit(),
            gc=collector,
            cgroup=read_cgroup_memory(self._proc, self._cgroups),
            machine=self._machine(),
            footprint=self._recent_footprint(time_ns),
        )

    def _fds(self) -> int | None:
        folder = f"{self._proc}/self/fd"
        try:
            # Since Linux 6.2 the size of the folder is their number. Older kernels say 0: then they are counted, and
            # the one that reads the folder is among them.
            return os.stat(folder).st_size or len(os.listdir(folder)) - 1
        except OSError:
            return None

    def _machine(self) -> MachineMemory | None:
        sizes = read_sizes(f"{self._proc}/meminfo")
        return MachineMemory(sizes.get("MemTotal"), sizes.get("MemAvailable")) if sizes else None

    def _recent_footprint(self, time_ns: int) -> Footprint | None:
        known, pid, now_s = self._footprint, os.getpid(), self._clock.monotonic_s()
        if known is not None and now_s - known[0] < FOOTPRINT_INTERVAL_S and known[1] == pid:
            return known[2]
        sizes = read_sizes(f"{self._proc}/self/smaps_rollup")
        found = None
        if sizes:
            private = [sizes.get(f"Private_{kind}") for kind in ("Clean", "Dirty")]
            uss = None if None in private else sum(size or 0 for size in private)
            found = Footprint(sizes.get("Pss"), uss, time_ns)
        self._footprint = (now_s, pid, found)
        return found


_READER = MemoryReader()


def get_memory_stats() -> MemoryStats:
    """What this process holds of memory now.

    Thread-safe, not for signal handlers. Some 200 µs, most of it reading files in ``/proc``; with millions of objects
    some 0.5 ms a gigabyte more, and once a minute the time of :data:`FOOTPRINT_INTERVAL_S`. From the first call on
    garbage collections are timed, at some 1.5 µs each. Raises nothing: what is unknown is ``None``.

    >>> stats = get_memory_stats()
    >>> stats.goroutines >= 1
    True
    >>> list(msgspec.json.decode(stats.to_json()))[:4]
    ['alloc', 'total_alloc', 'sys', 'num_gc']
    """
    return _READER.read()


def get_rss() -> int | None:
    """Resident memory in bytes, alone: for who asks often. Some 6 µs. Linux tells it; elsewhere it is ``None``."""
    words = (read_text("/proc/self/statm") or "").split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if len(words) > 1 and words[1].isdecimal() else None


def _gc_stats(pauses: Pauses | None) -> GcStats | None:
    if not hasattr(gc, "get_stats"):  # another Python
        return None
    generations = gc.get_stats()
    return GcStats(
        collections=[generation["collections"] for generation in generations],
        collected=sum(generation["collected"] for generation in generations),
        uncollectable=sum(generation["uncollectable"] for generation in generations),
        pending=list(gc.get_count()),
        pauses=pauses.collections if pauses else None,
        pause_total_s=pauses.total_s if pauses else None,
        pause_max_s=pauses.max_s if pauses else None,
        pauses_since_ns=pauses.since_ns if pauses else None,
    )


def _traced() -> tuple[int | None, int | None]:
    try:
        import _tracemalloc  # not tracemalloc: that loads pickle and linecache, for a question
    except ImportError:
        return None, None
    return _tracemalloc.get_traced_memory() if _tracemalloc.is_tracing() else (None, None)


def _is_traced_from_the_start() -> bool:
    environment = "" if sys.flags.ignore_environment else os.environ.get("PYTHONTRACEMALLOC", "")
    return sys._xoptions.get("tracemalloc", environment) not in ("", "0", False)


def _asyncio_tasks() -> int | None:
    asyncio = sys.modules.get("asyncio.tasks")
    if asyncio is None:
        return 0
    if sys.version_info >= (3, 14):  # tasks are kept per thread, where nobody else may count them
        return None
    # Up to 3.11 there is one set of all tasks, later one of those scheduled and one of those that started eagerly.
    kept = [getattr(asyncio, name, ()) for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks")]
    for _ in range(5):
        try:
            return sum(not task.done() for task in {task for tasks in kept for task in list(tasks)})
        except RuntimeError:  # another thread made or ended a task meanwhile
            continue
    return None


def _max_rss() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _fd_limit() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
