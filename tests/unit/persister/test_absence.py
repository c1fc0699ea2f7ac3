"""Absence: what earlier gaps said is said again when their file is gone, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from sonde.events import Event, PublishedEvent
from sonde.hub import Missed
from sonde.persister import absence
from sonde.persister.absence import Absence
from sonde.store import Record, SQLiteStore


def gap(seq: int) -> PublishedEvent:
    """One that says that a session misses two events."""
    return PublishedEvent(
        "sonde.gap", 1, f"s{seq}", data={"missed": 2, "reasons": {"pending_full": 2}}, writer_id="w-recorder", seq=seq
    )


@pytest.mark.parametrize("kept", [0, 8, 20])
def test_many_gaps_are_said_again_in_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """A file that is replaced by a backup with the first ``kept`` of 20 gaps: what the others said is missing there.

    Those that were put together are there or gone together: never less is said to be missing than is.
    """
    monkeypatch.setattr(absence, "_LOSSES_KEPT", 4)
    path = tmp_path / "runs.db"
    with SQLiteStore(tmp_path / "backup.db") as backup:
        backup.append_batch([Record("s", "w-recorder", seq, Event("sonde.gap", 1)) for seq in range(1, kept + 1)])
    with SQLiteStore(path) as store:
        looking = Absence(store, session_id="mine")
        store.append("s", [Event("n", 1)])
        said: list[Missed] = []

        def gaps_for(missed: Sequence[Missed]) -> Sequence[PublishedEvent]:
            said.extend(missed)
            return []

        def look() -> None:
            looking.look("w", "w-recorder", gaps_for=gaps_for, found=lambda change, absent: None)

        look()
        for seq in range(1, 21):
            looking.noted([gap(seq)])
        assert len(looking._losses) <= 9
        (tmp_path / "backup.db").rename(path)
        look()
    number = sum(one.number for one in said)
    assert number == 2 * (20 - kept) or (kept == 8 and 2 * 12 < number <= 2 * 20)
    assert {one.reason for one in said} <= {"pending_full"}
    assert {one.session_id for one in said} <= {"mine", *(f"s{seq}" for seq in range(1, 21))}


def test_each_file_is_told_once(tmp_path: Path) -> None:
    """What was missed is said again in each new file, the same number each time; a file that comes back has said it."""
    path, first = tmp_path / "runs.db", tmp_path / "first.db"
    number = count(1).__next__

    def gaps_for(missed: Sequence[Missed]) -> Sequence[PublishedEvent]:
        return [
            PublishedEvent(
                "sonde.gap", 1, session, data={"reasons": {reason: lost}}, writer_id="w-recorder", seq=number()
            )
            for session, reason, lost in missed
        ]

    with SQLiteStore(path) as store:
        looking = Absence(store, session_id="mine")

        def write(gaps: Sequence[PublishedEvent]) -> int:
            records = [Record(gap.session_id, "w-recorder", gap.seq, gap) for gap in gaps]
            store.append_batch([*records, Record("s", "w", number(), Event("n", 1))])
            return sum(gap.data["reasons"].get("pending_full", 0) for gap in gaps)

        def step() -> int:
            gaps = looking.look("x", "w-recorder", gaps_for=gaps_for, found=lambda change, absent: None)
            said = write(gaps or ())
            looking.told()
            return said

        assert step() == 0
        lost = gaps_for([Missed("s", "pending_full", 5)])
        write(lost)
        looking.noted(lost)
        store.backup(first)
        for _ in range(3):
            path.unlink()
            assert step() == 5
        first.replace(path)
        assert step() == 0
