"""Real disks, mounted for the test: one that is full for a while, and one that the kernel makes read-only."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

import sonde
from sonde.errors import StorePermissionError, StoreUnavailableError
from sonde.events import EventType
from sonde.recorder import recover
from sonde.store import SQLiteStore
from sonde.store.salvage import salvage

LIMIT_S = 100

# Emits as many events as each line of its input says, and answers with what a flush says.
WRITER = """
import json, logging, sys, time, sonde
logging.disable(logging.CRITICAL)
rec = sonde.record(
    sys.argv[1], session_id="s", durability=sys.argv[2], journal=sys.argv[3], memory_interval_s=None
)
i, worst_s = 0, 0
for line in sys.stdin:
    count, timeout_s = line.split()
    for _ in range(int(count)):
        began_s = time.perf_counter()
        rec.emit("n", i=i, text="%032d" % i * 8)
        worst_s = max(worst_s, time.perf_counter() - began_s)
        i += 1
    report = rec.flush(float(timeout_s))
    stats = rec.stats()
    print(json.dumps([bool(report), report.pending, sum(report.dropped.values()), report.error, worst_s, i,
        stats.unjournaled]), flush=True)
rec.close()
"""


class Writer:
    """The program above, and what it said."""

    def __init__(self, path: Path, durability: str, journal: str = "memory") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), durability, journal],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def emit(self, count: int, *, timeout_s: float = LIMIT_S) -> list[object]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count} {timeout_s}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._process.stderr and self._process.stderr.read()
        found: list[object] = json.loads(line)
        return found

    def close(self) -> None:
        _, errors = self._process.communicate(timeout=LIMIT_S)
        assert (self._process.returncode, errors) == (0, "")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def numbers(path: Path) -> list[int]:
    with SQLiteStore(path) as store:
        recover(store)
        assert not list(store.verify())
        events = list(store.read("s"))
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert not [event for event in events if event.type == EventType.GAP]
    return [event.data["i"] for event in events if event.type == "n"]


def fill(path: Path) -> None:
    """Take all that is left of a disk."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@pytest.mark.parametrize(
    ("durability", "journal"),
    [
        ("commit", "memory"),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (("emit", "memory"), ("emit", "disk"), ("power", "memory"))
        ),
    ],
)
def test_a_disk_that_is_full_for_a_while(
    tmp_path: Path, mount: Callable[..., Path], fault_report: Callable[..., None], durability: str, journal: str
) -> None:
    """Events wait, emit does not; when there is room again all are written, in order."""
    disk = mount("disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs")
    path = disk / "runs.db"
    with Writer(path, durability, journal) as writer:
        assert writer.emit(100)[0]
        fill(disk / "filler")
        is_complete, pending, dropped, error, *_ = writer.emit(5_000, timeout_s=0.5)
        assert (is_complete, dropped) == (False, 0)
        assert pending
        (disk / "filler").unlink()
        is_complete, pending, dropped, error, worst_s, count, unjournaled = writer.emit(1)
        assert (is_complete, pending, dropped, error) == (True, 0, 0, None)
        writer.close()
    assert numbers(path) == list(range(5_101))
    assert journal == "disk" or unjournaled == 0
    assert worst_s < 1  # there is room again only after all of them but the last
    fault_report(
        fault="the disk is full for a while (a tmpfs of 4 MiB)",
        promised="events wait in memory, emit does not wait; when there is room again all are written, in order. With "
        "a journal on the disk those for which there was no room for a copy are counted",
        seen={
            "runs": 1,
            "events": count,
            "lost": 0,
            "counted as without a copy": unjournaled,
            "worst emit: {} ms": worst_s * 1000,
        },
    )


def test_a_file_that_may_not_grow(tmp_path: Path, fault_report: Callable[..., None]) -> None:
    """SQLite's own limit (max_page_count), reached and raised: events wait, and are written."""
    path = tmp_path / "runs.db"
    sonde.record(path, session_id="first", memory_interval_s=None).close()
    connections: list[apsw.Connection] = []

    def limit(connection: apsw.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 60")
        connections.append(connection)

    apsw.connection_hooks.append(limit)
    try:
        with sonde.record(path, session_id="s", memory_interval_s=None) as rec:
            for i in range(5_000):
                rec.emit("n", i=i, text=os.urandom(100).hex())
            while not (report := rec.flush(0.5)).error:
                assert report.pending
            assert "full" in report.error
            assert not report.dropped
            apsw.connection_hooks.remove(limit)
            left = list(connections)
            while left:
                try:
                    left[-1].execute("PRAGMA max_page_count = 1000000")
                except apsw.ThreadingViolationError:  # in use just now
                    continue
                except apsw.ConnectionClosedError:
                    pass
                left.pop()
            assert rec.flush(LIMIT_S)
    finally:
        if limit in apsw.connection_hooks:
            apsw.connection_hooks.remove(limit)
        connections.clear()
    assert numbers(path) == list(range(5_000))
    fault_report(
        fault="the file may not grow (max_page_count)",
        promised="events wait in memory; when it may grow again all are written, in order",
        seen={"events": 5_000, "lost": 0},
    )


def test_a_disk_that_the_kernel_makes_read_only(
    tmp_path: Path, mount: Callable[..., Path], fault_report: Callable[..., None]
) -> None:
    """An error makes the file system read-only in a run: no emit waits; mounted anew, it takes all that waited."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", str(image)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs mkfs.ext4")
    disk = mount("disk", "-o", "loop", str(image))
    path = disk / "runs.db"
    with Writer(path, "power") as writer:
        assert writer.emit(1_000)[0]
        subprocess.run(["mount", "-o", "remount,abort", str(disk)], check=True)
        is_complete, pending, dropped, error, *_ = writer.emit(2_000, timeout_s=1)
        assert (is_complete, dropped) == (False, 0)
        assert pending
        assert error
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        # The same bytes from another device: this one stays broken until the process lets go of it.
        shutil.copyfile(image, image.with_name("repaired"))
        mount("disk", "-o", "loop", str(image.with_name("repaired")))
        is_complete, pending, dropped, error, worst_s, count, _ = writer.emit(1)
        assert (is_complete, pending, dropped) == (True, 0, 0)
        writer.close()
    assert numbers(path) == list(range(3_001))
    assert worst_s < 1
    fault_report(
        fault="an error makes the file system read-only while recording (ext4, durability power); it is mounted anew",
        promised="events wait in memory, emit does not wait; when it is back all are written, in order",
        seen={"events": count, "lost": 0, "worst emit: {} ms": worst_s * 1000},
    )


@pytest.mark.long
def test_a_disk_that_is_remounted_read_only(
    tmp_path: Path, mount: Callable[..., Path], fault_report: Callable[..., None]
) -> None:
    """The kernel refuses that while somebody records; on a read-only disk record() says so, and reading works."""
    disk = mount("disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs")
    path = disk / "runs.db"
    remount = ["mount", "-o", "remount,ro", str(disk)]
    with Writer(path, "commit") as writer:
        assert writer.emit(100)[0]
        refused = subprocess.run(remount, capture_output=True, check=False)
        assert refused.returncode
        assert writer.emit(100)[0]
        writer.close()
    subprocess.run(remount, check=True)
    with pytest.raises(StorePermissionError, match=f"cannot open event store '{path}'") as caught:
        sonde.record(path, session_id="t")
    assert "\n" not in str(caught.value)
    with SQLiteStore(path, mode="ro") as store:
        assert len(list(store.read_by_type("s", "n"))) == 200
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    with sonde.record(path, session_id="s", memory_interval_s=None) as rec:
        rec.emit("n", i=200)
    assert numbers(path) == list(range(201))
    fault_report(
        fault="the disk is remounted read-only (a tmpfs)",
        promised="the kernel refuses that while somebody records; after that record() raises one clear line, reading "
        "works, and recording goes on when it is writable again",
        seen={"events": 201, "lost": 0},
    )


def test_a_store_on_a_read_only_disk_is_repaired_elsewhere(tmp_path: Path, mount: Callable[..., Path]) -> None:
    """Beside the file nothing can be made: one line says what helps, and with an output elsewhere it works."""
    disk = mount("disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs")
    path = disk / "runs.db"
    with sonde.record(path, session_id="s", memory_interval_s=None) as rec:
        rec.emit("n", i=0)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StoreUnavailableError, match="Read-only file system; check the disk, or name"):
        salvage(path, disk / "repaired.db")
    assert salvage(path, tmp_path / "repaired.db").kept == 3
    assert numbers(tmp_path / "repaired.db") == [0]


@pytest.fixture
def freezing(tmp_path: Path, mount: Callable[..., Path]) -> Iterator[Callable[[float], Path]]:
    """A disk, and how to freeze it for so many seconds, as a snapshot of a virtual machine does."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    if shutil.which("fsfreeze") is None or subprocess.run(["mkfs.ext4", "-q", str(image)], check=False).returncode:
        pytest.skip("needs mkfs.ext4 and fsfreeze")
    disk = mount("disk", "-o", "loop", str(image))

    def freeze(seconds: float) -> Path:
        if seconds:
            # A program of its own thaws it, whatever becomes of this test: it would keep its processes for ever.
            place = shlex.quote(str(disk))
            program = f"fsfreeze --freeze {place} && echo frozen && sleep {seconds}; fsfreeze --unfreeze {place}"
            freezer = subprocess.Popen(["sh", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            freezers.append(freezer)
            assert freezer.stdout is not None
            if freezer.stdout.readline() != b"frozen\n":
                pytest.skip("cannot freeze a file system")
        return disk

    freezers: list[subprocess.Popen[bytes]] = []
    yield freeze
    for freezer in freezers:
        freezer.communicate(timeout=LIMIT_S)


@pytest.mark.parametrize(
    ("durability", "journal"),
    [
        ("commit", "memory"),
        ("emit", "memory"),
        *(pytest.param(*each, marks=pytest.mark.long) for each in (("power", "memory"), ("emit", "disk"))),
    ],
)
def test_a_frozen_file_system(
    freezing: Callable[[float], Path], fault_report: Callable[..., None], durability: str, journal: str
) -> None:
    """As for a snapshot of a virtual machine: nothing is lost, and no emit waits for it unless its journal is there."""
    path = freezing(0) / "runs.db"
    with Writer(path, durability, journal) as writer:
        assert writer.emit(1_000)[0]
        freezing(2)
        is_complete, pending, *_ = writer.emit(5_000, timeout_s=0.1)
        if journal == "memory":
            assert not is_complete
            assert pending
        is_complete, pending, dropped, _, worst_s, count, unjournaled = writer.emit(1)
        assert (is_complete, pending, dropped, unjournaled) == (True, 0, 0, 0)
        writer.close()
    assert numbers(path) == list(range(count))
    if journal == "memory":
        assert worst_s < 1
    fault_report(
        fault="the file system is frozen for 2 s, as for a snapshot (fsfreeze)",
        promised="nothing is lost, and no emit waits for it; with journal='disk' it may, since what it writes into is "
        "mapped from a file",
        seen={"runs": 1, "events": count, "lost": 0, f"worst emit, journal in {journal}: {{}} ms": worst_s * 1000},
    )


CLOSER = """
import json, logging, sys, time, sonde, sonde.recorder.exits
logging.disable(logging.CRITICAL)
sonde.recorder.exits.EXIT_TIMEOUT_S = 1.0
rec = sonde.record(sys.argv[1], session_id="s", durability=sys.argv[2], memory_interval_s=None)
for i in range(100):
    rec.emit("n", i=i)
assert rec.flush(60)
while rec._journal._mark.words[2] != 1:
    time.sleep(0.01)
print("ready", flush=True)
more = int(sys.stdin.readline())
for i in range(100, 100 + more):
    rec.emit("n", i=i)
began_s = time.monotonic()
report = rec.close(1)
took_s = time.monotonic() - began_s
print(json.dumps([report.committed, report.pending, sum(report.dropped.values()), took_s]), flush=True)
"""


@pytest.mark.parametrize(
    ("durability", "more"),
    [
        ("commit", 200),
        ("emit", 200),
        *(pytest.param(*each, marks=pytest.mark.long) for each in (("commit", 0), ("emit", 0), ("power", 200))),
    ],
)
def test_close_ends_in_time_while_the_file_system_is_frozen(
    freezing: Callable[[float], Path], fault_report: Callable[..., None], durability: str, more: int
) -> None:
    """It says what is not written; what then becomes of that is in the store or in a gap."""
    path = freezing(0) / "runs.db"
    with subprocess.Popen(
        [sys.executable, "-c", CLOSER, str(path), durability], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as closer:
        assert closer.stdin is not None
        assert closer.stdout is not None
        assert closer.stdout.readline() == "ready\n"
        freezing(6)
        closer.stdin.write(f"{more}\n")
        closer.stdin.flush()
        committed, pending, dropped, took_s = json.loads(closer.stdout.readline())
        assert took_s < 3
        closer.wait(timeout=LIMIT_S)
    freezing(0)
    with SQLiteStore(path) as store:
        recover(store)
        assert not list(store.verify())
        kept = [event.data["i"] for event in store.read_by_type("s", "n")]
        missed = sum(event.data["missed"] for event in store.read_by_type("s", EventType.GAP))
    assert kept == list(range(len(kept)))
    assert len(kept) >= 100
    if durability == "emit":
        assert (len(kept), missed) == (100 + more, 0)
    assert len(kept) + missed >= 100 + more
    assert committed + pending + dropped >= 100 + more
    fault_report(
        fault="close() while the file system is frozen",
        promised="it ends in its deadline and says what is not written; a gap counts what does not come after all",
        seen={
            "runs": 1,
            "events": 100 + more,
            "acknowledged and lost": 0,
            "in the store at the end": len(kept),
            "worst close(1): {} s": took_s,
        },
    )
