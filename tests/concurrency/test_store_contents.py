"""Large data, from several processes at once, some of which are killed: stored once, never half, never gone."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from sonde.store import SQLiteStore

# Each says the same conversation, a message more at a time, and prints how far it got.
TALKER = """
import random, sys
from sonde.events import Event
from sonde.store import Record, SQLiteStore
path, writer, turns = sys.argv[1], sys.argv[2], int(sys.argv[3])
chance = random.Random(7)
messages = [{"role": "user", "content": chance.randbytes(400).hex()} for _ in range(100)]
store = SQLiteStore(path, busy_timeout_s=60)
print("ready", flush=True)
sys.stdin.readline()
for turn in range(1, turns + 1):
    event = Event("model.started", turn, data={"messages": messages[:turn % 100 + 1]})
    store.append_batch([Record(writer, writer, turn, event)])
    if writer == "sweeper" and turn % 5 == 0:
        store.truncate(writer, turn - 2)
    print(turn, flush=True)
store.close()
"""


def talker(path: Path, writer: str, turns: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", TALKER, str(path), writer, str(turns)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def sizes(store: SQLiteStore, stream: str) -> list[int]:
    return [len(event.data["messages"]) for event in store.read(stream)]


def test_processes_share_contents(tmp_path: Path) -> None:
    """Two say the same at once while a third says it too and truncates: one set of pieces, and all is whole."""
    path = tmp_path / "e.db"
    processes = [talker(path, writer, 60) for writer in ("one", "two", "sweeper")]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with SQLiteStore(path) as store:
        assert sizes(store, "one") == sizes(store, "two") == list(range(2, 62))
        assert sizes(store, "sweeper") == [59, 60, 61]
        assert list(store.verify()) == []
        connection = apsw.Connection(str(path))
        ((texts,),) = connection.execute("SELECT count(DISTINCT digest) FROM pieces")
        ((nodes,),) = connection.execute("SELECT count(*) FROM pieces")
        connection.close()
        assert texts == nodes < 61 + 30  # each message once, and some nodes
        for stream in ("one", "two", "sweeper"):
            store.truncate(stream, 1_000)
        assert list(store.verify()) == []
        connection = apsw.Connection(str(path))
        assert list(connection.execute("SELECT (SELECT count(*) FROM blocks), (SELECT count(*) FROM uses)")) == [(0, 0)]
        connection.close()


@pytest.mark.parametrize("round_number", range(3))
def test_a_killed_process_leaves_whole_contents(tmp_path: Path, round_number: int) -> None:
    """``kill -9`` amid appends and truncations: what was acknowledged is whole, and collection goes on."""
    path = tmp_path / "e.db"
    process = talker(path, "sweeper", 1_000_000)
    go(process)
    assert process.stdout is not None
    for _ in range(20 + 17 * round_number):
        said = process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split("\n")[:-1]
    process.communicate(timeout=30)
    acknowledged = int(rest[-1] if rest else said)
    with SQLiteStore(path) as store:
        assert acknowledged <= store.head("sweeper") <= acknowledged + 1
        assert [size - 1 for size in sizes(store, "sweeper")] == [event.seq % 100 for event in store.read("sweeper")]
        assert list(store.verify()) == []
        store.truncate("sweeper", 10_000_000)
        assert list(store.verify()) == []
        connection = apsw.Connection(str(path))
        assert list(connection.execute("SELECT (SELECT count(*) FROM blocks), (SELECT count(*) FROM pieces)")) == [
            (0, 0)
        ]
        connection.close()
