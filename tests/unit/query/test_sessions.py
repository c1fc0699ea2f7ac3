"""Sessions: listed, found by name, and their status told from events and from who is alive."""

from collections.abc import Iterator
from typing import Any

import pytest

from sonde.clock import ManualClock
from sonde.errors import SessionNotFoundError
from sonde.events import Event
from sonde.query import Status, list_sessions, load_session, resolve_session
from sonde.store import SQLiteStore
from sonde.store.contract import Liveness, Record

S = 10**9
NOW = ManualClock(time_ns=1_000_000 * S)


class Store(SQLiteStore):
    """A store in memory whose writers are as alive as the test says."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.known: dict[str, Liveness] = {}
        self.seq = 0

    def liveness(self, writer_id: str) -> Liveness:
        return self.known.get(writer_id, Liveness.UNKNOWN)

    def put(self, stream_id: str, kind: str, at_s: float, /, *, writer_id: str = "w", **fields: Any) -> None:
        self.seq += 1
        event = Event(kind, int(at_s * S), stream_id, data=fields.pop("data", {}), **fields)
        self.append_batch([Record(stream_id, writer_id, self.seq, event)])


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as opened:
        yield opened


def status_of(store: Store, session_id: str) -> Status:
    return load_session(store, session_id, clock=NOW).summary.status


def test_a_session_of_which_a_kill_left_nothing_was_interrupted(store: Store) -> None:
    """A gap that recovery wrote is all there is, or stands behind events without a session: it did not complete."""
    killed = {"missed": 5_010, "reasons": {"killed": 5_010}, "at_most": True}
    store.put("gone", "sonde.gap", 10, data=killed, writer_id="w-1-recovery")
    store.put("unwritten", "sonde.gap", 10, data={"missed": 3, "reasons": {"not_written": 3}}, writer_id="w-2-recovery")
    store.put("loose", "tick", 10, writer_id="w-3")
    store.put("loose", "sonde.gap", 11, data=killed | {"estimated": True}, writer_id="w-3-recovery")
    store.put("whole", "tick", 10)
    store.put("whole", "sonde.gap", 11, data={"missed": 1, "reasons": {"queue_full": 1}})
    assert [status_of(store, name) for name in ("gone", "unwritten", "loose")] == ["interrupted"] * 3
    assert status_of(store, "whole") == "stale"  # nobody knows its writer
    bounds = {summary.stream_id: summary.missed_bound for summary in list_sessions(store, clock=NOW)}
    assert bounds == {"gone": "at most", "unwritten": "", "loose": "some", "whole": ""}


def test_a_session_is_summed_up(store: Store) -> None:
    """The summary has the session's facts, its counts, its usage and what the recorder missed."""
    facts = {"pid": 7, "host": "h", "argv": ["agent", "fix it"], "tags": ["nightly"]}
    store.put("fix", "session.started", 10, span_id="a" * 16, data=facts)
    store.put("fix", "tool.started", 11, span_id="b" * 16, parent_id="a" * 16, data={"tool": "t"})
    store.put("fix", "tool.failed", 12, span_id="b" * 16, parent_id="a" * 16, data={"error": "no"})
    store.put("fix", "model.completed", 13, span_id="c" * 16, data={"model": "m", "input_tokens": 5, "cost_usd": 0.5})
    store.put("fix", "sonde.gap", 14, data={"missed": 3}, writer_id="w-recorder")
    store.put("fix", "session.ended", 15, span_id="a" * 16, data={"status": "failed"})
    (summary,) = list_sessions(store, clock=NOW)
    assert (summary.session_id, summary.stream_id, summary.status) == ("fix", "fix", "failed")
    assert (summary.started_ns, summary.ended_ns, summary.duration_s) == (10 * S, 15 * S, 5.0)
    assert (summary.events, summary.operations, summary.failures, summary.missed) == (6, 2, 1, 3)
    assert summary.tokens == {"input_tokens": 5}
    assert summary.cost.usd == 0.5
    assert (summary.pid, summary.host, summary.command, summary.tags) == (7, "h", "agent 'fix it'", ["nightly"])
    assert summary.writers == ["w", "w-recorder"]


@pytest.mark.parametrize(
    ("said", "status"), [(None, "completed"), ("cancelled", "cancelled"), ("failed", "failed"), ("?", "completed")]
)
def test_an_ended_session_says_how(store: Store, said: str | None, status: str) -> None:
    """``session.ended`` names its status; without one the session completed."""
    store.put("s", "session.started", 1, span_id="a" * 16)
    store.put("s", "session.ended", 2, span_id="a" * 16, data={"status": said} if said else {})
    assert status_of(store, "s") == status


@pytest.mark.parametrize(
    ("liveness", "status"),
    [(Liveness.ALIVE, "running"), (Liveness.DEAD, "interrupted"), (Liveness.UNKNOWN, "stale")],
)
def test_an_open_session_is_what_its_writer_is(store: Store, liveness: Liveness, status: str) -> None:
    """A process that died leaves an interrupted session with interrupted operations."""
    store.known["w"] = liveness
    store.put("s", "session.started", 1, span_id="a" * 16)
    store.put("s", "tool.started", 2, span_id="b" * 16, parent_id="a" * 16)
    session = load_session(store, "s", clock=NOW)
    assert session.summary.status == status
    assert [op.status.value for op in session.tree.operations] == [status, status]
    assert session.summary.ended_ns is None


def test_another_host_s_session_runs_while_it_speaks(store: Store) -> None:
    """An unknown writer whose last event is less than a minute old is taken to be running."""
    store.put("s", "session.started", 1, span_id="a" * 16)
    store.put("s", "tool.started", NOW.time_ns() / S - 59, span_id="b" * 16)
    assert status_of(store, "s") is Status.RUNNING


def test_the_last_run_decides_unless_another_goes_on(store: Store) -> None:
    """A session that was interrupted and then finished has finished; one of two processes still running is running."""
    store.known = {"old": Liveness.DEAD, "new": Liveness.ALIVE}
    store.put("s", "session.started", 1, span_id="a" * 16, writer_id="old")
    store.put("s", "session.started", 2, span_id="b" * 16, writer_id="new")
    assert status_of(store, "s") is Status.RUNNING
    store.put("s", "session.ended", 3, span_id="b" * 16, writer_id="new")
    assert status_of(store, "s") is Status.COMPLETED
    store.known["old"] = Liveness.ALIVE
    assert status_of(store, "s") is Status.RUNNING


def test_a_nested_session_does_not_decide(store: Store) -> None:
    """A sub-agent's session span inside the session's own is an operation like others."""
    store.known["w"] = Liveness.ALIVE
    store.put("s", "session.started", 1, span_id="a" * 16)
    store.put("s", "session.started", 2, span_id="b" * 16, parent_id="a" * 16)
    store.put("s", "session.ended", 3, span_id="b" * 16, parent_id="a" * 16, data={"status": "failed"})
    assert status_of(store, "s") is Status.RUNNING


def test_a_session_of_the_original_has_no_session_events(store: Store) -> None:
    """Without session events, a stream with nothing open is completed, one with something open is stale."""
    store.put("go", "task.started", 1, task_id="t")
    assert status_of(store, "go") is Status.STALE
    store.put("go", "task.completed", 2, task_id="t")
    assert status_of(store, "go") is Status.COMPLETED
    store.known["w"] = Liveness.ALIVE
    assert status_of(store, "go") is Status.RUNNING


def test_bare_events_of_unknown_writers_have_no_end(store: Store) -> None:
    """Nothing says that events alone are a session that completed; a writer that ended in order does."""
    store.put("bare", "note.taken", 1)
    assert status_of(store, "bare") is Status.STALE
    store.known["w"] = Liveness.DEAD
    assert status_of(store, "bare") is Status.COMPLETED


def test_the_newest_come_first(store: Store) -> None:
    """The list is ordered by when the sessions began, and cut at the limit."""
    for name, at_s in (("b", 2), ("c", 3), ("a", 1)):
        store.put(name, "debug", at_s)
    assert [summary.session_id for summary in list_sessions(store, clock=NOW)] == ["c", "b", "a"]
    assert [summary.session_id for summary in list_sessions(store, 1, clock=NOW)] == ["c"]
    assert list_sessions(store, 0, clock=NOW) == []


def test_a_session_is_found_by_name_beginning_or_age(store: Store) -> None:
    """The whole id, a beginning that fits one, ``last``, ``-1`` and ``-2`` all name a session."""
    for name, at_s in (("fix-42", 1), ("fix-421", 2), ("docs", 3), ("last", 0.5)):
        store.put(name, "debug", at_s)
    found = {text: resolve_session(store, text) for text in ("fix-42", "fix-421", "do", "last", "-1", "-2", "-4")}
    assert found == {
        "fix-42": "fix-42",
        "fix-421": "fix-421",
        "do": "docs",
        "last": "last",
        "-1": "docs",
        "-2": "fix-421",
        "-4": "last",
    }


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("fxi-42", "did you mean 'fix-42'"),
        ("fi", "it fits 'fix-43', 'fix-42'; give more"),
        ("-9", "the newest are 'fix-43', 'fix-42'"),
        ("", "the newest are"),
    ],
)
def test_a_session_that_is_not_there_is_named_with_its_neighbours(store: Store, text: str, hint: str) -> None:
    """The error says what was asked for, where, and what is near."""
    store.put("fix-42", "debug", 1)
    store.put("fix-43", "debug", 2)
    with pytest.raises(SessionNotFoundError) as caught:
        load_session(store, text)
    assert hint in str(caught.value)
    assert f"cannot find session {text!r} in ':memory:'" in str(caught.value)


def test_an_empty_store_says_so(store: Store) -> None:
    """Asking for the last session of an empty store tells that it is empty."""
    with pytest.raises(SessionNotFoundError, match="the store is empty"):
        resolve_session(store, "last")
