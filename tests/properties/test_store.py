"""A store behaves as a dict of lists would, whatever is appended, retried, read, truncated and reopened in between."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sonde.errors import WrongExpectedVersionError
from sonde.events import Event, Position
from sonde.store import Record, SQLiteStore
from sonde.store.connections import transaction
from sonde.store.sealing import seal_some

STREAMS = st.sampled_from(["a", "b", "", "nul\0", "Ä\U0001f388"])
TYPES = st.sampled_from(["x.y", "y.z", "sonde.gap"])
IDS = st.sampled_from(
    [
        ("", "", ""),
        ("ab" * 16, "cd" * 8, ""),
        ("ab" * 16, "cd" * 8, "ef" * 8),
        ("ab" * 16, "", "ef" * 8),
        ("AB", "", "?"),
    ]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS
DATA = st.dictionaries(TEXTS.filter(lambda key: not key.startswith("$")), VALUES, max_size=3)
EVENTS = st.builds(
    lambda kind, time_ns, session, data, ids: Event(kind, time_ns, session, "p", "", data, *ids),
    TYPES,
    st.integers(-(2**63), 2**63 - 1),
    STREAMS,
    DATA,
    IDS,
)
SEQS = st.integers(1, 30) | st.integers(-(2**63), 2**63 - 1)
RECORDS = st.builds(Record, STREAMS, st.sampled_from(["w-1", "w-2"]), SEQS, EVENTS, st.none())


def plain(event: Event) -> Event:
    return Event(*(getattr(event, name) for name in Event.__struct_fields__))


class StoreMachine(RuleBasedStateMachine):
    """The model: per stream all events ever given, and how many are gone; the identities seen."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sonde-test-"))
        self.store = SQLiteStore(self.folder / "e.db")
        self.streams: dict[str, list[Event]] = {}
        self.gone: dict[str, int] = {}
        self.order: list[tuple[str, int]] = []
        self.known: set[tuple[str, int]] = set()
        self.last = Position.START

    @initialize()
    def start_empty(self) -> None:
        assert list(self.store.read_all()) == []

    def given(self, stream_id: str, event: Event) -> None:
        self.streams.setdefault(stream_id, []).append(event)
        self.order.append((stream_id, len(self.streams[stream_id])))

    def head(self, stream_id: str) -> int:
        return len(self.streams.get(stream_id, []))

    @rule(stream_id=STREAMS, events=st.lists(EVENTS, max_size=5), offset=st.sampled_from([None, 0, 0, 1]))
    def append(self, stream_id: str, events: list[Event], offset: int | None) -> None:
        """With the right, a wrong, or no expected version."""
        expected = None if offset is None else self.head(stream_id) + offset
        if events and offset:
            with pytest.raises(WrongExpectedVersionError):
                self.store.append(stream_id, events, expected_version=expected)
            return
        before = self.head(stream_id)
        result = self.store.append(stream_id, events, expected_version=expected)
        for event in events:
            self.given(stream_id, event)
        if events:
            assert (result.first_version, result.last_version) == (before + 1, before + len(events))
            assert result.position > self.last
            self.last = result.position

    @rule(records=st.lists(RECORDS, max_size=30))
    def append_batch(self, records: list[Record]) -> None:
        """Streams and writers mix; some identities are known, some come twice."""
        duplicates = 0
        for record in records:
            identity = (record.writer_id, record.seq)
            if identity in self.known:
                duplicates += 1
            else:
                self.known.add(identity)
                self.given(record.stream_id, record.event)
        result = self.store.append_batch(records)
        assert result.duplicates == duplicates
        if duplicates < len(records):
            assert result.position > self.last
            self.last = result.position

    @rule(stream_id=STREAMS, before=st.integers(-1, 40))
    def truncate(self, stream_id: str, before: int) -> None:
        """Removes what is below, once."""
        gone = self.gone.get(stream_id, 0)
        goal = max(gone, min(before - 1, self.head(stream_id)))
        assert self.store.truncate(stream_id, before) == goal - gone
        self.gone[stream_id] = goal

    @rule(least=st.integers(1, 12))
    def seal(self, least: int) -> None:
        """What is sealed reads, and goes, as what isn't."""
        with self.store._handle.attachment.writing("tend") as connection, transaction(connection):
            seal_some(connection, least=least)

    @rule(mode=st.sampled_from(["create", "rw"]))
    def reopen(self, mode: str) -> None:
        """Everything is in the file."""
        self.store.close()
        self.store = SQLiteStore(self.folder / "e.db", mode=mode)  # type: ignore[arg-type]

    @rule(stream_id=STREAMS, start=st.integers(-1, 30), limit=st.none() | st.integers(0, 10))
    def read(self, stream_id: str, start: int, limit: int | None) -> None:
        """From a version on, at most so many."""
        there = list(enumerate(self.streams.get(stream_id, []), 1))[self.gone.get(stream_id, 0) :]
        expected = [(version, event) for version, event in there if version >= start][:limit]
        assert [(e.version, plain(e)) for e in self.store.read(stream_id, start, limit=limit)] == expected

    @rule(stream_id=STREAMS, kind=TYPES)
    def read_by_type(self, stream_id: str, kind: str) -> None:
        """One type of one stream."""
        there = list(enumerate(self.streams.get(stream_id, []), 1))[self.gone.get(stream_id, 0) :]
        expected = [version for version, event in there if event.type == kind]
        assert [event.version for event in self.store.read_by_type(stream_id, kind)] == expected

    @rule(types=st.sets(TYPES))
    def follow(self, types: set[str]) -> None:
        """What is there, in order of commit, sifted by type."""
        expected = [
            (stream_id, version)
            for stream_id, version in self.order
            if version > self.gone.get(stream_id, 0) and self.streams[stream_id][version - 1].type in types
        ]
        followed = self.store.follow(Position.START, types=types, timeout_s=0)
        assert [(event.stream_id, event.version) for event in followed] == expected

    @invariant()
    def everything_is_there(self) -> None:
        """In order of commit, each event as it was given."""
        expected = [
            (stream_id, version, self.streams[stream_id][version - 1])
            for stream_id, version in self.order
            if version > self.gone.get(stream_id, 0)
        ]
        read = list(self.store.read_all())
        assert [(event.stream_id, event.version, plain(event)) for event in read] == expected
        assert all(one.position < other.position for one, other in itertools.pairwise(read))

    @invariant()
    def heads_are_kept(self) -> None:
        """Also of streams that retention emptied."""
        assert [(s.stream_id, s.last_version) for s in self.store.streams()] == [
            (stream_id, len(events)) for stream_id, events in self.streams.items()
        ]
        assert self.store.health().events == len(list(self.store.read_all()))

    def teardown(self) -> None:
        """At the end nothing is damaged."""
        damage = list(self.store.verify())
        self.store.close()
        shutil.rmtree(self.folder)
        assert damage == []


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=25, stateful_step_count=20, phases=set(Phase) - {Phase.explain})


@pytest.mark.long
class TestStoreLong(StoreMachine.TestCase):
    """The same, at full length."""

    settings = settings(max_examples=500, stateful_step_count=50)
