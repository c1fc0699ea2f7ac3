"""An agent that records on a disk of memory, and a ledger of what it was told is safe.

One thread appends through two stores of its own, small events and large ones whose texts repeat, removes beginnings of
streams, lets the store tidy up, closes and opens; a recorder with its threads writes to the same file; a reader holds
old states now and then, so that checkpoints stop half-way. Every acknowledgement is noted with the disk's time.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import apsw

import sonde
from sonde.events import Event
from sonde.journal import folder_of
from sonde.store import Record, SQLiteStore

SESSION = "recorder"
STREAMS = ("a", "b", "c")
DB = os.path.join("made", "on the way", "runs.db")
_TEXTS = [random.Random(number).randbytes(1500).hex() for number in range(12)]


def data_of(writer: str, seq: int) -> dict[str, Any]:
    """What an event of the two stores holds: by its identity, so that anybody can tell what it must be."""
    rng = random.Random(f"{writer} {seq}")
    if rng.random() < 0.85:
        return {"writer": writer, "seq": seq}
    prompt = [{"role": "user", "content": text} for text in _TEXTS[: rng.randint(1, len(_TEXTS))]]
    return {"writer": writer, "seq": seq, "messages": prompt, "own": rng.randbytes(rng.choice([10, 3000])).hex()}


class Place(NamedTuple):
    """Where an event is to be found, if it is there."""

    stream: str
    version: int


class Written(NamedTuple):
    """What is to be found there."""

    writer: str
    seq: int
    position: int


class Commit(NamedTuple):
    """A batch, when it was handed to the store, and when that said that it is committed."""

    begun_at: int
    acknowledged_at: int
    places: list[Place]


class Removal(NamedTuple):
    """The beginning of a stream was to be removed."""

    begun_at: int
    acknowledged_at: int
    stream: str
    first_version: int


class Leavings(NamedTuple):
    """What lay in the journal's folder at a time, and how many events the recorder had emitted by then."""

    at: int
    files: dict[str, bytes]
    emitted: int


@dataclass
class Ledger:
    """What was asked and what was acknowledged, at which times of the disk."""

    written: dict[Place, Written] = field(default_factory=dict)
    """Everything that ever was."""
    commits: list[Commit] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    emitted: list[int] = field(default_factory=list)
    """When the recorder's n-th event had been emitted."""
    flushed: list[tuple[int, int]] = field(default_factory=list)
    """When a flush said that so many of them are committed."""
    leavings: list[Leavings] = field(default_factory=list)
    recorder_id: str = ""
    """The recorder's writer."""
    opened_at: int = 0
    closing_at: int = 0

    def acknowledged_at(self) -> list[int]:
        """All times at which something was."""
        return [
            *(commit.acknowledged_at for commit in self.commits),
            *(removal.acknowledged_at for removal in self.removals),
            *(at for at, _ in self.flushed),
        ]


class Agent:
    """Works until it is done; ``disk`` is attached meanwhile."""

    def __init__(
        self, disk: Any, *, durability: str, rng: random.Random, steps: int = 40, arenas: bool = False
    ) -> None:
        self.disk = disk
        self.ledger = Ledger()
        self._rng = rng
        self._path = Path(disk.root, DB)
        self._durability = durability
        self._keeps_arenas = arenas
        self._steps = steps
        self._numbers = {"first": 0, "second": 0}

    def work(self) -> Ledger:
        """All of it, from making the file to closing it."""
        with self.disk.attached(autocheckpoint_pages=self._rng.choice([4, 30, 200])):
            self._stores = {writer: self._open() for writer in self._numbers}
            self.ledger.opened_at = self.disk.now
            self._recorder = sonde.record(
                self._path, session_id=SESSION, durability=self._durability, journal="disk",
                metrics=False, metrics_interval_s=None, memory_interval_s=None, profile=False, redact=False,
            )  # fmt: skip
            self._reader: apsw.Connection | None = None
            self._note_leavings()
            actions = [
                (self._append, 10), (self._emit, 8), (self._flush, 4), (self._remove, 2), (self._read, 2),
                (self._tend, 2), (self._reopen, 1),
            ]  # fmt: skip
            for _ in range(self._steps):
                (action,) = self._rng.choices([action for action, _ in actions], [weight for _, weight in actions])
                action()
                self._note_leavings()
            self._append()
            self.ledger.closing_at = self.disk.now
            if self._reader is not None:
                self._reader.close()
            assert self._recorder.close()
            for event in self._stores["first"].read(SESSION):
                place = Place(SESSION, event.version)
                self.ledger.written[place] = Written(event.writer_id, event.seq, event.position.value)
                self.ledger.recorder_id = event.writer_id
            for store in self._stores.values():
                store.close()
        return self.ledger

    def _append(self) -> None:
        writer = self._rng.choice(sorted(self._stores))
        stream = self._rng.choice(STREAMS)
        first = self._numbers[writer] + 1
        self._numbers[writer] += self._rng.choice([1, 5, 60])
        seqs = range(first, self._numbers[writer] + 1)
        records = [Record(stream, writer, seq, Event("n", data=data_of(writer, seq))) for seq in seqs]
        begun_at = self.disk.now
        result = self._stores[writer].append_batch(records)
        places = [Place(stream, version) for version in range(result.first_version, result.last_version + 1)]
        self.ledger.commits.append(Commit(begun_at, self.disk.now, places))
        first_position = result.position.value - len(seqs) + 1
        for place, seq in zip(places, seqs, strict=True):
            self.ledger.written[place] = Written(writer, seq, first_position + seq - first)

    def _emit(self) -> None:
        for _ in range(self._rng.choice([1, 5, 30])):
            self._recorder.emit(
                "n", i=len(self.ledger.emitted), text=self._rng.choice(_TEXTS)[: self._rng.choice([9, 2000])]
            )
            self.ledger.emitted.append(self.disk.now)

    def _flush(self) -> None:
        emitted = len(self.ledger.emitted)
        assert self._recorder.flush(60)
        self.ledger.flushed.append((self.disk.now, emitted))

    def _remove(self) -> None:
        writer = self._rng.choice(sorted(self._stores))
        stream = self._rng.choice(STREAMS)
        first_version = self._rng.randint(0, self._stores[writer].head(stream))
        begun_at = self.disk.now
        self._stores[writer].truncate(stream, first_version)
        self.ledger.removals.append(Removal(begun_at, self.disk.now, stream, first_version))

    def _tend(self) -> None:
        """What the store does when it is idle: rows are sealed, blocks shelved, free pages given back."""
        writer = self._rng.choice(sorted(self._stores))
        is_ending = self._rng.random() < 0.8
        while self._stores[writer].tend(is_ending=is_ending):
            pass

    def _read(self) -> None:
        if self._reader is None:
            self._reader = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            self._reader.execute("BEGIN")
            self._reader.execute("SELECT count(*) FROM events").fetchall()
        else:
            self._reader.close()
            self._reader = None

    def _reopen(self) -> None:
        writer = self._rng.choice(sorted(self._stores))
        self._stores[writer].close()
        self._stores[writer] = self._open()

    def _open(self) -> SQLiteStore:
        return SQLiteStore(self._path, durability="power" if self._durability == "power" else "commit")

    def _note_leavings(self) -> None:
        folder = Path(folder_of(str(self._path)))
        at, emitted = self.disk.now, len(self.ledger.emitted)
        files = {}
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            try:
                if self._keeps_arenas or file.suffix == ".mark":
                    files[file.name] = file.read_bytes()
            except FileNotFoundError:  # an arena that was dismissed just now
                continue
        self.ledger.leavings.append(Leavings(at, files, emitted))


def record_on(disk: Any, *, durability: str, rng: random.Random) -> Ledger:
    """Open what a cut left, as the next program does, and record a little, on a disk that can lose its power again."""
    ledger = Ledger()
    with disk.attached(autocheckpoint_pages=rng.choice([4, 200])):
        recorder = sonde.record(
            Path(disk.root, DB), session_id="again", durability=durability,
            metrics=False, metrics_interval_s=None, memory_interval_s=None, profile=False,
        )  # fmt: skip
        for number in range(rng.choice([2, 8])):
            recorder.emit("again", i=number, text=_TEXTS[number])
            assert recorder.flush(60)
            ledger.flushed.append((disk.now, number + 1))
        assert recorder.close()
    return ledger
