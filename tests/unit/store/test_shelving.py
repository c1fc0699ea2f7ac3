"""Shelves: what becomes of the row when blocks on it go."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sonde.events import Event
from sonde.store import SQLiteStore


def text(number: int) -> str:
    return random.Random(number).randbytes(2000).hex()


@pytest.mark.parametrize("gone", ["first", "middle", "last"])
def test_blocks_that_go_leave_the_rest_of_their_shelf(tmp_path: Path, gone: str) -> None:
    """Whichever block of a shelf goes, that of the row's number included: the others are read, and all is sound."""
    with SQLiteStore(tmp_path / "runs.db") as store:
        for number in range(9):
            stream = {0: "first", 4: "middle", 8: "last"}.get(number, "kept")
            store.append(stream, [Event("n", data={"n": number, "text": text(number)})])
        while store.tend(is_ending=True):
            pass
        assert store.truncate(gone, 2) == 1
        assert list(store.verify()) == []
        kept = [event.data for event in store.read("kept")]
        assert kept == [{"n": number, "text": text(number)} for number in (1, 2, 3, 5, 6, 7)]
        store.append("kept", [Event("n", data={"n": 9, "text": text(9)})])
        for stream in ("first", "middle", "last", "kept"):
            store.truncate(stream, 99)
        assert list(store.verify()) == []
    with SQLiteStore(tmp_path / "runs.db") as store:
        assert list(store.read_all()) == []
