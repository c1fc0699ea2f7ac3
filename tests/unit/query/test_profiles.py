"""A session's profile is put together from its events, whatever became of some of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

import sonde
from sonde.errors import SessionNotFoundError
from sonde.events import Event, EventType
from sonde.profiling import LOST_STACK, ChunkWriter, Frame, Profile, Sample, ValueType, labels_of
from sonde.query import load_profile, read_profile
from sonde.store import Record, SQLiteStore

NS = 1_000_000_000
TYPES = (ValueType("samples", "count"), ValueType("wall", "nanoseconds"))
BEGAN_NS = 1_770_000_000 * NS


def bucket(
    writer: ChunkWriter, number: int, *, session: str = "s", of: str = "s", kind: tuple[ValueType, ...] = TYPES
) -> Event:
    """The event of the ``number``-th ten seconds: as many samples in grep, one in the model call of a task."""
    at_ns = BEGAN_NS + number * 10 * NS
    grep = Sample(
        (Frame("search", "grep.py", 9), Frame("main", "agent.py", 3)),
        (number + 1, (number + 1) * NS),
        labels_of({"session": of, "tool": "grep", "operation": "tool grep", "task": "t-1"}),
    )
    model = Sample(
        (Frame("post", "http.py", 40), Frame("main", "agent.py", 5)),
        (1, NS),
        labels_of({"session": of, "tool": "none", "operation": "model gpt-x", "task": "t-2"}),
    )
    profile = Profile(
        sample_types=kind,
        samples=(grep, model),
        time_ns=at_ns,
        duration_ns=10 * NS,
        period=50_000_000,
        period_type=kind[1],
    )
    return Event(EventType.PROFILE.value, at_ns + 10 * NS, session, data=writer.write(profile, max_bytes=50_000))


@pytest.fixture
def store() -> Iterator[SQLiteStore]:
    with SQLiteStore(":memory:") as made:
        yield made


def fill(store: SQLiteStore, events: list[Event], *, writer_id: str = "w") -> None:
    store.append_batch([Record(event.session_id, writer_id, seq, event) for seq, event in enumerate(events, 1)])


def test_all_events_of_a_session_are_one_profile(store: SQLiteStore) -> None:
    """Samples add up, stacks come back whole, time and rate are those of the whole."""
    writer = ChunkWriter()
    fill(store, [bucket(writer, number) for number in range(6)])
    profile = read_profile(store, "s")
    assert profile.total("samples") == 1 + 2 + 3 + 4 + 5 + 6 + 6
    assert profile.total("wall", tool="grep") == 21 * NS
    assert {one.stack[0].function for one in profile.samples} == {"search", "post"}
    assert len(profile.samples) == 2
    assert (profile.time_ns, profile.duration_ns, profile.period) == (BEGAN_NS, 60 * NS, 50_000_000)
    assert read_profile(store.read("s")) == profile == read_profile(store, "last")


def test_labels_and_time_choose_samples(store: SQLiteStore) -> None:
    """Tool, operation and task must all fit; a time keeps the events that reach into it, with all their stacks."""
    writer = ChunkWriter()
    fill(store, [bucket(writer, number) for number in range(6)])
    assert read_profile(store, "s", tool="grep").total("samples") == 21
    assert read_profile(store, "s", operation="model gpt-x").total("samples") == 6
    assert read_profile(store, "s", tool="grep", task="t-2").samples == ()
    middle = read_profile(store, "s", tool="grep", since_ns=BEGAN_NS + 25 * NS, until_ns=BEGAN_NS + 35 * NS)
    assert middle.total("samples") == 3 + 4
    assert middle.samples[0].stack[0].function == "search"  # defined in an event that is left out


def test_retention_of_a_prefix_costs_at_most_five_minutes_of_stacks(store: SQLiteStore) -> None:
    """Definitions that were cut off make stacks unreadable until they are stated again; labels and values stay."""
    writer = ChunkWriter()
    fill(store, [bucket(writer, number) for number in range(61)])  # ten minutes
    store.truncate("s", before_version=6)
    found = load_profile(store, "s")
    unread = [one for one in found.profile.samples if LOST_STACK in one.stack]
    assert found.profile.total("samples", tool="grep") == sum(range(6, 62))
    lost = sum(one.values[0] for one in unread)
    assert found.lost == lost == sum(range(6, 31)) + 25  # of the first five minutes; none of what follows
    whole = read_profile(store, "s", since_ns=BEGAN_NS + 305 * NS)
    assert all(LOST_STACK not in one.stack for one in whole.samples)


def test_several_writers_add_up(store: SQLiteStore) -> None:
    """Each process defines its own stacks; numbers of one do not mean those of another."""
    for name in ("w-1", "w-2"):
        writer = ChunkWriter()
        fill(store, [bucket(writer, number) for number in range(3)], writer_id=name)
    profile = read_profile(store, "s")
    assert profile.total("samples", tool="grep") == 2 * (1 + 2 + 3)
    assert profile.duration_ns == 60 * NS


def test_a_session_inside_another_ones_program_is_found_there(store: SQLiteStore) -> None:
    """A recorder samples all of its program: what it saw of another session is that session's profile."""
    writer = ChunkWriter()
    fill(store, [bucket(writer, 0), bucket(writer, 1, of="inner"), Event("note.taken", BEGAN_NS, "inner")])
    assert read_profile(store, "inner").total("samples") == 2 + 1
    assert read_profile(store, "s").total("samples") == 1 + 1 + 2 + 1
    assert read_profile(store).total("samples") == 5


def test_what_cannot_be_read_is_left_out_counted_and_logged(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad event, or one of another kind of profile, does not hide the others."""
    writer = ChunkWriter()
    other = (ValueType("samples", "count"), ValueType("cpu", "nanoseconds"))
    bad = Event(EventType.PROFILE.value, BEGAN_NS, "s", data={"rows": "nonsense"})
    fill(store, [bucket(writer, 0), bad, bucket(writer, 1, kind=other), bucket(writer, 2)])
    with caplog.at_level(logging.WARNING, "sonde"):
        found = load_profile(store, "s")
    assert (found.events, found.unreadable) == (2, 2)
    assert found.profile.total("samples", tool="grep") == 1 + 3
    assert "left out 2 profile events" in caplog.text


def test_nothing_recorded_is_an_empty_profile(store: SQLiteStore) -> None:
    """No profile is no error; no such session is one."""
    with sonde.record(store=store, session_id="quiet"):
        pass
    found = load_profile(store, "quiet")
    assert (found.profile.samples, found.events) == ((), 0)
    assert found.profile.total("samples") == 0
    with pytest.raises(SessionNotFoundError, match="nobody"):
        read_profile(store, "nobody")
