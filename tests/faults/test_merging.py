"""Stores of several machines become one: copies that went on separately, killed imports, clocks that are off."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sonde
from sonde.clock import SystemClock
from sonde.events import Event, RecordedEvent
from sonde.receivers import import_store
from sonde.recorder import Recorder
from sonde.redaction import NoRedactor
from sonde.store import Record, SQLiteStore

LIMIT_S = 60.0
IS_LONG = os.environ.get("SONDE_TEST_LONG") == "1"
QUIET: dict[str, Any] = {"metrics_interval_s": None, "memory_interval_s": None}
EVENTS = 20_000 if IS_LONG else 5_000
HOUR_NS = 3_600_000_000_000

Identity = tuple[str, int]
Report = Callable[..., None]


def events_of(path: Path, *, is_checked: bool = True) -> list[RecordedEvent]:
    """All that is in a store, which must be whole, in order of position."""
    with SQLiteStore(path, mode="ro") as store:
        if not is_checked:
            return list(store.read_all())
        assert list(store.verify()) == []
        events = list(store.read_all())
        for stream in store.streams():
            versions = [event.version for event in store.read(stream.stream_id)]
            assert versions == list(range(1, len(versions) + 1))
    return events


def said(events: Iterable[RecordedEvent]) -> dict[Identity, tuple[str, bytes]]:
    """What was recorded, by identity; each identity once."""
    found: dict[Identity, tuple[str, bytes]] = {}
    for event in events:
        assert (event.writer_id, event.seq) not in found
        found[event.writer_id, event.seq] = (event.stream_id, event.to_json())
    return found


def orders(events: Iterable[RecordedEvent]) -> dict[tuple[str, str], list[int]]:
    """The numbers of each writer in each stream, in order of version."""
    found: dict[tuple[str, str], list[int]] = {}
    for event in sorted(events, key=lambda event: event.version):
        found.setdefault((event.stream_id, event.writer_id), []).append(event.seq)
    return found


class _Clock(SystemClock):
    """A machine's clock that is off."""

    def __init__(self, offset_ns: int) -> None:
        self._offset_ns = offset_ns

    def time_ns(self) -> int:
        """Unix time as this machine has it."""
        return time.time_ns() + self._offset_ns


def record(path: Path, session_id: str, turns: range, *, offset_ns: int = 0) -> None:
    """A run that resends its context each turn, as agents do."""
    context = [random.Random(0).randbytes(30_000).hex()]
    with Recorder(path, session_id=session_id, clock=_Clock(offset_ns), **QUIET) as rec:
        for turn in turns:
            context.append(random.Random(turn + 1).randbytes(2_000).hex())
            with rec.model("m", prompt=context) as call:
                call.set(answer=f"{turn}")
            with rec.tool("read_file", path=f"{turn}.py"):
                pass


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A store that was copied to a second machine and went on on both, and that of a third with a session so named."""
    folder = tmp_path_factory.mktemp("machines")
    first, second, third = (folder / f"{name}.db" for name in ("first", "second", "third"))
    record(first, "fix-42", range(10))
    shutil.copyfile(first, second)
    record(first, "fix-42", range(10, 16))
    record(second, "fix-42", range(10, 14), offset_ns=-HOUR_NS)
    record(second, "other", range(3), offset_ns=-HOUR_NS)
    record(third, "fix-42", range(5), offset_ns=HOUR_NS)
    return [first, second, third]


@pytest.mark.parametrize("order", [*permutations(range(3))] if IS_LONG else [(0, 1, 2), (2, 1, 0)])
def test_copies_become_one_in_any_order(
    tmp_path: Path, machines: Sequence[Path], order: Sequence[int], fault_report: Report
) -> None:
    """Each event is there once, each writer's in order, and importing again adds nothing; large data is shared."""
    merged = tmp_path / "merged.db"
    expected: dict[Identity, tuple[str, bytes]] = {}
    for path in machines:
        expected.update(said(events_of(path)))
    with SQLiteStore(merged) as store:
        imported = [import_store(store, machines[index]).imported for index in order]
    assert sum(imported) == len(expected)
    assert imported[0] == len(events_of(machines[order[0]]))
    events = events_of(merged)
    assert said(events) == expected
    assert all(numbers == sorted(numbers) for numbers in orders(events).values())
    size_bytes = merged.stat().st_size
    assert size_bytes < 0.6 * sum(path.stat().st_size for path in machines)
    with SQLiteStore(merged) as store:
        again = [import_store(store, path) for path in machines]
        assert [report.imported for report in again] == [0, 0, 0]
        assert [report.duplicates for report in again] == [len(events_of(path)) for path in machines]
    assert said(events_of(merged)) == expected
    fault_report(
        fault="copies of one store that went on separately on two machines, and a third's, merged in any order",
        promised="each event once, each writer's in order; again adds nothing; clocks an hour off change nothing",
        seen=f"{len(expected)} events, each once; large data once, not three times",
    )


def test_a_clock_that_is_off_changes_no_order(tmp_path: Path, machines: Sequence[Path]) -> None:
    """What the second machine recorded stands behind what it had copied, though its clock says an hour before."""
    merged = tmp_path / "merged.db"
    with SQLiteStore(merged) as store:
        import_store(store, machines[1])
        events = list(store.read("fix-42"))
    answers = [int(event.data["answer"]) for event in events if event.type == "model.completed"]
    times_ns = [event.time_ns for event in events]
    assert answers == list(range(14))
    assert times_ns != sorted(times_ns)


WRITERS = ("w-1", "w-2", "w-3")
STEPS = st.lists(
    st.tuples(st.sampled_from(WRITERS), st.sampled_from(("s", "t")), st.integers(1, 5)), min_size=1, max_size=8
)


def play(store: SQLiteStore, steps: Sequence[tuple[str, str, int]], begun: dict[str, int], machine: str) -> None:
    """Append to streams, each writer counting on; after the copy each machine has writers of its own."""
    for name, stream_id, number in steps:
        writer_id = f"{name}{machine}"
        first = begun.get(writer_id, 0) + 1
        begun[writer_id] = first + number - 1
        seqs = range(first, first + number)
        store.append_batch(
            [
                Record(stream_id, writer_id, seq, Event("n", data={"of": writer_id, "seq": seq, "text": "x" * 600}))
                for seq in seqs
            ]
        )


@settings(max_examples=2_000 if IS_LONG else 12)
@given(prefix=STEPS, tails=st.lists(STEPS, min_size=1, max_size=3), chance=st.randoms(use_true_random=False))
def test_whatever_went_on_separately_becomes_one(
    tmp_path_factory: pytest.TempPathFactory,
    prefix: list[tuple[str, str, int]],
    tails: list[list[tuple[str, str, int]]],
    chance: random.Random,
) -> None:
    """Any common beginning, any tails, imported in any order and some of them twice."""
    folder = tmp_path_factory.mktemp("copies")
    begun: dict[str, int] = {}
    with SQLiteStore(folder / "0.db") as store:
        play(store, prefix, begun, "")
        for number in range(1, len(tails)):
            store.backup(folder / f"{number}.db")
    for number, tail in enumerate(tails):
        with SQLiteStore(folder / f"{number}.db") as store:
            play(store, tail, {}, f"@{number}")
    copies = [folder / f"{number}.db" for number in range(len(tails))]
    expected: dict[Identity, tuple[str, bytes]] = {}
    for path in copies:
        with SQLiteStore(path, mode="ro") as store:
            expected.update(said(store.read_all()))
    order = copies + chance.sample(copies, chance.randint(0, len(copies)))
    chance.shuffle(order)
    with SQLiteStore(":memory:") as store:
        reports = [import_store(store, path, redactor=NoRedactor()) for path in order]
        events = list(store.read_all())
        assert sum(report.imported for report in reports) == len(expected)
        assert said(events) == expected
        assert all(numbers == sorted(numbers) for numbers in orders(events).values())
        assert list(store.verify()) == []
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that takes a while to import."""
    path = tmp_path_factory.mktemp("large") / "large.db"
    with SQLiteStore(path) as store:
        for start in range(0, EVENTS, 1_000):
            store.append_batch(
                [
                    Record(
                        f"s-{seq % 7}", f"w-{seq % 3}", seq, Event("n", seq, data={"i": seq, "text": f"{seq} " * 150})
                    )
                    for seq in range(start + 1, start + 1_001)
                ]
            )
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.timeout(600)  # in its long form it starts the command eleven times
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_was_stopped_is_gone_on_with(
    tmp_path: Path, large: Path, number: signal.Signals, fault_report: Report
) -> None:
    """Killed or interrupted at any moment: the store is whole, and the next import adds exactly the rest."""
    merged = tmp_path / "merged.db"
    chance = random.Random(int(number))
    command = [sys.executable, "-m", "sonde", "import", str(large), "--db", str(merged), "--json"]
    stopped = 0
    for _ in range(10 if IS_LONG else 1):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        target = committed(merged) + chance.randint(1, EVENTS // 3)
        deadline_s = time.monotonic() + LIMIT_S
        while process.poll() is None and committed(merged) < target and time.monotonic() < deadline_s:
            time.sleep(0.03)
        process.send_signal(number)
        _, errors = process.communicate(timeout=LIMIT_S)
        assert "Traceback" not in errors
        stopped += process.returncode != 0
        if process.returncode == 0:
            break
    assert stopped
    before = len(said(events_of(merged, is_checked=IS_LONG)))
    done = subprocess.run(command, capture_output=True, check=True, timeout=LIMIT_S)
    report = json.loads(done.stdout)
    assert (report["read"], report["duplicates"], report["imported"]) == (EVENTS, before, EVENTS - before)
    events = events_of(merged)
    assert said(events) == said(events_of(large, is_checked=False))
    assert all(numbers == sorted(numbers) for numbers in orders(events).values())
    fault_report(
        fault="an import stopped by kill -9 or Ctrl-C, and repeated",
        promised="the store stays whole, and the next import adds exactly the rest",
        seen=f"stopped {stopped} times with {before:,} of {EVENTS:,} events there: exactly the rest was added",
    )


def committed(path: Path) -> int:
    """How many events are in the store by now; 0 if there is none yet."""
    try:
        with SQLiteStore(path, mode="ro") as store:
            return store.health().events
    except sonde.StoreError:
        return 0


def test_memory_is_bounded_by_bytes(tmp_path: Path) -> None:
    """Large events come in batches of some megabytes, however many there are."""
    path = tmp_path / "large.db"
    text = random.Random(1).randbytes(200_000).hex()
    with SQLiteStore(path) as store:
        for seq in range(1, 61):
            store.append("s", [Event("n", seq, data={"i": seq, "text": f"{seq} {text}"})])
    told: list[tuple[int, int]] = []
    with SQLiteStore(":memory:") as store:
        report = import_store(store, path, progress=lambda done, total: told.append((done, total)))
    assert (report.imported, told[-1]) == (60, (60, 60))
    assert len(told) >= 3
    assert [done for done, _ in told] == sorted(done for done, _ in told)
