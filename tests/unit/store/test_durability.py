"""Durability: what an acknowledged append survives, and that the store says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonde.errors import ConfigError
from sonde.events import Event
from sonde.store import Durability, Record, SQLiteStore
from sonde.store import open as open_store

FULL, NORMAL = 2, 1


@pytest.mark.parametrize(("durability", "synchronous"), [("commit", NORMAL), ("power", FULL)])
def test_a_store_says_what_its_acknowledgement_survives(tmp_path: Path, durability: str, synchronous: int) -> None:
    """With ``power`` SQLite syncs each commit, on every connection, and each result says so, an empty one too."""
    with open_store(tmp_path / "runs.db", durability=durability) as store:
        assert store.append("s", [Event("n")]).durability == durability
        assert store.append_batch([Record("s", "w", 1, Event("n"))]).durability == durability
        assert store.append_batch([]).durability == durability
        assert isinstance(store, SQLiteStore)
        with store._handle.attached().writing("append to") as connection:
            assert connection.execute("PRAGMA synchronous").fetchall() == [(synchronous,)]
    with SQLiteStore(tmp_path / "runs.db") as store:
        assert store.append("s", [Event("n")]).durability is Durability.COMMIT


@pytest.mark.parametrize("durability", ["emit", "", "forever"])
def test_a_store_refuses_what_it_cannot_promise(tmp_path: Path, durability: str) -> None:
    """Only a recorder has the durability ``emit``."""
    with pytest.raises(ConfigError, match="expected 'commit' or 'power'"):
        SQLiteStore(tmp_path / "runs.db", durability=durability)
    assert not (tmp_path / "runs.db").exists()


def test_what_was_seen_of_a_writer(tmp_path: Path) -> None:
    """The numbers stored come back as ranges, those of removed events too; an unknown writer has none."""
    with SQLiteStore(tmp_path / "runs.db") as store:
        store.append_batch([Record("s", "w", seq, Event("n")) for seq in (1, 2, 3, 7)])
        store.truncate("s", 3)
        assert store.seen("w") == [(1, 3), (7, 7)]
        assert store.seen("nobody") == []
