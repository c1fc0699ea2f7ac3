"""Retention: what goes, what stays, and that nothing is renumbered, lost without record, or kept for ever."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sonde.errors import ConfigError
from sonde.events import Event, Position
from sonde.store import RETENTION_STREAM, PruneReport, Record, Removal, Retention, SQLiteStore
from sonde.store.account import KEPT_NOTES
from sonde.store.connections import transaction
from sonde.store.file_lock import FileLock
from sonde.store.forgetting import Forgetting
from sonde.store.removal import Pace
from sonde.store.retention import LEAST_BYTES
from sonde.store.shelving import shelve_some

NS = 1_000_000_000
DAY_S = 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path) as opened:
        yield opened


def record(
    store: SQLiteStore, name: str, *, events: int = 3, age_s: float = 0.0, writer: str = "", chars: int = 10
) -> None:
    """A session of so many events, the last of which says that it ended."""
    at_ns = time.time_ns() - int(age_s * NS)
    types = ["session.started", *["tick"] * (events - 2), "session.ended"]
    store.append_batch(
        [
            Record(name, writer or f"w-{name}", number, Event(kind, at_ns, name, data={"t": f"{name}{number}" * chars}))
            for number, kind in enumerate(types, 1)
        ]
    )


def there(store: SQLiteStore) -> list[str]:
    """The sessions that hold events."""
    return [
        stream.stream_id for stream in store.streams() if stream.first_version and stream.stream_id != RETENTION_STREAM
    ]


def rows(store: SQLiteStore, table: str) -> int:
    with store._handle.attachment.reading() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def forget(store: SQLiteStore, **kept: int) -> None:
    """Forget with a shorter memory than stores have."""
    pace = Pace(500, least=500, most=500, wait=lambda _: None)
    looking = Forgetting(lambda: store._handle.attachment, living=(), pace=pace, is_stopped=lambda: False, **kept)
    assert looking.run()


@pytest.mark.parametrize(
    "limits",
    [
        {"max_age_s": 0},
        {"max_age_s": float("nan")},
        {"max_bytes": 1.5},
        {"max_bytes": -1},
        {"max_sessions": 0},
        {"max_sessions": True},
        {"max_age_s": "30d"},
        {"keep": "golden"},
    ],
)
def test_limits_that_cannot_be_meant(limits: dict[str, Any]) -> None:
    """A limit of nothing would remove all; one string is not a list of names."""
    with pytest.raises(ConfigError, match=str(next(iter(limits)))):
        Retention(**limits)


def test_a_size_below_that_of_an_empty_file_is_refused(store: SQLiteStore) -> None:
    """All events would go for it, and it could not be kept; the least that is taken can be."""
    with pytest.raises(ConfigError, match=r"max_bytes=99,999: all of them would go; expected 100,000 or more"):
        Retention(max_bytes=LEAST_BYTES - 1)
    assert store.preview_prune(Retention(max_bytes=LEAST_BYTES)).bytes_before < LEAST_BYTES * 0.9
    record(store, "a", events=2_000)
    assert not store.prune(Retention(max_bytes=LEAST_BYTES)).is_over


def test_age_takes_whole_sessions(store: SQLiteStore) -> None:
    """By their last events; what has no time has no age; what is to be kept stays."""
    record(store, "old", age_s=31 * DAY_S)
    record(store, "kept", age_s=40 * DAY_S)
    record(store, "new", age_s=29 * DAY_S)
    store.append("timeless", [Event("tick", 0)])
    report = store.prune(Retention(max_age_s=30 * DAY_S, keep=["kept"]))
    assert there(store) == ["kept", "new", "timeless"]
    assert report.removals == [Removal("old", 1, 3, True, "age")]
    assert (report.events, report.sessions, report.is_complete, report.is_over) == (3, 1, True, False)


def test_a_session_that_went_on_is_as_old_as_its_last_event(store: SQLiteStore) -> None:
    """One recent event keeps all that came before it."""
    record(store, "long", age_s=31 * DAY_S)
    store.append("long", [Event("tick", time.time_ns(), "long")])
    assert store.prune(Retention(max_age_s=30 * DAY_S)).events == 0
    assert next(store.read("long")).version == 1


def test_number_takes_the_oldest(store: SQLiteStore) -> None:
    """By the order in which their last events were committed; those that are kept count, too."""
    for name in ("a", "b", "c", "d"):
        record(store, name, age_s={"a": 1, "b": 9, "c": 5, "d": 7}[name])
    store.append("a", [Event("tick", 1, "a")])
    assert store.prune(Retention(max_sessions=2, keep=["c"])).sessions == 2
    assert there(store) == ["a", "c"]


def test_bytes_take_as_much_as_must(store: SQLiteStore, path: Path) -> None:
    """The oldest session first, of the last one only a part; the file is smaller afterwards, on disk."""
    for number in range(10):
        record(store, f"s{number}", events=400, chars=20)
    store.prune(Retention(max_sessions=10))
    before = path.stat().st_size
    limit = before // 2
    report = store.prune(Retention(max_bytes=limit))
    assert report.bytes_before > limit >= report.bytes_after
    assert [removal.stream_id for removal in report.removals] == [
        f"s{number}" for number in range(len(report.removals))
    ]
    assert [removal.is_whole for removal in report.removals[:-1]] == [True] * (len(report.removals) - 1)
    assert {removal.reason for removal in report.removals} == {"bytes"}
    assert path.stat().st_size <= limit
    assert report.bytes_after > limit * 0.7
    assert list(store.verify()) == []


def test_what_runs_stays(store: SQLiteStore) -> None:
    """Age and number do not touch a session whose writer lives, although another of its writer's has ended and goes."""
    store.register_writer("w")
    record(store, "ended", age_s=9, writer="w")
    store.append_batch([Record("runs", "w", 10, Event("tick", time.time_ns() - 9 * NS, "runs"))])
    store.append_batch([Record("unnamed", "w", 11, Event("tick", time.time_ns() - 9 * NS, "other"))])
    for retention in (Retention(max_age_s=5), Retention(max_sessions=1)):
        report = store.prune(retention, sessions=["runs"])
        assert report.running[0] == "runs"
        assert {"runs", "unnamed"} <= set(there(store))
    assert "ended" not in there(store)
    store.release_writer("w")
    assert store.prune(Retention(max_age_s=5)).sessions == 2


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_session_that_begins_again_runs_again(store: SQLiteStore, *, is_sealed: bool) -> None:
    """What is remembered of its end holds until it goes on, whether its rows are sealed or not."""
    store.register_writer("w")
    record(store, "again", age_s=9, writer="w", events=200)
    record(store, "last", age_s=9, writer="v")
    while is_sealed and store.tend(is_ending=True):
        pass
    spared = Retention(max_sessions=1, keep=["again"])
    assert store.prune(spared).running == store.prune(spared).running == []
    store.append_batch([Record("again", "w", 300, Event("tick", time.time_ns() - 9 * NS, "again"))])
    assert store.prune(Retention(max_age_s=5)).running == ["again"]
    store.append_batch([Record("again", "w", 301, Event("session.ended", time.time_ns() - 9 * NS, "again"))])
    assert store.prune(Retention(max_age_s=5)).running == []
    assert there(store) == []


def test_looking_for_what_runs_keeps_nothing_in_memory(store: SQLiteStore) -> None:
    """A look a second must not fill caches with what nobody reads: no rows, and no large data."""
    for number in range(20):
        store.register_writer(f"w-s{number}")
        record(store, f"s{number}", events=200, chars=200)
    while store.tend(is_ending=True):
        pass
    assert store.prune(Retention(max_sessions=15)).sessions == 5
    reader = store._handle.attachment.own_reader("test")
    assert (reader._decoding._contents.blocks_read, reader._stretches._recent.size_bytes) == (0, 0)


def test_what_runs_loses_its_beginning_to_bytes(store: SQLiteStore) -> None:
    """When nothing else is left; its newest 1,000 events stay, and the report says that the file is still too large."""
    store.register_writer("w")
    now_ns = time.time_ns()
    store.append_batch([Record("runs", "w", n, Event("tick", now_ns, "runs", data={"n": n})) for n in range(1, 4_001)])
    record(store, "ended")
    report = store.prune(Retention(max_bytes=LEAST_BYTES))
    assert there(store) == ["runs"]
    assert report.is_over
    assert [event.version for event in store.read("runs", 1)] == list(range(3_001, 4_001))
    assert [removal.is_whole for removal in report.removals] == [True, False]


def test_by_name(store: SQLiteStore) -> None:
    """Only what is named."""
    for name in ("a", "b", "c"):
        record(store, name)
    assert store.prune(Retention(), sessions=["b"]).removals == [Removal("b", 1, 3, True, "session")]
    assert there(store) == ["a", "c"]


def test_it_is_on_record(store: SQLiteStore) -> None:
    """An event says what went and why; the store counts all that ever went; nothing went, nothing is said."""
    record(store, "a")
    record(store, "b")
    assert store.prune(Retention(max_sessions=2)).events == 0
    assert list(store.read(RETENTION_STREAM)) == []
    store.prune(Retention(max_sessions=1))
    (event,) = store.read(RETENTION_STREAM)
    assert event.type == "sonde.retention"
    assert event.data["removed"] == [
        {"stream_id": "a", "from_version": 1, "to_version": 3, "is_whole": True, "reason": "count"}
    ]
    assert (event.data["events"], event.data["sessions"], event.data["reasons"]) == (3, 1, {"count": 3})
    assert store.removed() == (3, 1)


def test_the_record_does_not_grow_for_ever() -> None:
    """Its newest events stay, and it is no session that retention counts."""
    with SQLiteStore(":memory:") as store:
        report = PruneReport([Removal("x", 1, 1, True, "age")])
        for _ in range(KEPT_NOTES * 12 // 10):
            store.note_prune(report)
        kept = list(store.read(RETENTION_STREAM))
        assert len(kept) == KEPT_NOTES
        assert kept[-1].version == KEPT_NOTES * 12 // 10
        assert store.prune(Retention(max_sessions=1, max_age_s=1)).events == 0


def test_nothing_is_renumbered(store: SQLiteStore) -> None:
    """Positions and versions go on, a place that somebody kept is still a place, reading below begins at the first."""
    for name in ("a", "b", "c"):
        record(store, name, events=10)
    places = {event.position: event for event in store.read_all()}
    store.truncate("b", 5)
    store.prune(Retention(max_sessions=2))
    assert [event.version for event in store.read("b", from_version=2)] == [5, 6, 7, 8, 9, 10]
    for place in (Position.START, *places):
        later = [event for event in store.read_all(after=place) if event.stream_id != RETENTION_STREAM]
        assert later == [event for position, event in places.items() if position > place and event in later]
    store.prune(Retention(), sessions=["b", "c"])
    result = store.append("a", [Event("tick", 1, "a")])
    assert result.first_version == 11
    assert result.position > max(places)


def test_a_preview_changes_nothing(store: SQLiteStore) -> None:
    """It names the sessions that then go, and estimates the bytes to a half at least."""
    for number in range(8):
        record(store, f"s{number}", events=300, age_s=100 - 10 * number, chars=100 if number % 2 else 5)
    everything = list(store.read_all())
    retention = Retention(max_age_s=65, max_sessions=5)
    preview = store.preview_prune(retention)
    assert list(store.read_all()) == everything
    report = store.prune(retention)
    assert [(one.stream_id, one.reason) for one in preview.removals] == [
        (one.stream_id, one.reason) for one in report.removals
    ]
    freed, estimated = (one.bytes_before - one.bytes_after for one in (report, preview))
    assert freed / 2 < estimated < freed * 2


@pytest.mark.parametrize("is_shelved", [False, True])
def test_a_preview_counts_what_goes_with_the_last_that_names_it(store: SQLiteStore, *, is_shelved: bool) -> None:
    """Contexts that are resent each turn refer to pieces that no event names: they count, on shelves and off them."""
    said = random.Random(7)
    for name in ("a", "b", "c", "d"):
        context: list[dict[str, str]] = []
        for turn in range(60):
            context.append({"role": "user", "content": said.randbytes(200).hex()})
            store.append(name, [Event("chat", turn + 1, name, data={"messages": context[-30:]})])
    if is_shelved:
        with store._handle.attachment.writing("tend") as connection, transaction(connection):
            after = 0
            while (until := shelve_some(connection, after, least=1)) > after:
                after = until
    preview = store.preview_prune(Retention(), sessions=["a", "b", "c"])
    report = store.prune(Retention(), sessions=["a", "b", "c"])
    freed, estimated = (one.bytes_before - one.bytes_after for one in (report, preview))
    assert freed * 0.75 < estimated < freed * 1.35


def test_a_shelf_is_packed_anew_once(store: SQLiteStore) -> None:
    """Its blocks go together, in few transactions: packing a shelf takes longer than all else."""
    said = random.Random(7)
    context: list[dict[str, str]] = []
    for turn in range(120):
        context.append({"role": "user", "content": said.randbytes(200).hex()})
        store.append("a", [Event("chat", turn + 1, "a", data={"messages": context[-30:]})])
    with store._handle.attachment.writing("tend") as connection, transaction(connection):
        blocks = connection.execute("SELECT count(*) FROM blocks").fetchall()[0][0]
        after = 0
        while (until := shelve_some(connection, after, least=1)) > after:
            after = until
        shelves = connection.execute("SELECT count(*) FROM blocks").fetchall()[0][0]
    assert 1 < shelves < blocks / 10
    store.prune(Retention(), sessions=["a"])
    with store._handle.attachment.reading() as connection:
        steps = connection.execute("SELECT collections FROM retention").fetchall()[0][0]
        assert connection.execute("SELECT count(*) FROM blocks").fetchall()[0][0] == 0
    assert steps <= 4 * shelves


def test_a_preview_counts_what_sessions_share_once(store: SQLiteStore) -> None:
    """Data that a session which stays has too is no gain, and with the last session that has it all of it is."""
    texts = [random.Random(turn).randbytes(3_000).hex() for turn in range(100)]
    for name in ("a", "b"):
        store.append(name, [Event("chat", 1, name, data={"text": text}) for text in texts])
    one, both = (store.preview_prune(Retention(), sessions=sessions) for sessions in (["a"], ["a", "b"]))
    assert one.bytes_before - one.bytes_after < 50_000
    assert [removal.size_bytes > 300_000 for removal in both.removals] == [False, True]


def test_a_preview_by_bytes(store: SQLiteStore) -> None:
    """It comes to about as many events."""
    for number in range(10):
        record(store, f"s{number}", events=400, chars=8)
    limit = store.preview_prune(Retention()).bytes_before // 2
    preview = store.preview_prune(Retention(max_bytes=limit))
    report = store.prune(Retention(max_bytes=limit))
    assert report.events / 2 < preview.events < report.events * 2
    assert preview.bytes_after <= limit


def test_one_at_a_time(store: SQLiteStore, path: Path) -> None:
    """Who finds another process at it leaves it to that one, and nothing stays beside the store afterwards."""
    record(store, "a")
    other = FileLock(f"{path}-prune")
    assert other.acquire(time.monotonic())
    report = store.prune(Retention(), sessions=["a"])
    assert (report.events, report.is_complete) == (0, False)
    other.release()
    other.forget()
    assert store.prune(Retention(), sessions=["a"]).events == 3
    assert f"{path.name}-prune" not in os.listdir(path.parent)


def test_it_can_be_stopped(store: SQLiteStore) -> None:
    """Between two transactions; what went by then is said, and the next prune does the rest."""
    record(store, "a", events=3_000)
    stop = threading.Event()
    report = store.prune(Retention(), sessions=["a"], stop=stop, progress=lambda done, of: stop.set())
    assert not report.is_complete
    assert 0 < report.events < 3_000
    assert next(store.read("a")).version == report.events + 1
    assert list(store.verify()) == []
    assert store.prune(Retention(), sessions=["a"]).events == 3_000 - report.events


def test_names_go_when_nothing_names_them(store: SQLiteStore) -> None:
    """Names, origins, numbers and streams of vanished sessions leave nothing behind; what is there stays right."""
    for number in range(50):
        record(store, f"s{number}", writer=f"w{number}")
    store.append("s49", [Event(f"type.{number}", 1, "s49", f"plan-{number}") for number in range(50)])
    sizes = {table: rows(store, table) for table in ("names", "origins", "streams", "seen")}
    store.prune(Retention(max_sessions=1))
    forget(store, kept_streams=0, kept_ranges=0)
    left = list(store.read("s49"))
    assert [event.type for event in left[3:]] == [f"type.{number}" for number in range(50)]
    assert [event.plan_id for event in left[3:]] == [f"plan-{number}" for number in range(50)]
    assert rows(store, "streams") == 2
    store.prune(Retention(), sessions=["s49"])
    forget(store, kept_streams=0, kept_ranges=0)
    after = {table: rows(store, table) for table in sizes}
    assert max(after.values()) < 10, after
    assert list(store.verify()) == []


def test_what_vanished_is_remembered_for_a_while(store: SQLiteStore) -> None:
    """The newest streams and writers: versions go on, and what was removed is not taken in again."""
    for number in range(5):
        record(store, f"s{number}", writer=f"w{number}")
    store.prune(Retention(), sessions=[f"s{number}" for number in range(5)])
    forget(store, kept_streams=3, kept_ranges=2)
    assert [store.head(f"s{number}") for number in range(5)] == [0, 0, 3, 3, 3]
    assert [store.seen(f"w{number}") for number in range(5)] == [[], [], [], [(1, 3)], [(1, 3)]]


def test_a_living_writer_is_never_forgotten(store: SQLiteStore) -> None:
    """Although nothing is left of what it wrote."""
    store.register_writer("w")
    record(store, "s", writer="w")
    for number in range(3):
        record(store, f"later{number}")
    store.prune(Retention(max_sessions=1))
    assert store.forget_names()
    assert store.seen("w") == [(1, 3)]


def test_other_handles_learn_of_it(store: SQLiteStore, path: Path) -> None:
    """What a writer remembers of names that are gone it asks for again: its events say what they said."""
    with SQLiteStore(path) as other:
        record(other, "s", writer="w")
        other.append_batch([Record("s", "w", 9, Event("rare.type", 1, "s", "plan", "task"))])
        store.prune(Retention(), sessions=["s"])
        record(store, "later")
        forget(store, kept_streams=0, kept_ranges=0)
        record(store, "reused", writer="new")
        other.append_batch([Record("s", "w", 10, Event("rare.type", 1, "s", "plan", "task"))])
        (event,) = other.read("s", 5) if other.head("s") > 1 else other.read("s")
    assert (event.type, event.session_id, event.plan_id, event.task_id) == ("rare.type", "s", "plan", "task")
    assert event.writer_id == "w"
    assert list(store.verify()) == []


def test_contents_go_with_the_last_event_that_names_them(store: SQLiteStore, path: Path) -> None:
    """Large data that two sessions share stays until both are gone."""
    text = os.urandom(30_000).hex()
    for name in ("a", "b"):
        store.append(name, [Event("note.taken", 1, name, data={"text": text})])
    store.prune(Retention(), sessions=["a"])
    assert next(store.read("b")).data == {"text": text}
    store.prune(Retention(), sessions=["b"])
    assert [rows(store, table) for table in ("blocks", "pieces", "uses")] == [0, 0, 0]
    assert path.stat().st_size < 150_000
