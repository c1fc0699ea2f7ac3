"""Readers while others prune: what they see is in order, each event once, and what they miss has been removed."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from sonde.events import Event, Position, RecordedEvent
from sonde.store import Record, Retention, SQLiteStore

STREAMS = ("a", "b", "c", "d")
LIMIT_S = 60.0


class Watch:
    """Looks at events as a reader gets them."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store
        self._last: dict[str, int] = {}
        self._position = Position.START
        self.events = self.holes = 0
        self.wrong: list[str] = []

    def see(self, events: Iterable[RecordedEvent], *, ordered: bool = True, start: int | None = None) -> None:
        for event in events:
            self.events += 1
            if ordered and event.position <= self._position:
                self.wrong.append(f"{event.position} behind {self._position}")
            self._position = event.position
            last = self._last.get(event.stream_id, 0) if start is None else start
            start = None
            if event.version <= last:
                self.wrong.append(f"{event.stream_id} {event.version} behind {last}")
            elif event.version > last + 1:
                self.holes += 1
                first = {one.stream_id: one.first_version for one in self._store.streams()}[event.stream_id]
                if 0 < first < event.version:
                    self.wrong.append(
                        f"{event.stream_id} has no {last + 1} to {event.version - 1}, and begins at {first}"
                    )
            if event.data["n"] != event.version or event.data["text"] != text_of(event.version):
                self.wrong.append(f"{event.stream_id} {event.version} is {event.data}")
            self._last[event.stream_id] = event.version


def text_of(version: int) -> str:
    """Large ones among them, which share pieces."""
    return f"{version % 50:03}" * 400 if version % 10 == 0 else "x"


def test_readers_while_pruning(tmp_path: Path) -> None:
    """`read`, `read_all` and `follow`, at their own pace, beside two who append and two who prune."""
    path = tmp_path / "e.db"
    stores = [SQLiteStore(path) for _ in range(3)]
    done = threading.Event()
    failures: list[BaseException] = []
    total = 6_000

    def guarded(run: Callable[[], None]) -> threading.Thread:
        def body() -> None:
            try:
                run()
            except BaseException as error:  # noqa: BLE001 - it is told where the test can see it
                failures.append(error)
                done.set()

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread

    def append(store: SQLiteStore, streams: tuple[str, ...], writer: str) -> None:
        seqs = itertools.count(1)
        for version in range(1, total // len(STREAMS) + 1, 10):
            for stream in streams:
                events = [
                    Event("tick", 1, stream, data={"n": n, "text": text_of(n)}) for n in range(version, version + 10)
                ]
                store.append_batch([Record(stream, writer, next(seqs), event) for event in events])

    def prune(store: SQLiteStore, seed: int) -> None:
        chance = random.Random(seed)
        while not done.is_set():
            stream = chance.choice(STREAMS)
            store.truncate(stream, chance.randint(1, max(1, store.head(stream) - 5)))
            store.prune(Retention(max_bytes=200_000, keep=["d"]), is_thorough=False)
            store.forget_names()
            done.wait(0.01)

    watches = [Watch(store) for store in stores]

    def read(watch: Watch, store: SQLiteStore) -> None:
        while not done.is_set():
            for stream in STREAMS:
                watch.see(store.read(stream), ordered=False, start=0)
                head = store.head(stream)
                watch.see(store.read(stream, max(1, head // 2)), ordered=False, start=max(0, head // 2 - 1))

    def read_all(watch: Watch, store: SQLiteStore) -> None:
        position = Position.START
        while not done.is_set():
            found = [event for event in store.read_all(position, limit=300) if event.stream_id in STREAMS]
            watch.see(found)
            position = found[-1].position if found else position

    def follow(watch: Watch, store: SQLiteStore) -> None:
        for event in store.follow(Position.START):
            if event.stream_id in STREAMS:
                watch.see([event])

    writers = [
        guarded(lambda: append(stores[0], STREAMS[:2], "w-1")),
        guarded(lambda: append(stores[1], STREAMS[2:], "w-2")),
    ]
    others = [
        guarded(lambda: prune(stores[0], 1)),
        guarded(lambda: prune(stores[2], 2)),
        guarded(lambda: read(watches[0], stores[0])),
        guarded(lambda: read_all(watches[1], stores[1])),
        guarded(lambda: follow(watches[2], stores[2])),
    ]
    for thread in writers:
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    last = {name: next(s.last_position for s in stores[2].streams() if s.stream_id == name) for name in ("d",)}
    deadline_s = time.monotonic() + LIMIT_S
    while watches[2]._position < last["d"] and not failures:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    done.set()
    for thread in others[:-1]:
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    assert list(stores[0].verify()) == []
    for store in stores:
        store.close()  # which ends who follows
    others[-1].join(LIMIT_S)
    assert not others[-1].is_alive()
    assert failures == []
    for watch in watches:
        assert watch.wrong == []
        assert watch.events > 0


PRUNING = """
import sys, sonde
store = sonde.SQLiteStore(sys.argv[1], mode="rw")
print("go", flush=True)
size = int(sys.argv[2])
while True:
    size = max(100_000, size * 9 // 10)
    store.prune(sonde.Retention(max_bytes=size))
"""


def killed_in_the_middle(folder: Path, rounds: int, seed: int) -> int:
    """Kill who prunes, at random moments; how many of them were in the middle of it."""
    path = folder / "e.db"
    chance = random.Random(seed)
    total = 0
    hit = 0
    for number in range(rounds):
        with SQLiteStore(path) as store:
            for name in range(4):
                stream = f"s{number}-{name}"
                store.append_batch(
                    [
                        Record(stream, f"w-{stream}", n, Event("tick", 1, stream, data={"n": n, "text": text_of(n)}))
                        for n in range(1, 1_501)
                    ]
                )
                total += 1_500
            before = store.removed()[0]
        command = [sys.executable, "-c", PRUNING, str(path), str(path.stat().st_size)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.random() * 0.4)  # where it is killed is the point
            process.kill()
        with SQLiteStore(path) as store:
            assert list(store.verify()) == []
            events = [event for event in store.read_all() if event.stream_id != "sonde.retention"]
            for stream, its in itertools.groupby(
                sorted(events, key=lambda e: (e.stream_id, e.version)), lambda e: e.stream_id
            ):
                versions = [event.version for event in its]
                assert versions == list(range(versions[0], 1_501)), stream
            noted = store.head("sonde.retention")
            assert len(events) + store.removed()[0] == total, noted
            assert all(event.data["text"] == text_of(event.version) for event in events)
            hit += store.removed()[0] > before
            assert store.prune(Retention(max_sessions=2)).is_complete  # its lock died with it
    with SQLiteStore(path) as store:
        store.prune(Retention(), sessions=[stream.stream_id for stream in store.streams()])
        with store._handle.attachment.reading() as connection:
            assert connection.execute("SELECT count(*) FROM blocks").fetchall() == [(0,)]
    return hit


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing here kills at once")
def test_a_kill_in_the_middle(tmp_path: Path) -> None:
    """The store is sound, each event is there or counted as removed, and the next prune does the rest."""
    assert killed_in_the_middle(tmp_path, 2, 7) > 0


@pytest.mark.long
def test_a_kill_in_the_middle_sixty_times(tmp_path: Path, fault_report: Callable[..., None]) -> None:
    """The same, at full length."""
    hit = killed_in_the_middle(tmp_path, 60, int.from_bytes(os.urandom(4), "big"))
    assert hit > 20
    fault_report(
        fault="kill -9 while retention removes events, at random moments",
        promised="a sound store; each event is there or counted as removed; streams lose beginnings only",
        seen=f"60 kills, {hit} with events removed by then: all sound, nothing missing",
    )
