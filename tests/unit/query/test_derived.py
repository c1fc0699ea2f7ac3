"""Metrics derived from a store: for processes that are gone, for one session or for all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import sonde
from sonde.cli.demonstration import API_KEY, ScriptedModel, make_repository, work
from sonde.clock import ManualClock
from sonde.errors import SessionNotFoundError
from sonde.events import Event
from sonde.query import derive_metrics
from sonde.store import Record, SQLiteStore
from sonde.store.contract import Liveness

S = 10**9
NOW = ManualClock(time_ns=1_000 * S)


def test_the_demo_gives_the_same_metrics_live_and_from_its_file(tmp_path: Path) -> None:
    """A real agent's run: each family and series, values, buckets and percentiles, after close and from the file."""
    path = tmp_path / "demo.db"
    folder = tmp_path / "repository"
    folder.mkdir()
    make_repository(folder)
    with sonde.record(path, session_id="demo") as rec:
        work(rec, ScriptedModel(is_fast=True), folder, environment={**os.environ, "PAYMENT_API_KEY": API_KEY})
    with SQLiteStore(path, mode="ro") as store:
        rebuilt = derive_metrics(store, "demo")
        assert derive_metrics(store).export() == rebuilt.export()
    live = rec.registry
    assert rebuilt.export() == live.export()
    assert rebuilt.snapshot(clock=NOW).series == live.snapshot(clock=NOW).series
    assert [family[:3] for family in rebuilt.families()] == [family[:3] for family in live.families()]
    names = {family.name for family in live.families()}
    assert {"tool_calls_total", "tool_duration_seconds", "model_tokens_total", "active_sessions"} <= names
    assert {"gen_ai_client_token_usage", "gen_ai_client_operation_duration_seconds"} <= names
    assert rebuilt.gauge("active_sessions").get() == 0


class Store(SQLiteStore):
    """A store in memory whose writers are as alive as the test says."""

    def __init__(self, known: dict[str, Liveness]) -> None:
        super().__init__(":memory:")
        self._known = known

    def liveness(self, writer_id: str) -> Liveness:
        return self._known.get(writer_id, Liveness.UNKNOWN)


@pytest.mark.parametrize(
    ("liveness", "began_s", "active"),
    [
        (Liveness.ALIVE, 1, 1),
        (Liveness.DEAD, 990, 0),
        (Liveness.UNKNOWN, 990, 1),  # on another host, and it said something lately
        (Liveness.UNKNOWN, 1, 0),
    ],
)
def test_a_session_whose_process_died_is_not_active(liveness: Liveness, began_s: int, active: int) -> None:
    """What no process will end any more does not count; its other figures do."""
    with Store({"w": liveness}) as store:
        events = [
            Event("session.started", began_s * S, "s", span_id="a" * 16),
            Event("tool.completed", began_s * S, "s", data={"tool": "t"}),
        ]
        store.append_batch([Record("s", "w", number, event) for number, event in enumerate(events, 1)])
        registry = derive_metrics(store, clock=NOW)
    assert registry.gauge("active_sessions").get() == active
    assert registry.counter("tool_calls_total", {"tool_name": "t"}).get() == 1


def test_a_session_is_named_as_elsewhere() -> None:
    """By its id, by its beginning, by its age; one that is not there is an error, an empty store is no events."""
    with SQLiteStore(":memory:") as store:
        assert derive_metrics(store).families() == []
        for session_id in ("fix-1", "other-2"):
            with sonde.record(store=store, session_id=session_id) as rec, rec.tool(session_id):
                pass
        for text in ("fix-1", "fix", "-2"):
            assert [one.labels["tool_name"] for one in derive_metrics(store, text).counters()] == ["fix-1"]
        assert len(derive_metrics(store).counters()) == 2
        with pytest.raises(SessionNotFoundError, match="cannot find session 'nowhere'"):
            derive_metrics(store, "nowhere")
