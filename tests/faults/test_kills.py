"""kill -9 at random moments: two processes that record into one store, and the ones that take over from them."""

from __future__ import annotations

import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from sonde.events import EventType
from sonde.recorder import recover
from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")

ROUNDS = 4
LIMIT_S = 90

# Forks a writer for each line that it is given, which spares each the imports; says who began and who is dead.
#
# What a writer says of itself is kept outside of all that sonde keeps, in memory shared with the test: it stays there
# however the writer ends, and costs it nothing, so that it is the store that is under load. The words: events that emit
# was called for, that it returned for, and those that a flush said are committed.
STEM = """
import mmap, os, random, sys
import sonde, sonde.store

def write(path, session, durability, ledger, seed):
    chance = random.Random(seed)
    with open(ledger, "r+b") as file:
        words = memoryview(mmap.mmap(file.fileno(), 4096)).cast("Q")
    rec = sonde.record(path, session_id=session, durability=durability, memory_interval_s=None)
    i = 0
    text = "x" * chance.choice((0, 30, 1000))
    while True:
        for _ in range(chance.choice((1, 3, 30, 300))):
            words[1] = i + 1
            rec.emit("n", i=i, text=text)
            words[2] = i = i + 1
        if chance.random() < 0.3:
            if rec.flush(60):
                words[3] = i
        elif words[2] - words[3] > 2_000:  # a backlog without end would only make the test slow
            rec.flush(60)

for line in sys.stdin:
    path, session, durability, ledger, seed = line.split()
    pid = os.fork()
    if not pid:
        write(path, session, durability, ledger, int(seed))
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("dead", flush=True)
"""


class Ledger(NamedTuple):
    """What a writer said outside: how many times it called emit, how many times that returned, and what was flushed."""

    called: int
    returned: int
    flushed: int


class Stem:
    """A process that forks writers, one at a time."""

    def __init__(self, errors: IO[bytes]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", STEM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        self._pid = 0

    def start(self, path: Path, session: str, durability: str, ledger: Path, seed: int) -> None:
        ledger.write_bytes(bytes(4096))
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path} {session} {durability} {ledger} {seed}\n")
        self._process.stdin.flush()
        self._pid = int(self._line())

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        assert self._line() == "dead\n"
        self._pid = 0

    def close(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
        self._process.communicate(timeout=LIMIT_S)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the stem has died"
        return line


@pytest.fixture
def stems(tmp_path: Path) -> Iterator[list[Stem]]:
    with (tmp_path / "errors").open("wb") as errors:
        found = [Stem(errors) for _ in range(2)]
        try:
            yield found
        finally:
            for stem in found:
                stem.close()
    assert (tmp_path / "errors").read_bytes() == b""


def read_ledger(path: Path) -> Ledger:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ) as memory:
        return Ledger(*memoryview(bytes(memory[:32])).cast("Q")[1:4])


class Seen(NamedTuple):
    """One writer's events: in the store, and those that a gap says a kill took at most."""

    numbers: list[int]
    others: int
    missed: int


def session_of(store: SQLiteStore, session: str) -> Seen:
    events = list(store.read(session))
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    gaps = [event for event in events if event.type == EventType.GAP]
    assert {reason for gap in gaps for reason in gap.data["reasons"]} <= {"killed"}
    assert len(gaps) <= 1
    numbers = [event.data["i"] for event in events if event.type == "n"]
    return Seen(numbers, len(events) - len(numbers) - len(gaps), sum(gap.data["missed"] for gap in gaps))


SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 50))]


@pytest.mark.parametrize("seed", SEEDS)
def test_two_writers_killed_at_random_moments(
    tmp_path: Path, stems: list[Stem], fault_report: Callable[..., None], seed: int
) -> None:
    """Acknowledged is there, nothing is there twice, the file is whole, and what is missing is counted.

    Four rounds in one store: in each, two writers of any durability, one of which may take in what others left while
    the other writes, and both of which are killed.
    """
    chance = random.Random(seed)
    path = tmp_path / "runs.db"
    totals = {"acknowledged events lost": 0, "events twice": 0, "taken by a kill": 0, "uncounted": 0}
    published = kills = most_claimed = 0
    for turn in range(ROUNDS):
        writers = {}
        for place, stem in enumerate(stems):
            session = f"{turn}-{place}"
            durability = chance.choice(("commit", "emit", "power"))
            writers[session] = (stem, durability, tmp_path / f"ledger-{session}")
            stem.start(path, session, durability, writers[session][2], chance.randrange(2**31))
        for session in chance.sample(sorted(writers), 2):
            if chance.random() < 0.8:  # else perhaps before it has begun
                began(writers[session][2])
            time.sleep(chance.uniform(0, 0.1))  # the random moment
            writers[session][0].kill()
            kills += 1
        with SQLiteStore(path) as store:
            recover(store)
            assert not list(store.verify())
            for session, (_, durability, file) in writers.items():
                ledger, seen = read_ledger(file), session_of(store, session)
                there = set(seen.numbers)
                known = ledger.returned if durability == "emit" else ledger.flushed
                published += ledger.returned
                totals["acknowledged events lost"] += known - len(there & set(range(known)))
                totals["events twice"] += len(seen.numbers) - len(there)
                totals["taken by a kill"] += max(0, ledger.returned - len(there))
                totals["uncounted"] += max(0, ledger.returned - len(there) - seen.missed)
                assert seen.numbers == list(range(len(there))), "not in order, or with a hole"
                assert len(there) <= ledger.called
                if durability == "emit":
                    assert seen.missed == 0, (ledger, len(there))
                claimed = len(there) + seen.others + seen.missed - ledger.called - 1  # 1: the session's beginning
                assert claimed <= 1024
                most_claimed = max(most_claimed, claimed)
    assert totals == {
        "acknowledged events lost": 0,
        "events twice": 0,
        "taken by a kill": totals["taken by a kill"],
        "uncounted": 0,
    }
    fault_report(
        fault="kill -9 of two writers of one store, at random moments, also while they open it or take in what others "
        "left; every durability",
        promised="what was acknowledged is there (emit returned, or flush() was true), in order and once; the file is "
        "whole; what a kill took is counted by the next opener, at most 1,024 too many",
        seen={"kills": kills, "events published": published, **totals, "most counted too many: {}": most_claimed},
    )


def began(ledger: Path) -> None:
    """Wait until the writer has emitted."""
    deadline_s = time.monotonic() + LIMIT_S
    while not read_ledger(ledger).returned:
        assert time.monotonic() < deadline_s, "the writer did not begin"
        time.sleep(0.005)
