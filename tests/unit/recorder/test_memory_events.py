"""Memory events: what a process held is in its session, without a word about runs that are short and small."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import sonde
from sonde.errors import ConfigError
from sonde.events import Event, EventType
from sonde.hub import Ticker
from sonde.metrics import MemoryStats
from sonde.recorder.memory_events import MemoryEvents
from sonde.store import SQLiteStore

MEMORY = EventType.MEMORY.value
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")


@pytest.fixture
def store() -> Iterator[SQLiteStore]:
    with SQLiteStore(":memory:") as store:
        yield store


@pytest.fixture
def ticker() -> Iterator[Ticker]:
    made = Ticker("sonde-test")
    yield made
    made.stop(10)


def run(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=90, check=False
    )


def test_a_short_run_has_no_memory_event(store: SQLiteStore) -> None:
    """Nothing before the first interval, and then nothing at the end: the session is as its program wrote it."""
    with sonde.record(store=store, session_id="s"):
        pass
    assert [event.type for event in store.read("s")] == ["session.started", "session.ended"]


def test_memory_is_recorded_every_interval_and_at_the_end(store: SQLiteStore) -> None:
    """Each event has the statistics whole, the pid and why it was written; the last comes before the session's end."""
    with (
        sonde.record(store=store, session_id="s", memory_interval_s=0.01) as rec,
        rec.hub.subscribe(types=[MEMORY]) as live,
    ):
        for _ in range(3):
            assert live.get(timeout_s=30) is not None
    events = list(store.read_by_type("s", MEMORY))
    assert {event.data["reason"] for event in events[:-1]} == {"interval"}
    assert events[-1].data["reason"] == "close"
    assert [event.type for event in store.read("s")][-2:] == [MEMORY, "session.ended"]
    for event in events:
        assert event.session_id == "s"
        assert event.data["pid"] == os.getpid()
        stats = msgspec.convert(event.data, MemoryStats)
        assert stats.threads >= 1
        assert abs(event.time_ns - stats.time_ns) < 5 * 10**9
    assert rec.stats().failures == {}


@pytest.mark.parametrize("interval_s", [None, 0])
def test_memory_can_be_left_out(store: SQLiteStore, interval_s: float | None) -> None:
    """Without an interval there is no event, whatever the program takes."""
    with sonde.record(store=store, session_id="s", memory_interval_s=interval_s) as rec:
        assert not rec._ticker._actions[1:]  # that of metrics alone
    assert not list(store.read_by_type("s", MEMORY))


@pytest.mark.parametrize("interval_s", [-1, math.inf, math.nan, "30", True])
def test_an_interval_says_what_is_allowed(interval_s: Any) -> None:
    """Others are an error before anything is opened."""
    with pytest.raises(ConfigError, match=r"cannot record memory every .* 0 or more; give None to record none"):
        sonde.record(":memory:", memory_interval_s=interval_s)


@ON_LINUX
def test_growth_is_recorded_at_once(ticker: Ticker) -> None:
    """Much more resident memory than at the last event is an event at once, and one, not one at each look."""
    events: list[Event] = []
    memory = MemoryEvents(events.append, session_id="s", growth_bytes=1024**2)
    memory.start(ticker, 1000)
    memory.look()
    assert events == []
    held = b"x" * (events_rss() // 2)
    memory.look()
    memory.look()
    assert [event.data["reason"] for event in events] == ["growth"]
    memory.close()
    assert [event.data["reason"] for event in events] == ["growth", "close"]
    assert held


def events_rss() -> int:
    rss = sonde.get_memory_stats().rss
    assert rss is not None
    return rss


def test_a_publisher_that_fails_is_counted(ticker: Ticker) -> None:
    """Neither the thread nor ``close`` may fail for the sake of statistics."""

    def publish(event: Event) -> None:
        raise OSError("no way out")

    memory = MemoryEvents(publish, session_id="s")
    memory.start(ticker, 1000)
    memory._write("interval")
    memory.close()
    assert memory.failures.counts == {"memory": 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_that_had_no_event_has_no_last_one(ticker: Ticker) -> None:
    """What its parent published is not the child's beginning."""
    events: list[Event] = []
    memory = MemoryEvents(events.append, session_id="s")
    memory.start(ticker, 1000)
    memory._write("interval")
    pid = os.fork()
    if pid == 0:
        memory.close()
        os._exit(len(events))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    memory.close()
    assert [event.data["reason"] for event in events] == ["interval", "close"]


KILLED = """
import os, signal, sys, sonde
rec = sonde.record(sys.argv[1], session_id="s", memory_interval_s=0.01)
live = rec.hub.subscribe(types=["sonde.memory"])
assert live.get(timeout_s=30)
assert rec.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_survives_the_process(tmp_path: Path) -> None:
    """What a killed process held is in the store, up to its last interval."""
    path = tmp_path / "runs.db"
    assert run(KILLED, path).returncode == -signal.SIGKILL
    with SQLiteStore(path, mode="ro") as store:
        event = next(store.read_by_type("s", MEMORY))
    assert msgspec.convert(event.data, MemoryStats).peak_rss or sys.platform == "win32"


FORKING = """
import os, sys, sonde
rec = sonde.record(sys.argv[1], session_id="s", memory_interval_s=0.01)
live = rec.hub.subscribe(types=["sonde.memory"])
assert live.get(timeout_s=30)
pid = os.fork()
if pid == 0:
    live = rec.hub.subscribe(types=["sonde.memory"])
    event = live.get(timeout_s=30)
    while event and event.data["pid"] != os.getpid():
        event = live.get(timeout_s=30)
    os._exit(0 if event and rec.close() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print(pid)
assert rec.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_records_its_own(tmp_path: Path) -> None:
    """Parent and child each have events with their pid, and a last one each."""
    path = tmp_path / "runs.db"
    done = run(FORKING, path)
    assert (done.returncode, done.stderr) == (0, "")
    with SQLiteStore(path, mode="ro") as store:
        events = list(store.read_by_type("s", MEMORY))
    closing = [event.data["pid"] for event in events if event.data["reason"] == "close"]
    assert len(closing) == len({event.data["pid"] for event in events}) == 2
    assert int(done.stdout) in closing
    assert len({event.writer_id for event in events}) == 2
