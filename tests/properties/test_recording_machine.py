"""Hub, persister and store together against a list per stream, whatever comes in between: locks, reopening, forks."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import sonde
from sonde.events import PublishedEvent
from sonde.hub import Subscription
from sonde.persister import FlushReport
from sonde.recorder import Recorder
from sonde.store import SQLiteStore

SESSIONS = st.sampled_from([None, "a", "b", "Ä\U0001f388"])
PATIENCE_S = 60.0

WORDS = " ".join(f"word{number}" for number in range(200))
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text("ab ä\U0001f388", max_size=8)
LARGE = st.integers(0, 3).map(lambda n: WORDS * n + str(n))
"""Repeats itself and comes again, so that it is stored in pieces."""


def cycle() -> list[Any]:
    found: list[Any] = [1]
    found.append(found)
    return found


ODD = st.sampled_from([math.nan, math.inf, b"\xff\x00", {1, 2}, 2**70, "\ud800", object(), (1, 2)]) | st.builds(cycle)


class RecordingMachine(RuleBasedStateMachine):
    """The model: per stream the numbers of all events whose emit returned, and the data of those that are plain."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sonde-test-"))
        self.path = self.folder / "runs.db"
        self.streams: dict[str, list[int]] = {}
        self.gone: dict[str, int] = {}  # versions that a truncation took
        self.data: dict[int, Any] = {}  # what must come back equal
        self.count = 0
        self.lock: apsw.Connection | None = None
        self.readers: list[tuple[Subscription, int]] = []

    def open(self, durability: str) -> None:
        self.rec: Recorder = sonde.record(
            self.path, session_id="own", durability=durability, metrics=False, memory_interval_s=None, prices=None
        )
        self.emitted = 0

    @initialize(durability=st.sampled_from(["commit", "emit", "power"]))
    def begin(self, durability: str) -> None:
        self.durability = durability
        self.open(durability)

    def given(self, session: str | None, value: Any, *, is_plain: bool) -> None:
        self.count += 1
        self.emitted += 1
        self.streams.setdefault("own" if session is None else session, []).append(self.count)
        if is_plain:
            self.data[self.count] = value
        self.rec.emit("note.taken", {"n": self.count, "value": value}, session_id=session)

    # -- what may happen -----------------------------------------------------------------------------------------------

    @rule(session=SESSIONS, values=st.lists(PLAIN | LARGE, min_size=1, max_size=6))
    def emit(self, session: str | None, values: list[Any]) -> None:
        for value in values:
            self.given(session, value, is_plain=True)

    @rule(session=SESSIONS, value=ODD)
    def emit_what_is_no_json(self, session: str | None, value: Any) -> None:
        """It comes back readable, and is not missing."""
        self.given(session, value, is_plain=False)

    @rule(fails=st.booleans())
    def use_a_tool(self, fails: bool) -> None:
        """An operation writes its own events, which the streams hold beside those of the model."""
        try:
            with self.rec.tool("look"):
                self.given(None, "inside", is_plain=True)
                if fails:
                    raise LookupError("not there")
        except LookupError:
            pass
        self.emitted += 2

    @precondition(lambda self: len(self.readers) < 3)
    @rule(size=st.integers(1, 4))
    def subscribe(self, size: int) -> None:
        """Nobody may ever read it: a slow consumer is nobody else's business."""
        self.readers.append((self.rec.hub.subscribe(types=["note.taken"], queue_size=size), 0))

    @precondition(lambda self: self.readers)
    @rule(count=st.integers(1, 9))
    def consume(self, count: int) -> None:
        """In order, and with a gap before what is missing."""
        reader, last = self.readers[0]
        for _ in range(count):
            event = reader.get(timeout_s=0)
            if event is None:
                break
            last = self.saw(event, last)
        self.readers[0] = reader, last

    def saw(self, event: PublishedEvent, last: int) -> int:
        if event.type == "sonde.gap":
            return last
        assert event.data["n"] > last
        return int(event.data["n"])

    @precondition(lambda self: self.lock is None)
    @rule()
    def lock_the_file(self) -> None:
        """Another process would do the same: no write gets through."""
        assert self.rec.flush(PATIENCE_S)
        self.lock = apsw.Connection(str(self.path))
        self.lock.set_busy_timeout(int(PATIENCE_S * 1000))
        self.lock.execute("BEGIN IMMEDIATE")

    @precondition(lambda self: self.lock is not None)
    @rule()
    def flush_in_vain(self) -> None:
        """It ends in its time, says how many wait at least, and nothing is lost."""
        stored = sum(map(len, self.stored().values()))
        report = self.rec.flush(timeout_s=0.01)
        assert report.pending >= self.count - sum(self.gone.values()) - stored
        assert not report.dropped

    @precondition(lambda self: self.lock is not None)
    @rule()
    def unlock_the_file(self) -> None:
        assert self.lock is not None
        self.lock.execute("ROLLBACK")
        self.lock.close()
        self.lock = None

    @precondition(lambda self: self.lock is None)
    @rule()
    def flush(self) -> None:
        """All that was emitted is in the store, in order, with what was emitted."""
        self.written(self.rec.flush(PATIENCE_S))
        self.compare()

    @precondition(lambda self: self.lock is None)
    @rule(stream=st.sampled_from(["a", "b"]), share=st.floats(0, 1))
    def truncate(self, stream: str, share: float) -> None:
        """A prefix goes, and the rest keeps its versions."""
        self.written(self.rec.flush(PATIENCE_S))
        head = self.rec.store.head(stream)
        if self.gone.get(stream, 0) < head:
            before = self.gone.get(stream, 0) + 1 + int(share * (head - self.gone.get(stream, 0)))
            self.rec.store.truncate(stream, before)
            self.gone[stream] = before - 1

    @precondition(lambda self: self.lock is None)
    @rule(durability=st.sampled_from(["commit", "emit"]))
    def reopen(self, durability: str) -> None:
        """The session goes on in its stream; what was written stays."""
        self.end()
        self.open(durability)
        self.readers.clear()

    @precondition(lambda self: self.lock is None and hasattr(os, "fork"))
    @rule(number=st.integers(0, 3))
    def fork(self, number: int) -> None:
        """A child records its own events, once, and none of its parent's again."""
        self.written(self.rec.flush(PATIENCE_S))  # the child's come after all that is there
        emitted = self.emitted
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for _ in range(number):
                    self.given("a", "child", is_plain=True)
                status = 0 if self.rec.close(timeout_s=PATIENCE_S) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for _ in range(number):
            self.count += 1
            self.streams.setdefault("a", []).append(self.count)
            self.data[self.count] = "child"
        self.emitted = emitted

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def ledgers_balance(self) -> None:
        """At any moment, whether quiet or not."""
        if not hasattr(self, "rec"):
            return
        stats = self.rec.hub.stats()
        assert stats.published == stats.handed_over + stats.queued + sum(stats.dropped.values())
        assert stats.published >= self.emitted
        for row in (*stats.subscriptions, *stats.recorders):
            assert row.offered == row.taken + row.queued + sum(row.dropped.values())

    def written(self, report: FlushReport) -> None:
        assert report, report
        assert not report.dropped

    def stored(self) -> dict[str, list[int]]:
        """What a reader of the file finds, by stream; versions and positions are in order."""
        found: dict[str, list[int]] = {}
        with SQLiteStore(self.path, mode="ro") as store:
            versions: dict[str, int] = {}
            last = None
            for event in store.read_all():
                assert last is None or event.position > last
                last = event.position
                version = versions.get(event.stream_id, self.gone.get(event.stream_id, 0)) + 1
                assert event.version == version
                versions[event.stream_id] = version
                if event.type == "note.taken":
                    number = event.data["n"]
                    found.setdefault(event.stream_id, []).append(number)
                    if number in self.data:
                        assert event.data == {"n": number, "value": self.data[number]}
                    else:
                        assert event.data["$replaced"]
                else:
                    assert event.type != "sonde.gap"
        return found

    def compare(self) -> None:
        for stream, numbers in self.stored().items():
            # Streams that were cut hold nothing but notes, so a version is an index.
            assert numbers == self.streams[stream][self.gone.get(stream, 0) :]
        self.whole()

    def whole(self) -> None:
        """Nothing of the model is missing but what was cut."""
        stored = {stream: len(numbers) for stream, numbers in self.stored().items()}
        expected = {stream: len(numbers) - self.gone.get(stream, 0) for stream, numbers in self.streams.items()}
        assert stored == {stream: number for stream, number in expected.items() if number}

    def end(self) -> None:
        self.written(self.rec.close(timeout_s=PATIENCE_S))
        self.compare()
        with SQLiteStore(self.path, mode="ro") as store:
            assert list(store.verify()) == []

    def teardown(self) -> None:
        try:
            if self.lock is not None:
                self.unlock_the_file()
            if hasattr(self, "rec"):
                self.end()
        finally:
            shutil.rmtree(self.folder)


# What threads do differs from run to run, so a failure is told as it was and not shrunk.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]

TestRecording = RecordingMachine.TestCase
TestRecording.settings = settings(max_examples=8, stateful_step_count=15, deadline=None, phases=PHASES)


@pytest.mark.long
@pytest.mark.timeout(900)
class TestRecordingLong(RecordingMachine.TestCase):  # type: ignore[misc, valid-type]
    """The same, longer."""

    settings = settings(max_examples=60, stateful_step_count=40, deadline=None, phases=PHASES)
