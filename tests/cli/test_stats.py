"""``sonde stats``: sums that can be checked by hand, of one session and of all."""

from pathlib import Path
from typing import Any

import pytest

from sonde.cli.documents import EventTypeDocument, ModelDocument, OperationKindDocument, TotalDocument

DOCUMENTS = {
    "total": TotalDocument,
    "event_type": EventTypeDocument,
    "operation": OperationKindDocument,
    "model": ModelDocument,
}


@pytest.fixture
def two(db: Path, sample: Any) -> Path:
    """Two sessions alike."""
    sample.append(db, *sample.agent_run("one"), writer_id="a")
    sample.append(db, *sample.agent_run("two", at_s=100.0), writer_id="b")
    return db


def by_record(ran: Any, record: str) -> list[dict[str, Any]]:
    return [document for document in ran.documents if document["record"] == record]


def test_documents_have_the_promised_fields(two: Path, sonde: Any) -> None:
    """--json prints the total first, then event types, operations and models, each with its documented fields."""
    documents = sonde("stats", "--json").documents
    assert documents[0]["record"] == "total"
    for document in documents:
        assert list(document) == list(DOCUMENTS[document["record"]].__struct_fields__)


def test_all_sessions_add_up(two: Path, sonde: Any) -> None:
    """Without SESSION everything in the store is in the sums."""
    ran = sonde("stats", "--json")
    (total,) = by_record(ran, "total")
    assert (total["sessions"], total["events"], total["operations"], total["failures"]) == (2, 24, 8, 2)
    assert total["missed"] == 24
    assert total["tokens"] == {"input_tokens": 2400, "output_tokens": 680}
    assert total["cost_usd"] == total["cost_reported_usd"] == 0.24
    assert total["cost_computed_usd"] is None
    (model,) = by_record(ran, "model")
    assert (model["model"], model["tokens"], model["cost_usd"]) == ("gpt-5", total["tokens"], 0.24)
    counts = {document["type"]: document["count"] for document in by_record(ran, "event_type")}
    assert counts["tool.started"] == 4
    assert sum(counts.values()) == 24


def test_one_session_alone(two: Path, sonde: Any) -> None:
    """With SESSION only that one is added up."""
    (total,) = by_record(sonde("stats", "two", "--json"), "total")
    assert (total["sessions"], total["events"]) == (1, 12)


def test_percentiles_across_sessions(db: Path, sonde: Any, sample: Any) -> None:
    """Durations are exact over all sessions together, not averages of averages."""
    for number, name in enumerate(("a", "b")):
        ends = [
            sample.ended("tool", number * 100 + n, session=name, tool="t", duration_s=float(number * 50 + n))
            for n in range(1, 51)
        ]
        sample.append(db, *ends, writer_id=name)
    (tool,) = by_record(sonde("stats", "--json"), "operation")
    assert (tool["count"], tool["timed"], tool["sum_s"]) == (100, 100, 5050.0)
    assert (tool["p50_s"], tool["p90_s"], tool["p99_s"], tool["max_s"]) == (50.0, 90.0, 99.0, 100.0)


def test_cost_by_where_it_comes_from(db: Path, sonde: Any, sample: Any) -> None:
    """Reported, computed and unknown costs stay apart, and unknown ones are hinted at on stderr."""

    def call(number: int, **data: Any) -> Any:
        return sample.ended("model", number, model="m", input_tokens=1, **data)

    sample.append(
        db, call(1, cost_usd=0.5, cost_source="reported"), call(2, cost_usd=0.25, cost_source="computed"), call(3)
    )
    ran = sonde("stats", "--json")
    (model,) = by_record(ran, "model")
    assert (model["cost_reported_usd"], model["cost_computed_usd"], model["cost_unknown_calls"]) == (0.5, 0.25, 1)
    assert "1 model call is unknown" in ran.err
    shown = sonde("stats").out
    assert "≥ $0.75" in shown
    assert "$0.50 reported, $0.25 computed, 1 call unknown" in shown


def test_tables_for_a_person(two: Path, sonde: Any) -> None:
    """The tables have counts, failures and durations by kind and name."""
    shown = sonde("stats").out
    assert shown.startswith("2 sessions · 24 events · 8 operations · 2 failed · 24 events missed\n")
    row = next(line for line in shown.splitlines() if line.startswith("tool write_file"))
    assert row.split() == ["tool", "write_file", "2", "2", "200", "ms", "200", "ms", "200", "ms", "200", "ms"]


def test_long_tables_are_cut(db: Path, sonde: Any, sample: Any) -> None:
    """Twenty rows a table, and a note of how many more there are; --full shows them."""
    sample.append(db, *(sample.ended("tool", n, tool=f"tool-{n:02}") for n in range(1, 31)))
    assert "⋯ 10 more" in sonde("stats").out
    assert "tool-30" not in sonde("stats").out
    assert "tool-30" in sonde("stats", "--full").out


def test_lines_fit_a_narrow_terminal(two: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 60 columns nothing runs over."""
    monkeypatch.setenv("COLUMNS", "60")
    assert max(len(line) for line in sonde("stats").out.splitlines()) <= 60


def test_the_original_s_tokens_count(sonde: Any, original: Any) -> None:
    """tokens.updated and cost.updated of a database of the Go original are in the sums."""
    (total,) = by_record(sonde("stats", "--json", "--db", original("telemetry.db")), "total")
    assert total["sessions"] == 2
    assert total["events"] == 380
    assert total["tokens"]["input_tokens"] > 0
    assert total["cost_usd"] > 0
