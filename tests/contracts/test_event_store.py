"""What every event store promises, run unchanged on each of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sonde.errors import StoreClosedError, WrongExpectedVersionError
from sonde.events import Event, EventType, Position
from sonde.store import Durability, EventStore, Liveness, Record, SQLiteStore
from sonde.store import open as open_store

SPAN = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7")

StoreFactory = Callable[[Path], EventStore]
FACTORIES: dict[str, StoreFactory] = {
    "sqlite-file": lambda folder: SQLiteStore(folder / "events.db"),
    "sqlite-memory": lambda folder: SQLiteStore(":memory:"),
}


@pytest.fixture(params=FACTORIES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    made = FACTORIES[request.param](tmp_path)
    yield made
    made.close()


def numbered(count: int, *, kind: str = "test.done", start: int = 1) -> list[Event]:
    return [Event(kind, number, data={"n": number}) for number in range(start, start + count)]


def record(stream_id: str, seq: int, *, writer_id: str = "w-1", kind: str = "test.done") -> Record:
    return Record(stream_id, writer_id, seq, Event(kind, seq, data={"seq": seq}))


def test_what_is_written_is_read_back(store: EventStore) -> None:
    """Every field of an event survives, and the store adds stream, version, position and writer."""
    event = Event(EventType.TOOL_COMPLETED, 1_770_802_200_630_343_314, "s", "p", "t", {"a": [1, None, "é"]}, *SPAN)
    store.append("stream", [event])
    (read,) = store.read("stream")
    assert Event(*(getattr(read, name) for name in Event.__struct_fields__)) == event
    assert (read.stream_id, read.version) == ("stream", 1)
    assert read.writer_id
    assert read.seq == 1
    assert read.position > Position.START


@pytest.mark.parametrize(
    "ids",
    [
        SPAN,
        (SPAN[0], SPAN[1], ""),
        (SPAN[0], "", ""),
        ("", SPAN[1], ""),
        (SPAN[0].upper(), SPAN[1], ""),
        ("not hex", "7", "\u00e9"),
        ("zz" * 16, "00" * 8, ""),
        ("", "", "x"),
    ],
)
def test_ids_of_any_form_survive(store: EventStore, ids: tuple[str, str, str]) -> None:
    """Ids that aren't W3C's are kept as they are."""
    store.append("s", [Event("a.b", 1, "", "", "", {}, *ids)])
    (read,) = store.read("s")
    assert (read.trace_id, read.span_id, read.parent_id) == ids


def test_versions_count_from_one_in_each_stream(store: EventStore) -> None:
    """Versions are contiguous per stream; positions grow over all streams."""
    store.append("a", numbered(3))
    store.append("b", numbered(2))
    store.append("a", numbered(2))
    assert [event.version for event in store.read("a")] == [1, 2, 3, 4, 5]
    assert [event.version for event in store.read("b")] == [1, 2]
    positions = [event.position for event in store.read_all()]
    assert positions == sorted(set(positions))


def test_append_says_what_it_gave(store: EventStore) -> None:
    """The result names versions, position and durability."""
    store.append("s", numbered(2))
    result = store.append("s", numbered(3))
    assert (result.first_version, result.last_version, result.duplicates) == (3, 5, 0)
    assert result.durability is Durability.COMMIT
    assert result.position == list(store.read("s"))[-1].position


def test_append_of_nothing_changes_nothing(store: EventStore) -> None:
    """An empty list is no event and makes no stream."""
    assert store.append("s", []).last_version == 0
    assert store.append_batch([]).position == Position.START
    assert store.streams() == []


def test_expected_version_guards_a_stream(store: EventStore) -> None:
    """A stream at another version refuses, writes nothing and names both versions."""
    store.append("s", numbered(1), expected_version=0)
    with pytest.raises(WrongExpectedVersionError, match=r"version 1, expected 0"):
        store.append("s", numbered(1), expected_version=0)
    with pytest.raises(WrongExpectedVersionError, match=r"version 0, expected 4"):
        store.append("other", numbered(1), expected_version=4)
    store.append("s", numbered(1), expected_version=1)
    assert store.head("s") == 2
    assert store.head("other") == 0


def test_batches_mix_streams(store: EventStore) -> None:
    """One batch may write to many streams, in its order."""
    store.append_batch([record("a", 1), record("b", 2), record("a", 3)])
    assert [(e.stream_id, e.version, e.seq) for e in store.read_all()] == [("a", 1, 1), ("b", 1, 2), ("a", 2, 3)]


def test_known_identities_are_skipped(store: EventStore) -> None:
    """A record that the store has is counted as a duplicate, in a later batch and within one."""
    batch = [record("s", seq) for seq in (1, 2, 3)]
    assert store.append_batch(batch).duplicates == 0
    again = store.append_batch([*batch, record("s", 4), record("s", 4)])
    assert (again.duplicates, again.first_version, again.last_version) == (4, 4, 4)
    assert [event.seq for event in store.read("s")] == [1, 2, 3, 4]
    nothing = store.append_batch(batch)
    assert (nothing.first_version, nothing.last_version, nothing.position, nothing.duplicates) == (
        0, 0, Position.START, 3,
    )  # fmt: skip


def test_identities_are_per_writer_and_out_of_order(store: EventStore) -> None:
    """Threads interleave: later numbers may come first, with holes, and another writer's are others."""
    store.append_batch([record("s", seq) for seq in (9, 2, 5)])
    store.append_batch([record("s", 5, writer_id="w-2")])
    result = store.append_batch([record("s", seq) for seq in (1, 2, 3, 4, 5, 9, 10)])
    assert result.duplicates == 3
    assert [e.seq for e in store.read("s") if e.writer_id == "w-1"] == [9, 2, 5, 1, 3, 4, 10]


def test_scattered_identities_stay_cheap(store: EventStore) -> None:
    """Numbers in no order, as imports give them, cost a look-up each, and not a walk over all that was ever seen."""
    numbers = random.Random(7).sample(range(1, 2**62), 20_000)
    batches = [[record("s", seq) for seq in numbers[start : start + 500]] for start in range(0, len(numbers), 500)]
    for batch in batches:
        store.append_batch(batch)
    # Walking would take 40 x 20,000 x 500 steps, some minutes: the suite's time limit fails it.
    assert [store.append_batch(batch).duplicates for batch in batches] == [500] * len(batches)
    assert store.head("s") == len(numbers)


@pytest.mark.parametrize("from_version", [-1, 0, 1])
def test_read_from_the_beginning(store: EventStore, from_version: int) -> None:
    """Version 0 and below mean everything."""
    store.append("s", numbered(3))
    assert [event.version for event in store.read("s", from_version)] == [1, 2, 3]


def test_read_from_a_version_with_a_limit(store: EventStore) -> None:
    """``from_version`` is inclusive, ``limit`` a maximum, across pages too."""
    store.append("s", numbered(1_500))
    assert [event.version for event in store.read("s", 1_400)] == list(range(1_400, 1_501))
    assert [event.version for event in store.read("s", 3, limit=2)] == [3, 4]
    assert sum(1 for _ in store.read("s", limit=1_234)) == 1_234
    assert list(store.read("s", limit=0)) == []
    assert list(store.read("s", 1_501)) == []


def test_an_unknown_stream_is_empty(store: EventStore) -> None:
    """Reading what isn't there yields nothing."""
    assert list(store.read("nope")) == []
    assert list(store.read_by_type("nope", "a.b")) == []
    assert store.head("nope") == 0


def test_read_by_type(store: EventStore) -> None:
    """Only that type, in order of version, over many pages; enum members and strings mean the same."""
    for _ in range(3):
        store.append("s", numbered(4_000, kind="noise.made"))
        store.append("s", [Event(EventType.TOOL_FAILED, 1)])
    assert [event.version for event in store.read_by_type("s", "tool.failed")] == [4_001, 8_002, 12_003]
    assert sum(1 for _ in store.read_by_type("s", EventType.TOOL_FAILED)) == 3
    assert list(store.read_by_type("s", "never.seen")) == []


def test_read_all_after_a_position(store: EventStore) -> None:
    """A position is exclusive; types filter; a limit bounds."""
    store.append("a", numbered(3, kind="x.y"))
    store.append("b", numbered(700, kind="y.z"))
    store.append("a", numbered(3, kind="x.y"))
    everything = list(store.read_all())
    assert len(everything) == 706
    assert list(store.read_all(everything[4].position)) == everything[5:]
    assert list(store.read_all(Position.parse(str(everything[4].position)), limit=2)) == everything[5:7]
    assert [e.version for e in store.read_all(types=["x.y"])] == [1, 2, 3, 4, 5, 6]
    assert [e.version for e in store.read_all(types=iter(["x.y", "q.q"]), limit=4)] == [1, 2, 3, 4]
    assert list(store.read_all(everything[-1].position)) == []


def test_reading_is_lazy(store: EventStore) -> None:
    """What is appended while a reader is on its way is read; nothing is held for it."""
    store.append("s", numbered(1_000))
    reader = store.read("s")
    assert next(reader).version == 1
    store.append("s", numbered(1))
    assert [event.version for event in reader] == list(range(2, 1_002))


def test_streams_in_the_order_of_their_making(store: EventStore) -> None:
    """Each with versions, times and last position."""
    store.append("b", [Event("a.b", 20), Event("a.b", 10)])
    store.append("a", [Event("a.b", 30)])
    last_of_b = store.append("b", [Event("a.b", 40)]).position
    b, a = store.streams()
    assert (b.stream_id, b.first_version, b.last_version) == ("b", 1, 3)
    assert (b.first_time_ns, b.last_time_ns, b.last_position) == (20, 40, last_of_b)
    assert (a.stream_id, a.last_version) == ("a", 1)


def test_truncate_removes_a_prefix_for_good(store: EventStore) -> None:
    """Versions and positions go on where they were; the stream says where it begins."""
    store.append("s", numbered(10))
    kept = list(store.read("s"))[4:]
    assert store.truncate("s", 5) == 4
    assert store.truncate("s", 5) == 0
    assert list(store.read("s")) == kept
    assert store.streams()[0].first_version == 5
    assert store.append("s", numbered(1)).first_version == 11


def test_truncate_of_everything_keeps_the_head(store: EventStore) -> None:
    """Neither a version nor a position is ever given again."""
    last = store.append("s", numbered(10)).position
    assert store.truncate("s", 1_000) == 10
    assert store.head("s") == 10
    assert list(store.read_all()) == []
    (info,) = store.streams()
    assert (info.first_version, info.last_version) == (0, 10)
    result = store.append("s", numbered(1), expected_version=10)
    assert result.first_version == 11
    assert result.position > last


def test_truncated_identities_stay_known(store: EventStore) -> None:
    """What retention removed does not come back by a retry."""
    store.append_batch([record("s", 1), record("s", 2)])
    store.truncate("s", 3)
    assert store.append_batch([record("s", 1), record("s", 3)]).duplicates == 1


def test_truncate_spares_others(store: EventStore) -> None:
    """Other streams and unknown ones are left alone."""
    store.append("a", numbered(3))
    store.append("b", numbered(3))
    store.truncate("a", 3)
    assert store.truncate("nope", 3) == 0
    assert [event.version for event in store.read("b")] == [1, 2, 3]
    first = next(store.read_all())
    assert (first.stream_id, first.version) == ("a", 3)


def test_data_that_json_cannot_carry_is_marked(store: EventStore) -> None:
    """A direct append never fails on its data: what is replaced is named."""
    store.append("s", [Event("a.b", 1, data={"bad": float("nan"), "good": 1})])
    (read,) = store.read("s")
    assert read.data["good"] == 1
    assert "/bad" in read.data["$replaced"]


def test_encoded_data_is_taken_as_it_is(store: EventStore) -> None:
    """Whoever encoded the data already isn't made to pay twice."""
    store.append_batch([Record("s", "w", 1, Event("a.b", 1, data={"ignored": 1}), b'{"kept":2}')])
    assert next(store.read("s")).data == {"kept": 2}


@pytest.mark.parametrize(
    "name", ["", "nul\0inside", "\0", "line\nbreak", "emoji \U0001f388", "'; DROP TABLE events; --"]
)
def test_names_of_any_kind_survive(store: EventStore, name: str) -> None:
    """Streams, types, sessions, plans, tasks and writers are plain text to the store."""
    store.append_batch([Record(name, name, 1, Event(name, 1, name, name, name))])
    (read,) = store.read(name)
    assert {read.stream_id, read.writer_id, read.type, read.session_id, read.plan_id, read.task_id} == {name}
    assert [event.version for event in store.read_by_type(name, name)] == [1]
    assert len(list(store.read_all(types=[name]))) == 1


def test_names_with_lone_surrogates_are_escaped(store: EventStore) -> None:
    """A text that no encoding can carry becomes readable rather than an error, and the batch is written."""
    odd = "a\ud800b"
    store.append_batch([record("s", 1), Record(odd, "w", 1, Event(odd, 1, odd, odd, odd, {}, odd, odd, odd))])
    read = list(store.read_all())[1]
    assert {read.stream_id, read.type, read.session_id, read.task_id, read.trace_id} == {"a\\ud800b"}


@pytest.mark.parametrize("time_ns", [0, -1, 2**63 - 1, -(2**63)])
def test_times_of_64_bits_survive(store: EventStore, time_ns: int) -> None:
    """Times before 1970 and far away are stored as they are."""
    store.append("s", [Event("a.b", time_ns)])
    assert next(store.read("s")).time_ns == time_ns


def test_a_time_past_64_bits_is_cut(store: EventStore) -> None:
    """One odd event must not block its batch."""
    store.append("s", [Event("a.b", 2**80), Event("a.b", 1)])
    assert [event.time_ns for event in store.read("s")] == [2**63 - 1, 1]


def test_large_batches_and_large_events(store: EventStore) -> None:
    """Thousands of events in one transaction, megabytes in one event."""
    store.append_batch([record("s", seq) for seq in range(1, 5_001)])
    store.append("s", [Event("a.b", 1, data={"text": "x" * 2_000_000})])
    assert store.head("s") == 5_001
    assert len(next(store.read("s", 5_001)).data["text"]) == 2_000_000


def test_follow_from_the_beginning(store: EventStore) -> None:
    """``Position.START`` gives what is there, then ends once nothing has come for the timeout."""
    store.append("s", numbered(1_200))
    assert [e.version for e in store.follow(Position.START, timeout_s=0.05)] == list(range(1, 1_201))


def test_follow_from_now_on(store: EventStore) -> None:
    """``None`` skips what was there when ``follow`` was called, not when it was first asked."""
    store.append("s", numbered(3))
    following = store.follow(timeout_s=0.05)
    store.append("s", numbered(2))
    assert [event.version for event in following] == [4, 5]


def test_follow_filters(store: EventStore) -> None:
    """By type and by stream, and what is filtered out is passed for good."""
    store.append("a", [Event("x.y", 1), Event("y.z", 1)])
    store.append("b", [Event("x.y", 1)])
    followed = store.follow(Position.START, types=["x.y"], stream_id="b", timeout_s=0.05)
    assert [(e.stream_id, e.type) for e in followed] == [("b", "x.y")]


def test_follow_sees_what_another_thread_appends(store: EventStore) -> None:
    """Each event exactly once, in order, while it is written."""
    seen: list[int] = []

    def watch() -> None:
        for event in store.follow(Position.START, timeout_s=20):
            seen.append(event.version)
            if event.version == 500:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(50):
        store.append("s", numbered(10))
    watcher.join(20)
    assert seen == list(range(1, 501))


def test_follow_ends_when_the_store_closes(store: EventStore) -> None:
    """A waiting follower of another thread is let go, promptly and without an error."""
    store.append("s", numbered(1))
    started = threading.Event()
    ended: list[bool] = []

    def watch() -> None:
        for _ in store.follow(Position.START):
            started.set()
        ended.append(True)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert started.wait(10)
    store.close()
    watcher.join(10)
    assert ended == [True]


def test_close_is_final_and_idempotent(store: EventStore) -> None:
    """Every later call says that the store was closed; an iterator in flight ends."""
    store.append("s", numbered(2_000))
    reader = store.read("s")
    next(reader)
    store.close()
    store.close()
    assert sum(1 for _ in reader) < 2_000
    calls: list[Callable[[], object]] = [
        lambda: store.append("s", numbered(1)),
        lambda: store.append_batch([record("s", 1)]),
        lambda: store.read("s"),
        lambda: store.read_by_type("s", "a.b"),
        store.read_all,
        store.follow,
        store.streams,
        lambda: store.head("s"),
        lambda: store.truncate("s", 1),
        lambda: store.register_writer("w"),
        lambda: store.release_writer("w"),
        lambda: store.liveness("w"),
        store.health,
    ]
    for call in calls:
        with pytest.raises(StoreClosedError, match="open it again"):
            call()


def test_writers_live_until_released(store: EventStore) -> None:
    """A writer that never registered is unknown, a registered one alive, a released one ended."""
    assert store.liveness("w") is Liveness.UNKNOWN
    store.register_writer("w")
    store.register_writer("w")
    assert store.liveness("w") is Liveness.ALIVE
    store.release_writer("w")
    store.release_writer("w")
    store.release_writer("never registered")
    assert store.liveness("w") is Liveness.DEAD
    store.register_writer("w")
    assert store.liveness("w") is Liveness.ALIVE


def test_health_counts(store: EventStore) -> None:
    """Figures: how many events there are now, and of which engine."""
    store.append("a", numbered(5))
    store.append("b", numbered(5))
    store.truncate("a", 3)
    health = store.health()
    assert health.ok
    assert (health.url, health.events) == (store.url, 8)
    assert health.engine


def test_a_store_opens_again(tmp_path: Path) -> None:
    """``url`` is what the opener takes; what was written is there, and goes on."""
    with SQLiteStore(tmp_path / "events.db") as first:
        first.append("s", numbered(3))
        first.append_batch([record("s", 7)])
        url = first.url
    second = open_store(url)
    assert second.append_batch([record("s", 7)]).duplicates == 1
    assert second.append("s", numbered(1)).first_version == 5
    second.close()


def said(turns: int, *, start: int = 0) -> dict[str, object]:
    """A prompt of so many messages, some of them short, some with what JSON escapes."""
    chance = random.Random(start)
    texts = [chance.randbytes(chance.randrange(0, 900)).hex() + 'she said "no"\n\u00e4' for _ in range(turns)]
    return {"messages": [{"role": "user", "content": text} for text in texts], "model": "m"}


def test_large_and_repeated_data_is_read_back(store: EventStore) -> None:
    """A context that is resent, in streams that share it, through each way of reading."""
    given = [Event("model.started", turns, data=said(turns)) for turns in range(1, 60, 4)]
    store.append("s", given)
    for event in given:
        store.append("t", [event, Event("b.c", 1, data={"text": "x" * 700})])
    assert [event.data for event in store.read("s")] == [event.data for event in given]
    assert [event.data for event in store.read("s", 5, limit=3)] == [event.data for event in given[4:7]]
    assert [event.data for event in store.read_by_type("t", "model.started")] == [event.data for event in given]
    assert [event.data for event in store.read_all(types=["model.started"])] == [event.data for event in given] * 2
    followed = store.follow(Position.START, stream_id="s", timeout_s=0)
    assert [event.data for event in followed] == [event.data for event in given]


@pytest.mark.parametrize("size", [510, 511, 512, 513, 4_096, 4_097, 70_000, 1_000_000])
def test_data_of_any_size_is_read_back(store: EventStore, size: int) -> None:
    """A text that doesn't repeat, around the sizes where a store may change how it keeps it."""
    text = random.Random(size).randbytes(size // 2).hex() + "x" * (size % 2)
    store.append("s", [Event("a.b", 1, data={"text": text, "list": [text, [text]]})])
    assert [event.data for event in store.read("s")] == [{"text": text, "list": [text, [text]]}]


def test_known_identities_with_large_data_are_skipped(store: EventStore) -> None:
    """A retry adds nothing, whatever its size."""
    records = [Record("s", "w-1", seq, Event("a.b", seq, data=said(seq))) for seq in range(1, 30)]
    store.append_batch(records[:20])
    assert store.append_batch(records).duplicates == 20
    assert [event.data for event in store.read("s")] == [record.event.data for record in records]


def test_truncation_keeps_what_others_share(store: EventStore) -> None:
    """Data that remains is whole, though what it shares came with events that are gone."""
    for turns in range(1, 41):
        store.append("s", [Event("a.b", turns, data=said(turns))])
    store.append("t", [Event("a.b", 1, data=said(30))])
    assert store.truncate("s", 40) == 39
    assert [event.data for event in store.read_all()] == [said(40), said(30)]
    assert store.truncate("s", 41) == 1
    assert [event.data for event in store.read("t")] == [said(30)]
    store.append("s", [Event("a.b", 1, data=said(41))])
    assert [event.data for event in store.read("s")] == [said(41)]
