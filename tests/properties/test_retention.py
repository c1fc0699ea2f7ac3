"""After any sequence of appends and prunes what remains reads back equal, and in the end nothing is left behind."""

from __future__ import annotations

import shutil
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sonde.events import Event, Position
from sonde.store import RETENTION_STREAM, Record, Retention, SQLiteStore
from sonde.store.forgetting import Forgetting
from sonde.store.removal import Pace
from sonde.store.retention import LEAST_BYTES

TEXTS = ["", "short", *(f"{number:06}" * 200 for number in range(6)), "line of a log\n" * 900]
STREAMS = st.sampled_from("abcdef")
NUMBERS = st.integers(0, len(TEXTS) - 1)
TABLES = ("names", "origins", "streams", "seen", "writers", "blocks", "pieces", "uses")


class RetentionMachine(RuleBasedStateMachine):
    """Sessions that are recorded, resumed, tended and pruned through two handles on one file, against lists."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sonde-test-"))
        self.stores = [SQLiteStore(self.folder / "e.db") for _ in range(2)]
        self.model: dict[str, list[tuple[int, Event]]] = {}  # what is there: version and event
        self.heads: dict[str, int] = {}
        self.places: dict[tuple[str, int], Position] = {}
        self.order: list[str] = []  # streams by their last events
        self.removed = 0
        self.seqs = count(1)
        self.generation = count(1)

    @rule(store=st.integers(0, 1), stream=STREAMS, texts=st.lists(NUMBERS, min_size=1, max_size=8))
    def append(self, store: int, stream: str, texts: list[int]) -> None:
        """One transaction; its names are new ones, as are the writer's and the task's."""
        number = next(self.generation)
        events = [
            Event(
                f"kind.{number % 7}", 1, stream, f"plan-{number}", f"task-{at}", data={"text": TEXTS[text], "n": number}
            )
            for at, text in enumerate(texts)
        ]
        records = [Record(stream, f"w-{number % 5}", next(self.seqs), event) for event in events]
        self.stores[store].append_batch(records)
        known = self.model.setdefault(stream, [])
        first = self.heads.get(stream, 0) + 1
        known.extend(enumerate(events, first))
        self.heads[stream] = first + len(events) - 1
        self.order = [name for name in self.order if name != stream] + [stream]

    @rule(store=st.integers(0, 1), left=st.integers(1, 6), keep=st.lists(STREAMS, max_size=2))
    def prune_number(self, store: int, left: int, keep: list[str]) -> None:
        """The oldest go, but for those that are kept."""
        here = [name for name in self.order if self.model[name]]
        due = max(0, len(here) - left)
        gone = [name for name in here if name not in keep][:due]
        report = self.stores[store].prune(Retention(max_sessions=left, keep=keep), is_noted=False)
        assert [removal.stream_id for removal in report.removals] == gone
        for name in gone:
            self._drop(name, self.heads[name] + 1)

    @rule(store=st.integers(0, 1), stream=STREAMS)
    def prune_session(self, store: int, stream: str) -> None:
        """One by its name."""
        self.stores[store].prune(Retention(), sessions=[stream], is_noted=False)
        self._drop(stream, self.heads.get(stream, 0) + 1)

    @rule(store=st.integers(0, 1), stream=STREAMS, share=st.floats(0, 1))
    def truncate(self, store: int, stream: str, share: float) -> None:
        """A prefix of one."""
        before = 1 + round(share * self.heads.get(stream, 0))
        self.stores[store].truncate(stream, before)
        self._drop(stream, before)

    @rule(store=st.integers(0, 1), limit=st.integers(LEAST_BYTES, 400_000))
    def prune_bytes(self, store: int, limit: int) -> None:
        """Prefixes of the oldest, one after the other."""
        here = [name for name in self.order if self.model[name]]
        report = self.stores[store].prune(Retention(max_bytes=limit), is_noted=False)
        assert [removal.stream_id for removal in report.removals] == here[: len(report.removals)]
        assert all(removal.is_whole for removal in report.removals[:-1])
        for removal in report.removals:
            self._drop(removal.stream_id, removal.to_version + 1)
        assert report.bytes_after <= limit or report.is_over

    @rule(store=st.integers(0, 1), streams=st.integers(0, 3), ranges=st.integers(0, 5))
    def forget(self, store: int, streams: int, ranges: int) -> None:
        """With a short memory: emptied streams may begin anew."""
        pace = Pace(3, least=1, most=5, wait=lambda _: None)
        attached = self.stores[store]._handle.attachment
        assert Forgetting(
            lambda: attached, living=(), pace=pace, is_stopped=bool, kept_streams=streams, kept_ranges=ranges
        ).run()
        for name in self.heads:
            if not self.model[name]:
                assert self.stores[store].head(name) in (0, self.heads[name])
                self.heads[name] = self.stores[store].head(name)

    @rule(store=st.integers(0, 1))
    def tend(self, store: int) -> None:
        """What a store does with old rows when it has a moment."""
        tending: Any = getattr(self.stores[store], "tend", None)
        for _ in range(5):
            if tending is not None:
                tending()

    def _drop(self, stream: str, before_version: int) -> None:
        known = self.model.get(stream, [])
        kept = [(version, event) for version, event in known if version >= before_version]
        self.removed += len(known) - len(kept)
        self.model[stream] = kept

    @invariant()
    def all_is_there(self) -> None:
        """Each remaining event as it was given, at its version, by any handle; places only ever rise."""
        for store in self.stores:
            for name, known in self.model.items():
                found = list(store.read(name))
                assert [(event.version, event.type, event.plan_id, event.task_id, event.data) for event in found] == [
                    (version, event.type, event.plan_id, event.task_id, event.data) for version, event in known
                ]
        last = Position.START
        for event in self.stores[0].read_all():
            assert event.position > last
            last = event.position
            assert self.places.setdefault((event.stream_id, event.seq), event.position) == event.position
        assert self.stores[0].removed()[0] == self.removed
        assert self.stores[0].health().events == sum(map(len, self.model.values()))

    def teardown(self) -> None:
        """Sound to the end; and when all is pruned, nothing is left but what never grows."""
        assert list(self.stores[1].verify()) == []
        self.stores[0].prune(Retention(), sessions=list(self.model))
        self.stores[0].prune(Retention(), sessions=[RETENTION_STREAM])
        self.stores[0].truncate(RETENTION_STREAM, 1_000_000)
        self.forget(0, 0, 0)
        with self.stores[0]._handle.attachment.reading() as connection:
            left = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in TABLES}
            left["origins"] -= connection.execute("SELECT count(*) FROM origins WHERE id <= 0").fetchall()[0][0]
            left["seen"] = connection.execute("SELECT count(DISTINCT writer) FROM seen").fetchall()[0][0]
        assert (left["blocks"], left["pieces"], left["uses"]) == (0, 0, 0)
        # The rows with the highest numbers stay, so that these are never given again, and what they name.
        assert left["names"] <= 7, left
        assert max(left["origins"], left["streams"], left["writers"]) <= 2, left
        assert left["seen"] <= 2, left
        assert list(self.stores[1].verify()) == []
        for store in self.stores:
            store.close()
        shutil.rmtree(self.folder)


TestRetention = RetentionMachine.TestCase
TestRetention.settings = settings(max_examples=12, stateful_step_count=15, phases=set(Phase) - {Phase.explain})


@pytest.mark.long
class TestRetentionLong(RetentionMachine.TestCase):
    """The same, at full length."""

    settings = settings(max_examples=300, stateful_step_count=40)
