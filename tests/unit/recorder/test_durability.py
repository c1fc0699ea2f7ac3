"""What record() accepts as durability, and what it makes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

import sonde
from sonde.errors import ConfigError
from sonde.events import Event
from sonde.journal import folder_of, place
from sonde.store import Durability, SQLiteStore


def test_an_unknown_durability_is_refused(tmp_path: Path) -> None:
    """Before anything is opened, in one line that says what there is."""
    with pytest.raises(ConfigError, match="'forever'; expected 'emit', 'commit' or 'power'"):
        sonde.record(tmp_path / "runs.db", durability="forever")
    assert not (tmp_path / "runs.db").exists()


def test_power_reaches_the_store_and_an_open_store_keeps_its_own(tmp_path: Path) -> None:
    """The recorder's own store syncs; of one that is open already it cannot be asked."""
    with sonde.record(tmp_path / "runs.db", durability="power") as rec:
        assert rec.durability is Durability.POWER
        assert rec.stats().durability == "power"
        assert rec.store.append("t", [Event("n")]).durability == "power"
    with SQLiteStore(tmp_path / "runs.db") as store, pytest.raises(ConfigError, match="open it with durability"):
        sonde.record(store=store, durability="power")
    with SQLiteStore(tmp_path / "runs.db", durability="power") as store, sonde.record(store=store):
        assert store.append("t", [Event("n")]).durability == "power"


def test_emit_needs_a_file() -> None:
    """A store in memory dies with the process: promising more would be a lie."""
    with pytest.raises(ConfigError, match="lies beside a file"):
        sonde.record(":memory:", durability="emit")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")
@pytest.mark.parametrize("durability", ["emit", "commit", "power"])
@pytest.mark.parametrize("journal", ["memory", "disk"])
def test_the_files_of_the_journal_are_gone_after_close(
    tmp_path: Path, journal_files: Callable[[Path], list[Path]], journal: Literal["memory", "disk"], durability: str
) -> None:
    """While it records there are a mark, words, and arenas with emit, where they belong; afterwards the store alone."""
    path = tmp_path / "runs.db"
    with sonde.record(path, durability=durability, journal=journal) as rec:
        rec.emit("n")
        files = journal_files(path)
        arenas = {".arena"} if durability == "emit" else set()
        assert {file.suffix for file in files if file.parent == tmp_path / "runs.db-journal.d"} == (
            {".mark"} if journal == "memory" else {".mark", *arenas}
        )
        assert {file.suffix for file in files if file.parent == Path(place.FOLDER)} == (
            {".words", *arenas} if journal == "memory" else set()
        )
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert bool(rec.stats().journal_bytes) == (durability == "emit")
        assert rec.stats().unjournaled == 0
    assert [file.name for file in tmp_path.iterdir()] == ["runs.db"]
    assert not any(file.exists() for file in files)


def test_an_unknown_place_for_the_journal_is_refused(tmp_path: Path) -> None:
    """Before anything is opened, in one line that says what there is."""
    with pytest.raises(ConfigError, match="cannot record with journal 'tape'; expected 'memory' or 'disk'"):
        sonde.record(tmp_path / "runs.db", durability="emit", journal="tape")  # type: ignore[arg-type]
    assert not (tmp_path / "runs.db").exists()


def test_a_folder_of_the_journal_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Recording goes on without it, every event is counted as not journaled, and a line in the log says why."""
    path = tmp_path / "runs.db"
    Path(folder_of(str(path))).write_text("a file, and no folder")
    with sonde.record(path, session_id="s", durability="emit", memory_interval_s=None) as rec:
        rec.emit("n")
        assert rec.flush()
        assert rec.stats().unjournaled == 2  # and session.started
        assert "journal" in rec.stats().failures
    assert "cannot make the mark of writer" in caplog.text
    with SQLiteStore(path, mode="ro") as store:
        assert [event.type for event in store.read("s")] == ["session.started", "n", "session.ended"]
