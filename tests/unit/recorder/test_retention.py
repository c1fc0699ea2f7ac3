"""A recorder with a retention holds the store to it, in the background, and says so now and then."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sonde
from sonde.errors import ConfigError
from sonde.events import Event
from sonde.query import derive_metrics, load_session
from sonde.recorder.retention import RetentionKeeper
from sonde.store import RETENTION_STREAM, EventStore, Record, Retention, SQLiteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def fill(path: Path, *names: str, events: int = 300) -> None:
    """Sessions of writers that nobody registered."""
    with SQLiteStore(path) as store:
        for name in names:
            store.append_batch(
                [Record(name, f"w-{name}", n, Event("tick", 10**18, name, data={"n": n})) for n in range(1, events + 1)]
            )


def there(path: Path) -> list[str]:
    with SQLiteStore(path) as store:
        return [stream.stream_id for stream in store.streams() if stream.first_version]


def wait_until_removed(store: EventStore, sessions: int) -> None:
    assert isinstance(store, SQLiteStore)
    deadline_s = time.monotonic() + 60
    while store.removed()[1] < sessions:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_names_go_with_the_beginning_of_a_session(path: Path) -> None:
    """A daemon that records one session for months has a new name with each task, and must not keep them all."""
    with SQLiteStore(path) as store:
        now_ns = time.time_ns()
        store.register_writer("w")
        store.append_batch(
            [
                Record("s", "w", n, Event("tick", now_ns, "s", "", f"task-{n}", data={"n": "x" * 100}))
                for n in range(1, 4_001)
            ]
        )
        keeper = RetentionKeeper(store, Retention(max_bytes=300_000))
        keeper.look()
        assert next(store.read("s")).version > 1
        with store._handle.attachment.reading() as connection:
            ((names,),) = connection.execute("SELECT count(*) FROM names WHERE name LIKE 'task-%'").fetchall()
            ((events,),) = connection.execute("SELECT count(*) FROM events WHERE data IS NOT NULL").fetchall()
        assert 1_000 <= names <= events < 4_000
        keeper.stop()


def test_it_prunes_while_it_records(path: Path) -> None:
    """Old sessions go, its own stays, nothing fails; what went is on record when it is closed, if not before."""
    fill(path, "a", "b", "c")
    with sonde.record(path, session_id="mine", retention=Retention(max_sessions=2)) as rec:
        rec.emit("note.taken", text="hello")
        wait_until_removed(rec.store, 2)
        assert rec.stats().failures == {}
    assert there(path) == ["c", "mine", RETENTION_STREAM]
    with SQLiteStore(path) as store:
        (noted,) = store.read(RETENTION_STREAM)
        assert (noted.data["events"], noted.data["sessions"], noted.data["reasons"]) == (600, 2, {"count": 600})


def test_a_program_too_short_for_a_look_takes_one_at_the_end(path: Path) -> None:
    """A store that only such programs use does not grow for ever."""
    fill(path, "a", "b", "c")
    with sonde.record(path, session_id="mine", retention=Retention(max_sessions=2)):
        pass
    assert there(path) == ["c", "mine", RETENTION_STREAM]


def test_a_store_of_the_caller_is_pruned_too(path: Path) -> None:
    """And stays open."""
    fill(path, "a", "b")
    with SQLiteStore(path) as store:
        with sonde.record(store=store, session_id="mine", retention=Retention(max_sessions=1)):
            pass
        assert [stream.stream_id for stream in store.streams() if stream.first_version] == ["mine", RETENTION_STREAM]


def test_one_event_tells_of_many_removals(path: Path) -> None:
    """One a minute, however often it prunes; the rest is told at the end."""
    names = [f"s{number}" for number in range(6)]
    fill(path, *names)
    with SQLiteStore(path) as store:
        keeper = RetentionKeeper(store, Retention(max_bytes=store.preview_prune(Retention()).bytes_before - 40_000))
        keeper.look()
        assert len(list(store.read(RETENTION_STREAM))) == 1
        for number in range(3):
            first = 1 + 2_000 * number
            store.append_batch(
                [Record(f"n{number}", "w", n, Event("tick", data={"n": n})) for n in range(first, first + 2_000)]
            )
            keeper.look()
        assert len(list(store.read(RETENTION_STREAM))) == 1
        keeper.finish()
        assert sum(event.data["events"] for event in store.read(RETENTION_STREAM)) == store.removed()[0]
        assert len(list(store.read(RETENTION_STREAM))) == 2
        assert keeper.failures.counts == {}


def test_a_store_that_cannot_be_pruned(path: Path) -> None:
    """Read only: refused when the recorder is made."""
    fill(path, "a")
    with SQLiteStore(path, mode="ro") as store, pytest.raises(ConfigError, match="prune"):
        RetentionKeeper(store, Retention(max_sessions=1))


def test_too_much_that_may_not_go(path: Path) -> None:
    """What runs is larger than all may be: it keeps its newest events, and the recorder counts and logs it."""
    with sonde.record(path, session_id="mine", retention=Retention(max_bytes=100_000)) as rec:
        for number in range(3_000):
            rec.emit("tick", n=number)
        assert rec.flush(timeout_s=60)
        deadline_s = time.monotonic() + 60
        while not rec.stats().failures.get("retention"):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
    with SQLiteStore(path) as store:
        session = load_session(store, "mine")
    assert session.summary.removed + session.summary.events == 3_002
    assert session.summary.events >= 1_000
    assert session.summary.status.value == "completed"


FORKING = """
import os, sys, sonde
path = sys.argv[1]
rec = sonde.record(path, session_id="mine", retention=sonde.Retention(max_sessions=1))
rec.emit("tick")
child = os.fork()
if child == 0:
    rec.emit("tick")
    rec.close(20)
    os._exit(0)
_, status = os.waitpid(child, 0)
rec.close(20)
sys.exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_goes_on_by_itself(path: Path) -> None:
    """Parent and child both close in time, and what was to go is gone."""
    fill(path, "a", "b")
    done = subprocess.run([sys.executable, "-c", FORKING, str(path)], check=False, timeout=60)
    assert done.returncode == 0
    assert there(path) == ["mine", RETENTION_STREAM]
    with SQLiteStore(path) as store:
        assert [event.type for event in store.read("mine")].count("tick") == 2


def test_readers_know_of_what_was_removed(path: Path) -> None:
    """A session without its beginning: counted as such, its operations and its end are there, and it is over."""
    with sonde.record(path, session_id="mine") as rec:
        with rec.tool("search", q="x"):
            for number in range(20):
                rec.emit("tick", n=number)
        with rec.tool("edit"):
            pass
    with SQLiteStore(path) as store:
        store.truncate("mine", 6)
        session = load_session(store, "mine")
        assert (session.summary.removed, session.summary.events) == (5, 26 - 5)
        assert session.summary.status.value == "completed"
        assert [(op.kind, op.status.value) for op in session.tree.operations if op.kind == "tool"] == [
            ("tool", "completed")
        ] * 2
        assert "tool_calls_total{tool_name=edit} 1" in map(str, derive_metrics(store, "mine").counters())
        assert list(store.verify()) == []
