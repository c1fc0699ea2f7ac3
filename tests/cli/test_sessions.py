"""``sonde sessions``: the list, its filters, its words, and what is said where there is nothing to list."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sonde.cli.documents import SessionDocument
from sonde.events import Event


def names(ran: Any) -> list[str]:
    return [document["session_id"] for document in ran.documents]


@pytest.fixture
def three(db: Path, sample: Any) -> Path:
    """Three sessions: ``old``, ``mid`` and ``new``."""
    for number, name in enumerate(("old", "mid", "new"), 1):
        sample.append(db, *sample.agent_run(name, at_s=100.0 * number), writer_id=f"w-{number}")
    return db


def test_the_newest_session_comes_first(three: Path, sonde: Any) -> None:
    """The session that began last is the first line."""
    assert names(sonde("sessions", "--json")) == ["new", "mid", "old"]


def test_a_document_has_the_promised_fields(recorded: Path, sonde: Any) -> None:
    """--json prints one object a session, with exactly the documented fields."""
    ran = sonde("sessions", "--json")
    (document,) = ran.documents
    assert list(document) == list(SessionDocument.__struct_fields__)
    assert ran.code == 0
    assert document["session_id"] == "fix-42"
    assert document["status"] == "completed"
    assert document["duration_s"] == 2.0
    assert (document["operations"], document["failures"], document["missed"]) == (4, 1, 12)
    assert document["tokens"] == {"input_tokens": 1200, "output_tokens": 340}
    assert document["cost_usd"] == 0.12
    assert document["tags"] == ["nightly"]
    assert document["argv"] == ["agent.py", "--fast"]
    assert document["started"] == "2026-02-11T09:30:00Z"


def test_the_table_says_what_matters(recorded: Path, sonde: Any) -> None:
    """A row has the name, the status as a word, the figures and the tags."""
    ran = sonde("sessions")
    head, row = ran.out.splitlines()
    assert head.split() == ["SESSION", "STATUS", "STARTED", "TOOK", "OPS", "FAILED", "TOKENS", "COST", "TAGS"]
    assert row.split()[:2] == ["fix-42", "completed"]
    assert row.rstrip().endswith("2.00 s    4       1    1.5k  $0.12  nightly")


def test_a_narrow_terminal_gets_the_columns_that_matter(
    three: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 60 columns no line is longer, and name, status, duration and cost are there."""
    monkeypatch.setenv("COLUMNS", "60")
    lines = sonde("sessions").out.splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert lines[0].split() == ["SESSION", "STATUS", "STARTED", "TOOK", "✗", "COST"]
    assert "new" in lines[1]
    assert "$0.12" in lines[1]


@pytest.mark.parametrize(("width", "heads"), [(30, ["SESSION"]), (40, ["SESSION", "STATUS"]), (80, [])])
def test_a_name_can_be_copied_from_a_narrow_terminal(
    db: Path, sonde: Any, sample: Any, monkeypatch: pytest.MonkeyPatch, width: int, heads: list[str]
) -> None:
    """Columns go before the name is cut: one that sonde made up is whole."""
    name = "run-20261122-143005-1f3a9c"
    sample.append(db, *sample.agent_run(name))
    monkeypatch.setenv("COLUMNS", str(width))
    lines = sonde("sessions").out.splitlines()
    assert lines[1].split()[0] == name
    assert all(len(line) <= width for line in lines)
    assert not heads or lines[0].split() == heads


def test_the_limit_says_how_many_more(three: Path, sonde: Any) -> None:
    """With --limit the rest is counted on stderr, so that stdout stays data; --all shows it."""
    ran = sonde("sessions", "--limit", "1", "--json")
    assert names(ran) == ["new"]
    assert "2 more" in ran.err
    assert len(names(sonde("sessions", "--all", "--json"))) == 3


def test_twenty_are_shown_by_default(db: Path, sonde: Any, sample: Any) -> None:
    """A long list is cut after twenty, and says so."""
    sample.append(db, *(Event("debug", 10**18 + n, f"s-{n:02}") for n in range(23)))
    ran = sonde("sessions", "--json")
    assert names(ran) == [f"s-{n:02}" for n in range(22, 2, -1)]
    assert "3 more" in ran.err


def test_filters(three: Path, sonde: Any, sample: Any) -> None:
    """--status and --tag show only what fits, and a session must have all the tags."""
    sample.append(three, Event("session.started", 10**18, "odd", data={"tags": ["a", "b"]}), writer_id="w-9")
    assert names(sonde("sessions", "--status", "stale", "--json")) == ["odd"]
    assert names(sonde("sessions", "--tag", "a", "--tag", "b", "--json")) == ["odd"]
    nothing = sonde("sessions", "--tag", "a", "--tag", "c")
    assert (nothing.code, nothing.out) == (0, "")
    assert "no session fits" in nothing.err


def test_unknown_cost_is_not_zero(db: Path, sonde: Any, sample: Any) -> None:
    """A cost nobody knows reads "unknown", one known in part "≥"; no model call at all reads "-"."""
    known = sample.ended("model", 1, session="part", model="m", input_tokens=5, cost_usd=0.5)
    unknown = sample.ended("model", 2, session="part", model="m", input_tokens=5)
    sample.append(db, known, unknown, writer_id="a")
    sample.append(db, sample.ended("model", 3, session="none", model="m", input_tokens=5), writer_id="b")
    sample.append(db, sample.ended("tool", 4, session="idle", tool="t"), writer_id="c")
    rows = {line.split()[0]: line for line in sonde("sessions").out.splitlines()}
    assert "≥ $0.50" in rows["part"]
    assert "unknown" in rows["none"]
    assert "$" not in rows["idle"]
    documents = {document["session_id"]: document for document in sonde("sessions", "--json").documents}
    assert (documents["part"]["cost_usd"], documents["part"]["cost_unknown_calls"]) == (0.5, 1)
    assert documents["none"]["cost_usd"] is None


def test_a_dead_process_shows_as_interrupted(killed: Path, sonde: Any) -> None:
    """A session whose process was killed is interrupted, not running."""
    assert [document["status"] for document in sonde("sessions", "--json").documents] == ["interrupted"]


def test_a_live_process_shows_as_running(living: Path, sonde: Any) -> None:
    """A session whose process lives is running, although it is silent."""
    assert [document["status"] for document in sonde("sessions", "--json").documents] == ["running"]


def test_a_name_cannot_steer_the_terminal(db: Path, sonde: Any, sample: Any) -> None:
    """Escape sequences in a session's name and tags are shown, not obeyed."""
    sample.append(db, Event("session.started", 10**18, "evil\x1b[2J\nname", data={"tags": ["\x1b]0;title\x07"]}))
    shown = sonde("sessions").out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "evil\\x1b[2J" in shown
    assert len(shown.splitlines()) == 2


# -- where there is no store --------------------------------------------------


def test_nothing_recorded_yet_says_how_to_begin(sonde: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a default file the message names demo and run, and the exit code is that of a missing file."""
    monkeypatch.delenv("SONDE_DB")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    ran = sonde("sessions")
    assert (ran.code, ran.out) == (3, "")
    assert "nothing is recorded yet" in ran.err
    assert "sonde demo" in ran.err
    assert "sonde run -- CMD" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_missing_file_is_named(sonde: Any, tmp_path: Path) -> None:
    """A --db that doesn't exist is named, with the way to make it; nothing is created."""
    ran = sonde("sessions", "--db", tmp_path / "nope.db")
    assert ran.code == 3
    assert "nope.db" in ran.err
    assert "--db" in ran.err
    assert not (tmp_path / "nope.db").exists()


def test_a_file_that_is_no_database(sonde: Any, db: Path) -> None:
    """Any other file is refused in one line, with exit code 2."""
    db.write_text("hello " * 500)
    ran = sonde("sessions")
    assert ran.code == 2
    assert "no SQLite database" in ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_database_of_a_newer_sonde(sonde: Any, recorded: Path) -> None:
    """A newer schema is refused, with both versions and the remedy."""
    with closing(sqlite3.connect(recorded)) as connection:
        connection.execute("PRAGMA user_version = 99")
    ran = sonde("sessions")
    assert ran.code == 2
    assert "schema 99" in ran.err
    assert "upgrade sonde" in ran.err


def test_a_file_without_permission(sonde: Any, open_folder: Path, sample: Any) -> None:
    """A file that the user may not read is refused, with the remedy."""
    path = open_folder / "private.db"
    sample.append(path, *sample.agent_run())
    with sample.as_nobody():
        ran = sonde("sessions", "--db", path)
    assert ran.code == 2
    assert "no permission" in ran.err
    assert "mode" in ran.err


def test_reading_changes_nothing(recorded: Path, sonde: Any) -> None:
    """A command that reads leaves the folder as it found it: same files, same bytes."""
    before = {path.name: path.read_bytes() for path in recorded.parent.iterdir()}
    assert sonde("sessions").code == 0
    assert sonde("show", "last").code == 0
    assert sonde("tail").code == 0
    assert {path.name: path.read_bytes() for path in recorded.parent.iterdir()} == before
