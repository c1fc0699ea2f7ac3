import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

import sonde
from sonde.clock import ManualClock
from sonde.metrics import MemoryStats, get_memory_stats
from sonde.metrics.memory import FOOTPRINT_INTERVAL_S, MemoryReader
from sonde.metrics.memory_cgroup import CgroupMemory, read_cgroup_memory
from sonde.metrics.memory_pauses import GcPauses

ORIGINAL_KEYS = [
    "alloc",
    "total_alloc",
    "sys",
    "num_gc",
    "heap_alloc",
    "heap_sys",
    "heap_idle",
    "heap_inuse",
    "heap_released",
    "heap_objects",
    "stack_inuse",
    "stack_sys",
    "goroutines",
    "timestamp",
]
MB = 1024 * 1024
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="ascii")


def run(code: str, *options: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_json_begins_with_the_originals_keys() -> None:
    """The original's fourteen keys come first, in its order; the timestamp is in seconds."""
    stats = get_memory_stats()
    document = msgspec.json.decode(stats.to_json())
    assert list(document)[:14] == ORIGINAL_KEYS
    assert document["timestamp"] == stats.time_ns // 10**9
    assert document == stats.to_data()
    assert msgspec.json.decode(stats.to_json(), type=MemoryStats) == stats


@ON_LINUX
def test_resident_memory_is_what_the_kernel_says() -> None:
    """``rss``, address space and descriptors agree with ``/proc``, the peak is no less, and memory taken shows."""
    before = get_memory_stats()
    held = bytearray(64 * MB)
    held[:: 4 * 1024] = b"x" * len(held[:: 4 * 1024])
    after = get_memory_stats()
    pages = [int(word) for word in Path("/proc/self/statm").read_text(encoding="ascii").split()]
    size = os.sysconf("SC_PAGE_SIZE")
    assert None not in (before.rss, after.rss, after.peak_rss, after.sys, after.heap_sys)
    assert after.rss == pytest.approx(pages[1] * size, rel=0.05)
    assert after.sys == pytest.approx(pages[0] * size, rel=0.05)
    assert 60 * MB < (after.rss or 0) - (before.rss or 0) < 80 * MB
    assert (after.heap_inuse or 0) > 60 * MB
    assert (after.peak_rss or 0) >= (after.rss or 0)
    assert after.machine is not None
    assert (after.machine.total or 0) > (after.rss or 0)
    assert len(held) == 64 * MB


@ON_LINUX
def test_descriptors_are_counted() -> None:
    """Each open file is one descriptor more; the limit is the process's."""
    import resource

    before = get_memory_stats().fds
    with open(os.devnull, "rb"), open(os.devnull, "rb"):
        assert get_memory_stats().fds == (before or 0) + 2
    assert get_memory_stats().fd_limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_descriptors_are_listed_where_the_folder_has_no_size(tmp_path: Path) -> None:
    """Kernels before 6.2 give the folder no size: the entries count, without the one that reads them."""
    (tmp_path / "self").mkdir()
    listing = tmp_path / "self" / "fd"
    os.symlink("/proc/self/task", listing)  # of size 0 on all kernels; one entry a thread
    if sys.platform == "linux" and os.stat(listing).st_size == 0:
        assert MemoryReader(proc=str(tmp_path)).read().fds == len(os.listdir("/proc/self/task")) - 1


def test_goroutines_are_threads_and_tasks() -> None:
    """``goroutines`` counts Python threads and the unfinished tasks of every event loop."""
    ended = threading.Event()
    threads = [threading.Thread(target=ended.wait) for _ in range(3)]

    async def work() -> tuple[MemoryStats, MemoryStats]:
        before = get_memory_stats()
        tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(5)]
        done = asyncio.create_task(asyncio.sleep(0))
        await done
        for thread in threads:
            thread.start()
        during = get_memory_stats()
        for task in tasks:
            task.cancel()
        return before, during

    try:
        before, during = asyncio.run(work())
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert (during.threads - before.threads, (during.asyncio_tasks or 0) - (before.asyncio_tasks or 0)) == (3, 5)
    assert during.goroutines == during.threads + (during.asyncio_tasks or 0)


def test_what_is_unknown_is_null(tmp_path: Path) -> None:
    """Without ``/proc`` and control groups nothing fails, and what only they tell is ``None``, never 0."""
    stats = MemoryReader(proc=str(tmp_path / "none"), cgroups=str(tmp_path / "none")).read()
    for name in ("rss", "swap", "sys", "heap_sys", "heap_inuse", "native_threads", "fds"):
        assert getattr(stats, name) is None, name
    assert (stats.cgroup, stats.machine, stats.footprint) == (None, None, None)
    for name in ("total_alloc", "heap_idle", "heap_released", "stack_inuse", "stack_sys"):
        assert getattr(get_memory_stats(), name) is None, name
    assert stats.threads >= 1
    assert stats.gc is not None


@pytest.mark.parametrize("text", ["", "VmRSS:", "VmRSS: many kB", "\0\xff", "Vm" * 40_000])
def test_an_odd_status_file_is_unknown(tmp_path: Path, text: str) -> None:
    """Whatever the kernel may come to write, the statistics do not fail over it."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text(text, encoding="latin-1")
    assert MemoryReader(proc=str(tmp_path)).read().rss is None


def test_sizes_of_the_status_file(tmp_path: Path) -> None:
    """Kilobytes become bytes, and numbers without a unit stay what they are."""
    write(
        tmp_path / "self",
        status="Name:\tpython 3\nVmSize:\t  300 kB\nVmHWM:\t  200 kB\nVmRSS:\t  100 kB\nRssAnon:\t 60 kB\n"
        "VmData:\t 70 kB\nVmSwap:\t 5 kB\nThreads:\t7\n",
        smaps_rollup="0-1 ---p 0 00:00 0 [rollup]\nPss: 50 kB\nPrivate_Clean: 10 kB\nPrivate_Dirty: 20 kB\n",
    )
    write(tmp_path, meminfo="MemTotal: 1000 kB\nMemAvailable: 400 kB\n")
    stats = MemoryReader(proc=str(tmp_path)).read()
    sizes = (stats.sys, stats.peak_rss, stats.rss, stats.heap_inuse, stats.heap_sys, stats.swap)
    assert sizes == tuple(size * 1024 for size in (300, 200, 100, 60, 70, 5))
    assert stats.native_threads == 7
    assert stats.footprint is not None
    assert (stats.footprint.pss, stats.footprint.uss) == (50 * 1024, 30 * 1024)
    assert stats.machine is not None
    assert (stats.machine.total, stats.machine.available) == (1000 * 1024, 400 * 1024)


def test_the_footprint_is_read_once_a_minute(tmp_path: Path) -> None:
    """What costs milliseconds is remembered for a minute, with the time at which it was taken."""
    clock = ManualClock(time_ns=10**18)
    reader = MemoryReader(proc=str(tmp_path), clock=clock)
    write(tmp_path / "self", smaps_rollup="Pss: 1 kB\n")
    first = reader.read().footprint
    write(tmp_path / "self", smaps_rollup="Pss: 2 kB\n")
    clock.advance(FOOTPRINT_INTERVAL_S - 1)
    assert reader.read().footprint == first
    clock.advance(1)
    later = reader.read().footprint
    assert first is not None
    assert later is not None
    assert (first.pss, first.uss, first.taken_ns) == (1024, None, 10**18)
    assert (later.pss, later.taken_ns) == (2048, 10**18 + int(FOOTPRINT_INTERVAL_S * 1e9))


def test_a_group_of_version_2(tmp_path: Path) -> None:
    """Limit, usage, what cannot be reclaimed and kills are read from the group that ``/proc`` names."""
    write(tmp_path / "proc/self", cgroup="0::/kubepods/pod1/c1\n")
    folder = tmp_path / "cgroup/kubepods/pod1/c1"
    write(folder, memory__max="104857600\n", memory__current="94371840\n")
    write(folder, memory__stat="anon 1\nfile 2\ninactive_file 31457280\n", memory__events="low 0\noom 4\noom_kill 3\n")
    found = read_cgroup_memory(str(tmp_path / "proc"), str(tmp_path / "cgroup"))
    assert found == CgroupMemory(limit=100 * MB, current=90 * MB, working_set=60 * MB, oom_kills=3)


def test_a_group_of_version_1(tmp_path: Path) -> None:
    """The memory controller's line counts, not the one of the empty unified tree beside it."""
    write(tmp_path / "proc/self", cgroup="9:name=systemd:/x\n4:cpu,memory:/docker/abc\n0::/elsewhere\n")
    folder = tmp_path / "cgroup/memory/docker/abc"
    write(folder, memory__limit_in_bytes="104857600\n", memory__usage_in_bytes="52428800\n")
    write(folder, memory__stat="inactive_file 1\ntotal_inactive_file 10485760\n")
    write(folder, memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    found = read_cgroup_memory(str(tmp_path / "proc"), str(tmp_path / "cgroup"))
    assert found == CgroupMemory(limit=100 * MB, current=50 * MB, working_set=40 * MB, oom_kills=2)


@pytest.mark.parametrize(
    ("controllers", "limit", "usage", "unlimited"),
    [("", "memory__max", "memory__current", "max\n"), ("memory", "memory__limit_in_bytes", "memory__usage_in_bytes",
                                                       "9223372036854771712\n")],
    ids=["v2", "v1"],
)  # fmt: skip
def test_no_limit_is_none(tmp_path: Path, controllers: str, limit: str, usage: str, unlimited: str) -> None:
    """Both versions' ways to say "no limit" are ``None``; what is used is known all the same."""
    write(tmp_path / "proc/self", cgroup=f"1:{controllers}:/a\n")
    write(tmp_path / "cgroup" / ("memory" if controllers else "") / "a", **{limit: unlimited, usage: "4096\n"})
    found = read_cgroup_memory(str(tmp_path / "proc"), str(tmp_path / "cgroup"))
    assert found == CgroupMemory(limit=None, current=4096)


def test_of_nested_groups_the_tightest_counts(tmp_path: Path) -> None:
    """A group around this one may have less room left than its own limit tells."""
    write(tmp_path / "proc/self", cgroup="0::/slice/service\n")
    write(tmp_path / "cgroup/slice/service", memory__max="1000\n", memory__current="100\n")
    write(tmp_path / "cgroup/slice", memory__max="2000\n", memory__current="1950\n")
    found = read_cgroup_memory(str(tmp_path / "proc"), str(tmp_path / "cgroup"))
    assert found is not None
    assert (found.limit, found.current) == (2000, 1950)


def test_a_container_that_sees_its_group_as_the_root(tmp_path: Path) -> None:
    """Where the path is the host's and not to be seen, the mount is the group."""
    write(tmp_path / "proc/self", cgroup="0::/../../system.slice/docker-abc.scope\n")
    write(tmp_path / "cgroup", memory__max="500\n", memory__current="400\n")
    assert read_cgroup_memory(str(tmp_path / "proc"), str(tmp_path / "cgroup")) == CgroupMemory(500, 400)


@pytest.mark.parametrize("text", ["", "nonsense\n", "0::/gone\n", ":::\n"])
def test_groups_that_are_not_there(tmp_path: Path, text: str) -> None:
    """No group, no statistics, and no error."""
    write(tmp_path / "proc/self", cgroup=text)
    assert read_cgroup_memory(str(tmp_path / "proc"), str(tmp_path / "cgroup")) is None


def test_pauses_are_those_of_real_collections() -> None:
    """Each ``gc.collect()`` is one pause; their sum and the longest are told, and nothing before the start."""
    pauses = GcPauses()
    assert pauses.read() is None
    gc.disable()
    try:
        pauses.watch()
        pauses.watch()
        ring = [[n] for n in range(100_000)]
        for _ in range(7):
            gc.collect()
        read = pauses.read()
        pauses.unwatch()
        gc.collect()
    finally:
        gc.enable()
    assert len(ring) == 100_000
    assert read == pauses.read()
    assert read is not None
    assert read.collections == 7
    assert 0 < read.max_s < read.total_s < 7 * read.max_s + 1e-9
    assert read.max_s > 100e-6  # 100,000 lists are not looked at in less


def test_collections_are_counted() -> None:
    """The statistics have collections by generation, and the pauses of this process."""
    before = get_memory_stats()
    gc.collect()
    after = get_memory_stats()
    assert before.gc is not None
    assert after.gc is not None
    assert after.gc.collections[2] == before.gc.collections[2] + 1
    assert (after.num_gc or 0) > (before.num_gc or 0)
    assert (after.gc.pauses or 0) > (before.gc.pauses or 0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
def test_a_signal_during_a_collection_is_not_swallowed() -> None:
    """What a signal handler raises in the middle of a collection reaches the program, though pauses are timed.

    A callback that is a Python function loses every one of these. So those of others (hypothesis has one, once it has
    run in this process) are taken out meanwhile.
    """

    class AlarmError(Exception):
        """Raised by the handler."""

    def ring(number: int, frame: object) -> None:
        raise AlarmError

    def collect() -> None:
        gc.collect()
        for _ in range(10**7):  # until the handler runs
            pass

    others = gc.callbacks.copy()
    gc.callbacks.clear()
    pauses = GcPauses()
    pauses.watch()
    ballast = [[n] for n in range(200_000)]
    found = signal.signal(signal.SIGALRM, ring)
    try:
        for _ in range(5):
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            with pytest.raises(AlarmError):
                collect()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, found)
        pauses.unwatch()
        gc.callbacks[:] = others
    assert len(ballast) == 200_000


def test_bytes_of_objects_are_known_under_tracing_from_the_start() -> None:
    """``alloc`` is what tracemalloc traced if it traced everything, else unknown, though ``traced`` may be known."""
    show = "import sonde; s = sonde.get_memory_stats(); print(s.alloc, s.heap_alloc, s.traced)"
    assert run(show, PYTHONTRACEMALLOC="") == "None None None"
    late = f"import tracemalloc; tracemalloc.start(); {show}"
    assert run(late, PYTHONTRACEMALLOC="").startswith("None None ")
    assert not run(late, PYTHONTRACEMALLOC="").endswith("None")
    big = f"b = bytearray(10_000_000); {show}"
    for said in (run(big, PYTHONTRACEMALLOC="1"), run(big, "-X", "tracemalloc")):
        alloc, heap_alloc, traced = (int(word) for word in said.split())
        assert alloc == heap_alloc == traced
        assert 10_000_000 < alloc < 30_000_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_its_own_statistics() -> None:
    """After a fork the child's threads, memory and footprint are its own."""
    code = """
import os, threading, sonde
ended = threading.Event()
threads = [threading.Thread(target=ended.wait) for _ in range(3)]
[thread.start() for thread in threads]
before = sonde.get_memory_stats()
pid = os.fork()
if pid == 0:
    child = sonde.get_memory_stats()
    fresh = child.footprint is None or child.footprint.taken_ns > before.footprint.taken_ns
    os._exit(0 if child.threads == 1 and fresh else 1)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
ended.set()
print(before.threads, code)
"""
    assert run(code) == "4 0"


def test_gauges_hold_what_is_known() -> None:
    """``record_memory_stats()`` sets one gauge a kind, and none for what is unknown."""
    sonde.record_memory_stats()
    kinds = {
        series.labels["kind"]: series.get() for series in sonde.DEFAULT_REGISTRY.gauges()
        if series.name == sonde.MEMORY_USAGE_BYTES
    }  # fmt: skip
    assert "alloc" not in kinds
    if sys.platform == "linux":
        assert {"rss", "peak_rss", "heap_sys", "heap_inuse"} <= set(kinds)
        assert kinds["rss"] == pytest.approx(get_memory_stats().rss or 0, rel=0.2)
