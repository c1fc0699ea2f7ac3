"""Sealing and shelving while others write, read and remove, and with ``kill -9`` in between."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sonde.events import Event
from sonde.store import Record, SQLiteStore

PATIENCE_S = 60.0

# Appends, and after each append seals and shelves what there is. It says how far it got.
SEALER = """
import sys
from sonde.events import Event
from sonde.store import Record, SQLiteStore
from sonde.store.connections import transaction
from sonde.store.sealing import seal_some
from sonde.store.shelving import last_shelf, shelve_some
path = sys.argv[1]
store = SQLiteStore(path, busy_timeout_s=60)
for turn in range(1, 1_000_000):
    events = [Event("a.b", turn, data={"n": n, "text": f"{turn} {n} " * 200}) for n in range(3)]
    store.append_batch([Record(f"s{n}", "w", turn * 3 + n, event) for n, event in enumerate(events)])
    print(turn, flush=True)
    if turn % 4 == 0:
        with store._handle.attachment.writing("tend") as connection:
            with transaction(connection):
                seal_some(connection, least=1)
            with transaction(connection):
                shelve_some(connection, last_shelf(connection), least=1)
    if turn % 9 == 0:
        store.truncate("s0", turn - 5)
"""


@pytest.mark.parametrize("turns", [7, 20, pytest.param(300, marks=pytest.mark.long)])
def test_a_kill_leaves_all_that_was_acknowledged(tmp_path: Path, turns: int) -> None:
    """Amid appends, sealings, shelvings and truncations: all is there, whole, and what follows goes on."""
    path = tmp_path / "e.db"
    with subprocess.Popen([sys.executable, "-c", SEALER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(turns):
            said = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")[:-1]
    acknowledged = int(rest[-1] if rest else said)
    with SQLiteStore(path) as store:
        assert list(store.verify()) == []
        assert acknowledged <= store.head("s1") <= acknowledged + 1
        assert [event.time_ns for event in store.read("s1")] == list(range(1, store.head("s1") + 1))
        assert store.append("s1", [Event("a.b")]).first_version == store.head("s1")
        while store.tend(is_ending=True):
            pass
        assert list(store.verify()) == []


def test_readers_see_each_event_once(tmp_path: Path) -> None:
    """While another handle writes and seals under their hands: by stream, by position, and following."""
    path, count, batch = tmp_path / "e.db", 6_000, 50
    seen: dict[str, list[int]] = {}

    def follow() -> None:
        with SQLiteStore(path) as store:
            seen["followed"] = []
            for event in store.follow(store.streams()[0].last_position, timeout_s=PATIENCE_S):
                seen["followed"].append(event.data["n"])
                if event.data["n"] == count:
                    return

    with SQLiteStore(path) as store, SQLiteStore(path) as reader:
        store.append_batch([Record("s0", "w", 0, Event("a.b", data={"n": 0}))])
        follower = threading.Thread(target=follow)
        follower.start()
        for start in range(1, count + 1, batch):
            numbers = range(start, start + batch)
            store.append_batch([Record(f"s{n % 2}", "w", n, Event("a.b", data={"n": n})) for n in numbers])
            store.tend()
            if start % 1_000 == 1:
                found = [event.data["n"] for event in reader.read_all()]
                assert found == list(range(len(found)))
                assert [event.data["n"] for event in reader.read("s1")] == list(range(1, len(found), 2))
        follower.join(PATIENCE_S)
        assert not follower.is_alive()
        assert seen["followed"][-1] == count
        assert seen["followed"] == list(range(seen["followed"][0], count + 1))
        assert list(store.verify()) == []
