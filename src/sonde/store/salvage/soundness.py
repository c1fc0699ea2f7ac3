"""Soundness: which of the carved rows are what was written, by their checksums.

Rows are read as the store reads its own: from a table ``events`` of a scratch file, one row a candidate, whose number
stands where a position would.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import RecordedEvent, checksum
from sonde.store.expansion import ContentReader
from sonde.store.reading import Reading
from sonde.store.rows import fetch
from sonde.store.salvage.carving import Candidates

_ROWS = 500
_RAW = "SELECT position, checksum, data, type, origin FROM events WHERE position > ? ORDER BY position LIMIT ?"
_ONE = "SELECT position, checksum, data, type, origin FROM events WHERE position = ?"


class Sound(NamedTuple):
    """A row as an event, with its data as it was written."""

    event: RecordedEvent
    data_json: bytes


class Soundness:
    """Reads candidates of a scratch file. What it has read of names and blocks it remembers."""

    def __init__(self, scratch: apsw.Connection) -> None:
        self._scratch = scratch
        self._contents = ContentReader()
        self._reader = Reading("a damaged file")

    def forget(self) -> None:
        """Names have changed."""
        self._reader = Reading("a damaged file")

    def read(self, number: int) -> Sound | str:
        """One candidate, or why it is not what was written."""
        (row,) = fetch(self._scratch, _ONE, (number,))
        return self._read(row, None)

    def all(self, after: int = 0) -> Iterator[tuple[int, Sound | str]]:
        """Every candidate by number."""
        while True:
            rows = fetch(self._scratch, _RAW, (after, _ROWS))
            if not rows:
                return
            last = rows[-1][0]
            try:
                events, _ = self._reader.all_page(self._scratch, after, until=last, rows=len(rows))
            except (StoreCorruptError, TypeError, ValueError, LookupError):
                for row in rows:
                    yield row[0], self._read(row, None)
            else:
                for row, event in zip(rows, events, strict=True):
                    yield row[0], self._read(row, event)
            after = last

    def _read(self, row: Sequence[Any], event: RecordedEvent | None) -> Sound | str:
        number, stored, data, *_ = row
        try:
            if event is None:
                (event,), _ = self._reader.all_page(self._scratch, number - 1, until=number, rows=1)
            if type(data) is int:
                text = self._contents.expand(self._scratch, data)
            else:
                text = b"{}" if data is None else data.encode()
            matches = checksum(event, text, event.writer_id, event.seq) == stored & 0xFFFF_FFFF
        except (StoreCorruptError, TypeError, ValueError, LookupError, AttributeError, struct.error) as error:
            return " ".join(str(error).split())
        return Sound(event, text) if matches else "its checksum is wrong"


def settle_names(scratch: apsw.Connection, soundness: Soundness, table: str, candidates: Candidates, mark: str) -> None:
    """Where the file states two names, or origins, under a number: the one that makes events right is right."""
    for number, found in candidates.items():
        if len(found) < 2:
            continue
        waiting = [n for n in _of(scratch, table, number) if isinstance(soundness.read(n), str)]
        best = max(found, key=lambda value: found[value])
        for value in found:
            if not waiting:
                break
            if value == best:
                continue
            put(scratch, table, number, value)
            soundness.forget()
            right = [n for n in waiting if not isinstance(soundness.read(n), str)]
            if right:
                scratch.executemany(mark, [(n,) for n in right])
                break
            put(scratch, table, number, best)
            soundness.forget()


def put(scratch: apsw.Connection, table: str, number: int, value: Any) -> None:
    """Say what a number stands for in the scratch file."""
    values = value if isinstance(value, tuple) else (value,)
    columns = {"names": "id, name", "streams": "id, name", "origins": "id, session, plan, task, writer"}[table]
    marks = ",".join("?" * (len(values) + 1))
    scratch.execute(f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})", (number, *values))


def _of(scratch: apsw.Connection, table: str, number: int) -> Iterable[int]:
    """The candidates not found right so far that refer to a name or an origin."""
    if table == "origins":
        where = "e.origin = ?1"
    else:
        where = """(e.type = ?1 OR e.origin IN
            (SELECT id FROM origins WHERE ?1 IN (session, plan, task, writer)))"""
    rows = fetch(
        scratch,
        f"SELECT p.n FROM placed_at AS p JOIN events AS e ON e.position = p.n WHERE NOT p.is_sound AND {where}",
        (number,),
    )
    return [n for (n,) in rows]
