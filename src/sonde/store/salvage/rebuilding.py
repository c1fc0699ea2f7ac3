"""Rebuilding: a new file of what a damaged one still had, written as any other: names, blocks and numbers seen are new.

Only versions and positions are given: what decides them in a file (``first_version`` and ``floor``, which retention
raises) is set before each run of rows. What is lost is told by an event of type ``sonde.gap`` that stands at the last
of the versions lost, so that none of them is ever given again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apsw

from sonde.events import Event, EventType
from sonde.store.connections import transaction
from sonde.store.contract import Record
from sonde.store.identities import Run
from sonde.store.losses import Hole, merged
from sonde.store.rows import fetch
from sonde.store.salvage.soundness import Sound
from sonde.store.writing import Writing

DAMAGED = "damaged"
"""The reason in the gaps."""

_BATCH = 1_000
_FLOOR = "UPDATE retention SET floor = ?"
_LAST = "SELECT max(floor, ifnull((SELECT max(position) FROM events), 0)) FROM retention"
_STREAM = """INSERT INTO streams (name, first_version) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET first_version = excluded.first_version"""
_FIRST = """UPDATE streams SET first_version =
    ifnull((SELECT min(version) FROM events WHERE stream = streams.id), first_version)"""
_RANGES = "SELECT first, last FROM seen WHERE writer = ?"
_ADD_RANGE = "INSERT INTO seen (writer, first, last) VALUES (?, ?, ?)"
_ADD_WRITER = """INSERT OR REPLACE INTO writers
    (writer, host, boot, pid, process_start, registered_ns, released_ns) VALUES (?, ?, ?, ?, ?, ?, ?)"""


class _Placed(NamedTuple):
    """A record, and where it stands."""

    position: int
    version: int
    record: Record


class Rebuilding:
    """Writes the new file, in order of position. For one thread.

    Attributes:
        twice: events that were not written since another has the same writer and number.
        kept: of each writer the ranges of numbers written.
        events: how many are kept.
    """

    def __init__(self, target: apsw.Connection, names: Mapping[int, str], streams: Mapping[int, str]) -> None:
        """``names`` and ``streams`` are those of the damaged file, by number."""
        self._target = target
        self._names = names
        self._streams = streams
        self._writing = Writing("the new file")
        self._writer_id = f"repair-{secrets.token_hex(8)}"
        self._gaps = 0
        self._heads: dict[str, int] = {}
        self._position = 0
        self._last: dict[str, Event] = {}
        self.twice: list[Record] = []
        self.kept: dict[str, list[Run]] = {}
        self.events = 0

    def write(self, sound: Iterable[Sound], holes: Sequence[Hole], progress: Callable[[int], None] | None) -> None:
        """Write all events, and where they belong the gaps of those that are lost."""
        batch: list[_Placed] = []
        for placed in self._merged(sound, sorted(holes, key=lambda hole: hole.position)):
            if len(batch) == _BATCH or (batch and not self._continues(batch, placed)):
                self._append(batch)
                batch = []
                if progress is not None:
                    progress(self.events)
            batch.append(placed)
        self._append(batch)

    def write_gap_at_end(self, hole: Hole) -> None:
        """The versions that a stream has lost at its end, or those for whose gap there was no room."""
        stream_id = self._streams[hole.stream]
        position = self._position + 1
        version = max(hole.last, self._heads.get(stream_id, 0) + 1)
        self._append([_Placed(position, version, self._gap(stream_id, hole.events, first=hole.first, last=hole.last))])

    def write_gap_of_unknown(self, missed: int, stream_id: str) -> None:
        """Events that are lost with all that would say where they stood. Their positions are not given again."""
        position = self._position + missed + 1
        version = self._heads.get(stream_id, 0) + 1
        self._append([_Placed(position, version, self._gap(stream_id, missed))])

    def finish(
        self,
        *,
        streams: Mapping[str, int],
        floor: int,
        writers: Mapping[int, tuple[Any, ...]],
        seen: Mapping[str, Sequence[Run]],
    ) -> None:
        """Streams without events, the last position given, who wrote, and numbers of events that retention removed."""
        writing = self._writing.names
        with transaction(self._target):
            self._target.executemany(
                "INSERT OR IGNORE INTO streams (name, first_version) VALUES (?, ?)", list(streams.items())
            )
            self._target.execute(_FIRST)
            self._target.execute("UPDATE retention SET floor = max(floor, ?)", (floor,))
            for number, row in writers.items():
                if name := self._names.get(number):
                    self._target.execute(_ADD_WRITER, (writing.intern(self._target, name), *row))
            for name, ranges in seen.items():
                writer = writing.intern(self._target, name)
                there = [(first, last) for first, last in fetch(self._target, _RANGES, (writer,))]
                self._target.execute("DELETE FROM seen WHERE writer = ?", (writer,))
                self._target.executemany(
                    _ADD_RANGE, [(writer, first, last) for first, last in merged([*there, *ranges])]
                )
        self._writing.settle(committed=True)

    @property
    def last_stream(self) -> str:
        """The stream of the last event that was written; empty if none was."""
        return next(reversed(self._last), "")

    def _merged(self, sound: Iterable[Sound], holes: Sequence[Hole]) -> Iterator[_Placed]:
        waiting = [hole for hole in holes if hole.position]
        at = 0
        for event, data_json in sound:
            position = event.position.value
            while at < len(waiting) and waiting[at].position < position:
                yield self._placed_gap(waiting[at], event)
                at += 1
            yield _Placed(
                position, event.version, Record(event.stream_id, event.writer_id, event.seq, event, data_json)
            )
            self._last.pop(event.stream_id, None)
            self._last[event.stream_id] = event

    def _placed_gap(self, hole: Hole, following: Event) -> _Placed:
        stream_id = self._streams[hole.stream]
        record = self._gap(stream_id, hole.events, first=hole.first, last=hole.last, following=following)
        return _Placed(hole.position, hole.last, record)

    def _gap(
        self, stream_id: str, missed: int, *, first: int = 0, last: int = 0, following: Event | None = None
    ) -> Record:
        self._gaps += 1
        beside = self._last.get(stream_id) or following or next(reversed(self._last.values()), None) or Event("")
        data: dict[str, Any] = {"missed": missed, "reasons": {DAMAGED: missed}}
        if first:
            data |= {"first_version": first, "last_version": last}
        session_id = self._last[stream_id].session_id if stream_id in self._last else stream_id
        event = Event(EventType.GAP.value, beside.time_ns, session_id, data=data)
        return Record(stream_id, self._writer_id, self._gaps, event)

    def _continues(self, batch: Sequence[_Placed], placed: _Placed) -> bool:
        if placed.position != batch[-1].position + 1:
            return False
        stream_id = placed.record.stream_id
        for before in reversed(batch):
            if before.record.stream_id == stream_id:
                return placed.version == before.version + 1
        return placed.version == self._heads.get(stream_id, 0) + 1

    def _append(self, batch: Sequence[_Placed]) -> None:
        if not batch:
            return
        if not self._appended(batch) and len(batch) > 1:
            for placed in batch:
                self._append([placed])

    def _appended(self, batch: Sequence[_Placed]) -> bool:
        """Write rows that follow each other; says whether all were new. If not, none of them is written."""
        records = [placed.record for placed in batch]
        heads = {record.stream_id: self._heads.get(record.stream_id, 0) for record in records}
        done = False
        try:
            with transaction(self._target):
                if batch[0].position != self._position + 1:
                    self._target.execute(_FLOOR, (batch[0].position - 1,))
                for placed in batch:
                    stream_id = placed.record.stream_id
                    if placed.version != self._heads.get(stream_id, 0) + 1:
                        self._target.execute(_STREAM, (stream_id, placed.version))
                    self._heads[stream_id] = placed.version
                result = self._writing.append(self._target, records, None)
                if result.duplicates:
                    raise _TwiceError
                done = True
        except _TwiceError:
            self._heads |= heads
            if len(batch) == 1:
                self.twice.append(records[0])
            return False
        finally:
            self._writing.settle(committed=done)
        self._position = batch[-1].position
        self._note(records)
        return True

    def _note(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.writer_id == self._writer_id:
                continue
            self.events += 1
            ranges = self.kept.setdefault(record.writer_id, [])
            if ranges and ranges[-1][1] + 1 == record.seq:
                ranges[-1] = (ranges[-1][0], record.seq)
            else:
                ranges.append((record.seq, record.seq))


class _TwiceError(Exception):
    """Two events have one identity."""
