"""Inspection: what the real sonde finds on a disk whose power went, held against the ledger of what it was told."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import apsw

import sonde
from sonde.events import EventType, RecordedEvent
from sonde.journal import folder_of
from sonde.store import SQLiteStore

PAGE_BYTES = 4096


class Found(NamedTuple):
    """What is in a store: its events in order, and each stream's last version."""

    events: list[RecordedEvent]
    heads: dict[str, int]


class Loss(NamedTuple):
    """What had been acknowledged and is not there."""

    commits: int = 0
    events: int = 0
    removals: int = 0


def lay_out(content: dict[str, bytes | None], root: Path, rng: random.Random) -> None:
    """Put what a cut left into a folder. Half of the time the log's shared memory is there, too, as garbage."""
    root.mkdir()
    for path, data in content.items():
        if data is None:
            (root / path).mkdir()
            continue
        (root / path).write_bytes(data)
        if path.endswith("-wal") and rng.random() < 0.5:
            (root / path.replace("-wal", "-shm")).write_bytes(rng.randbytes(32_768))


def lay_out_leavings(ledger: Any, at: int, db: Path, rng: random.Random) -> Any:
    """Put the journal's files beside the store, as some moment before the cut had them; that one, if its mark is whole.

    They are mapped files, which nobody syncs: each page may be as it was at any time, or zero, and a file may be gone.
    """
    past = [leavings for leavings in ledger.leavings if leavings.at <= at and leavings.files]
    if not past or not db.parent.is_dir() or rng.random() < 0.15:
        return None
    chosen = past[-1] if rng.random() < 0.6 else rng.choice(past)
    folder = Path(folder_of(str(db)))
    folder.mkdir(mode=0o700, exist_ok=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    fate = rng.choice(["whole", "whole", "whole", "gone", "empty", "zeros", "garbage"])
    for name, content in chosen.files.items():
        if name.endswith(".mark"):
            ruins = {"empty": b"", "zeros": bytes(len(content)), "garbage": rng.randbytes(len(content))}
            if fate != "gone":
                (folder / name).write_bytes(
                    ruins.get(fate, content.replace(boot, b"0" * len(boot)))
                )  # it is another one
        elif rng.random() < 0.9:
            (folder / name).write_bytes(_mixed(name, content, past, rng) if rng.random() < 0.5 else content)
    return chosen if fate == "whole" else None


def _mixed(name: str, content: bytes, past: list[Any], rng: random.Random) -> bytes:
    states = [leavings.files[name] for leavings in past if len(leavings.files.get(name, b"")) == len(content)]
    starts = range(0, len(content), PAGE_BYTES)
    return b"".join(rng.choice([*states, bytes(len(content))])[start : start + PAGE_BYTES] for start in starts)


def inspect(db: Path, *, mode: str = "create") -> Found:
    """What is there, opened as sonde opens it. Nothing is damaged."""
    try:
        store = SQLiteStore(db, mode=mode)
    except sonde.StoreNotFoundError:
        return Found([], {})  # no file, or an empty one
    with store:
        damage = list(store.verify())
        assert not damage, damage
        return Found(list(store.read_all()), {info.stream_id: info.last_version for info in store.streams()})


def check_integrity(db: Path) -> None:
    """What SQLite says, asked by nobody of ours."""
    connection = apsw.Connection(str(db))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def check_prefix(found: Found, ledger: Any, at: int, data_of: Any) -> None:
    """What is there is what all writers together had committed up to some moment: no hole, no half, nothing else.

    Events, their order, their positions and their content; and what retention had removed by then, but no more.
    """
    first = dict.fromkeys(found.heads, 1)
    for event in found.events:
        place = (event.stream_id, event.version)
        assert (event.writer_id, event.seq, event.position.value) == ledger.written[place], place
        if event.writer_id in ("first", "second"):
            assert event.data == data_of(event.writer_id, event.seq), place
    for stream, head in found.heads.items():
        versions = [event.version for event in found.events if event.stream_id == stream]
        first[stream] = versions[0]
        assert versions == list(range(versions[0], head + 1)), stream
        removed = [one.first_version for one in ledger.removals if one.stream == stream and one.begun_at <= at]
        assert versions[0] <= max((1, *removed)), stream
    there = [one.position for place, one in ledger.written.items() if place.version <= found.heads.get(place.stream, 0)]
    missing = [
        one.position for place, one in ledger.written.items() if place.version > found.heads.get(place.stream, 0)
    ]
    assert max(there, default=0) < min(missing, default=1 << 62), "something is there that came after what is missing"
    for commit in ledger.commits:
        assert len({_is_there(place, found) for place in commit.places}) == 1, f"half a transaction: {commit}"
    numbers = [event.data["i"] for event in found.events if event.stream_id == "recorder" and event.type == "n"]
    assert numbers == list(range(len(numbers)))


def loss(found: Found, ledger: Any, by: int) -> Loss:
    """What had been acknowledged by a time and is not there, after :func:`check_prefix`."""
    commits = [one for one in ledger.commits if one.acknowledged_at <= by and not _is_there(one.places[0], found)]
    events = sum(len(one.places) for one in commits)
    flushed = max((number for when, number in ledger.flushed if when <= by), default=0)
    stored = sum(1 for event in found.events if event.stream_id == "recorder" and event.type == "n")
    first = {event.stream_id: event.version for event in reversed(found.events)}
    removals = [
        one for one in ledger.removals if one.acknowledged_at <= by and first.get(one.stream, 0) < one.first_version
    ]
    return Loss(len(commits) + (flushed > stored), events + max(0, flushed - stored), len(removals))


def _is_there(place: Any, found: Found) -> bool:
    return bool(place.version <= found.heads.get(place.stream, 0))


def go_on(db: Path, before: Found) -> list[RecordedEvent]:
    """Record on: it works, changes nothing that is there, and takes nothing in twice. What is there then."""
    with sonde.record(db, session_id="next", metrics=False, memory_interval_s=None, profile=False) as rec:
        rec.emit("after.cut", number=1)
        assert rec.flush(60)
    after = inspect(db).events
    assert after[: len(before.events)] == before.events
    own = [event.type for event in after if event.stream_id == "next"]
    assert own == ["session.started", "after.cut", "session.ended"]
    identities = [(event.writer_id, event.seq) for event in after]
    assert len(identities) == len(set(identities))
    check_integrity(db)
    return after


def check_gap(after: list[RecordedEvent], ledger: Any, leavings: Any, db: Path) -> None:
    """What the copy of the numbers in a whole mark said is on record, as an estimate: never many too many."""
    gaps = [event.data for event in after if event.type == EventType.GAP]
    if leavings is None:
        assert not gaps
        return
    stored = sum(1 for event in after if event.writer_id == ledger.recorder_id)
    (copy,) = [content for name, content in leavings.files.items() if name.endswith(".mark")]
    claimed, waiting, accounted = memoryview(copy[8:32]).cast("Q")
    assert [gap["missed"] for gap in gaps] == [
        said for said in [claimed + waiting - 1 - accounted - stored] if said > 0
    ]
    assert all(gap["estimated"] for gap in gaps)
    missing = leavings.emitted + 1 - stored  # session.started
    assert sum(gap["missed"] for gap in gaps) <= max(0, missing) + 1024
    assert os.listdir(db.parent) == [db.name]  # what was taken in is gone
