"""The write-ahead log is torn or altered after a kill: what lay there is lost, and how much that is, is known."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sonde.events import EventType
from sonde.recorder import pending, recover
from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")

EVENTS = 60
LIMIT_S = 100

# One event, one transaction. The ledger, kept outside: how long the log was when so many events were acknowledged.
WRITER = """
import os, sys, time, sonde
path, durability, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
rec = sonde.record(path, session_id="s", durability=durability, memory_interval_s=None)
assert rec.flush(60)
os.write(1, b"%d %d\\n" % (0, os.path.getsize(path + "-wal")))
for i in range(count):
    rec.emit("n", i=i, text="y" * (i * 37 % 3000))
    assert rec.flush(60)
    os.write(1, b"%d %d\\n" % (i + 1, os.path.getsize(path + "-wal")))
while rec._journal._mark.words[2] != 1:  # until the hub has come to rest the mark says more than is there
    time.sleep(0.01)
os.kill(os.getpid(), 9)
"""


class Killed(NamedTuple):
    """What a killed process left: a folder, and what it had said."""

    folder: Path
    lengths: list[int]  # of the log, by the number of events that were acknowledged
    log_bytes: int


@pytest.fixture(scope="module", params=["emit", pytest.param("commit", marks=pytest.mark.long)])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """An idle writer, killed; how many events it published is known to one."""
    for attempt in range(10):
        folder = tmp_path_factory.mktemp(f"{request.param}-{attempt}")
        path = folder / "runs.db"
        run = subprocess.run(
            [sys.executable, "-c", WRITER, str(path), request.param, str(EVENTS)],
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        lines = [line.split() for line in run.stdout.splitlines()]
        assert [int(events) for events, _ in lines] == list(range(EVENTS + 1)), run.stderr.decode()
        for file in (f"{path}-shm", f"{path}-lock"):
            os.unlink(file)
        with SQLiteStore(copy_of(folder, folder.with_name(f"{folder.name}-look")), mode="ro") as store:
            if pending(store).missed == 0:  # else the machine was so busy that the hub had not come to rest
                return Killed(folder, [int(length) for _, length in lines], (folder / "runs.db-wal").stat().st_size)
    pytest.fail("the hub of an idle writer does not come to rest")


def copy_of(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target / "runs.db"


class Found(NamedTuple):
    """What the next opener found."""

    numbers: list[int]
    missed: int


def next_opener(path: Path) -> Found:
    with SQLiteStore(path) as store:
        took = recover(store)
        assert not list(store.verify())
        events = list(store.read("s"))
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    gaps = [event for event in events if event.type == EventType.GAP]
    begun = sum(event.type == EventType.SESSION_STARTED for event in events)
    missed = sum(gap.data["missed"] for gap in gaps)
    assert took.missed == missed
    return Found([event.data["i"] for event in events if event.type == "n"], missed - (1 - begun))


def survivors(killed: Killed, damaged_at: int) -> int:
    """How many events lie before a place of the log, by the ledger."""
    return max((events for events, length in enumerate(killed.lengths) if length <= damaged_at), default=0)


def places(killed: Killed, chance: random.Random, count: int) -> list[int]:
    """Offsets of every kind: the log's header, a frame's header, its page, a boundary; and anywhere."""
    frame_bytes = 24 + 4096
    frames = (killed.log_bytes - 32) // frame_bytes
    starts = [32 + chance.randrange(frames) * frame_bytes for _ in range(count)]
    kinds = [0, 1, 31, *(start + within for start in starts for within in (0, 1, 12, 23, 24, 25, frame_bytes - 1))]
    anywhere = [chance.randrange(killed.log_bytes) for _ in range(count)]
    return sorted({place for place in (*kinds, *anywhere) if place < killed.log_bytes})


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 10))]


@pytest.mark.parametrize("damage", ["torn", "flipped"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_log(
    tmp_path: Path, killed: Killed, fault_report: Callable[..., None], damage: str, seed: int
) -> None:
    """From the damage on everything is lost, nothing before it; the next opener says how many events these are."""
    chance = random.Random(f"{seed}{damage}")
    count = lost = 0
    for place in places(killed, chance, 2 if seed == 0 else 10):
        path = copy_of(killed.folder, tmp_path / f"{place}")
        log = path.with_name("runs.db-wal")
        if damage == "torn":
            os.truncate(log, place)
        else:
            content = bytearray(log.read_bytes())
            content[place] ^= 1 << chance.randrange(8)
            log.write_bytes(content)
        found = next_opener(path)
        expected = survivors(killed, place)
        assert found.numbers == list(range(expected)), f"{damage} at {place}"
        assert found.missed == EVENTS - expected, f"{damage} at {place}"
        count += 1
        lost += EVENTS - expected
        shutil.rmtree(path.parent)
    fault_report(
        fault="the log of a killed, idle writer is cut off or has a bit flipped, at places of every kind",
        promised="all before the damage is there, with contiguous versions; the next opener counts exactly what is not",
        seen={
            "damaged logs": count,
            "events lost with them": lost,
            "counted by the next opener": lost,
            "lost before the damage": 0,
        },
    )


def test_doctor_says_what_the_ledger_misses(tmp_path: Path, killed: Killed, fault_report: Callable[..., None]) -> None:
    """The command, once a kill's remains are taken in, names the number that the outside ledger misses."""
    path = copy_of(killed.folder, tmp_path / "copy")
    place = killed.lengths[EVENTS // 2] + 100
    os.truncate(path.with_name("runs.db-wal"), place)
    run = subprocess.run(
        [sys.executable, "-m", "sonde", "doctor", "--recover", "--json", "--db", str(path)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    document = json.loads(run.stdout)
    assert document["missed"] == EVENTS - EVENTS // 2
    assert document["damage"] == []
    fault_report(
        fault="the log of a killed writer is cut off, and somebody asks sonde doctor",
        promised="sonde doctor --recover says how many events are missing: as many as the ledger outside misses",
        seen={
            "runs": 1,
            "events missing by the ledger": EVENTS - EVENTS // 2,
            "by sonde doctor": document["missed"],
        },
    )
