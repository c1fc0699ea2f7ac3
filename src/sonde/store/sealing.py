"""Sealing: rows of events that have been there for a while become stretches, which take a fifth of the space.

The oldest rows are sealed, of all streams up to a position, each stream's by themselves. So whatever is sealed stands
before whatever is not: a reader takes up a place, by version or by position, first among the stretches and then among
the rows. Nothing of an event changes. All functions work inside the caller's transaction.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import apsw

from sonde.store.recent import Recent
from sonde.store.rows import fetch
from sonde.store.stretch import COLUMNS, Row, pack, unpack

ROWS = 1_024
"""Of a stretch, if one stream is written to: below, they compress less; above, reading a few events costs more."""
_MOST_STREAMS = 4
_NUMBER_BITS = 16
_LAST_POSITION = (1 << 46) - 1
_CACHE_BYTES = 8 * 1024 * 1024
_ROW_BYTES = 600  # what Python needs for each

_OLDEST = f"SELECT {COLUMNS} FROM events ORDER BY position LIMIT ?"
_ADD = """INSERT INTO stretches
    (id, stream, first_version, last_version, last_position, first_ns, last_ns, origins, types, bytes)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_FIND = "SELECT id, stream, first_version, last_version, last_position FROM stretches"
_UNSEAL = "DELETE FROM events WHERE position <= ?"


class Stretch(NamedTuple):
    """Where a stretch stands. With what retention may take of it, its first versions, it becomes another."""

    number: int
    stream: int
    first_version: int
    last_version: int
    last_position: int

    @property
    def until(self) -> int:
        """The position up to which everything is sealed with it."""
        return self.number >> _NUMBER_BITS


class StretchDamageError(ValueError):
    """A stretch that cannot be read; the message says why, ``stretch`` which."""

    def __init__(self, stretch: Stretch, why: str) -> None:
        """With what it is in the file."""
        super().__init__(why)
        self.stretch = stretch


def seal_some(connection: apsw.Connection, *, least: int = ROWS) -> int:
    """Seal the oldest rows, some thousand at most and not fewer than ``least``; says how many."""
    rows = fetch(connection, _OLDEST, (max(least, ROWS),))
    if len(rows) < least:
        return 0
    streams = len({row[1] for row in rows})
    if streams > 1 and len(rows) >= ROWS:
        rows = fetch(connection, _OLDEST, (ROWS * min(streams, _MOST_STREAMS),))
    by_stream: dict[int, list[Row]] = {}
    for row in rows:
        by_stream.setdefault(row[1], []).append(row)
    last = rows[-1][0]
    for number, its in enumerate(by_stream.values()):
        _add(connection, last << _NUMBER_BITS | number, its)
    connection.execute(_UNSEAL, (last,))
    return len(rows)


def _add(connection: apsw.Connection, number: int, rows: Sequence[Row]) -> None:
    first, last = rows[0], rows[-1]
    origins, types = ({row[column] for row in rows} for column in (5, 3))
    connection.execute(
        _ADD,
        (
            number,
            first[1],
            first[2],
            last[2],
            last[0],
            first[4],
            last[4],
            json.dumps(sorted(origins)),
            json.dumps(sorted(types)),
            pack(rows),
        ),
    )


def remove_sealed(connection: apsw.Connection, stream: int, before_version: int) -> Counter[int]:
    """Remove the sealed events of a stream below a version; says how often the blocks of large data were named."""
    named: Counter[int] = Counter()
    reader = StretchReader()
    for stretch in _stretches(connection, "WHERE stream = ? AND first_version < ?", (stream, before_version)):
        try:
            rows = reader.rows(connection, stretch)
        except StretchDamageError:
            if stretch.last_version >= before_version:
                continue  # nobody can say where its events begin: it goes with the last of them
            rows = []
        connection.execute("DELETE FROM stretches WHERE id = ?", (stretch.number,))
        named.update(row[9] >> _NUMBER_BITS for row in rows if row[2] < before_version and type(row[9]) is int)
        if kept := [row for row in rows if row[2] >= before_version]:
            _add(connection, stretch.number, kept)
    return named


def all_stretches(connection: apsw.Connection) -> Iterator[Stretch]:
    """All, in order of position."""
    yield from _stretches(connection, "ORDER BY id", ())


def _stretches(connection: apsw.Connection, where: str, values: Sequence[Any]) -> list[Stretch]:
    return [Stretch(*row) for row in fetch(connection, f"{_FIND} {where}", values)]


class StretchReader:
    """Finds stretches and reads them. Thread-safe; keeps the rows of those that were read last, some 8 MB of them."""

    def __init__(self) -> None:
        self._recent = Recent[list[Row]](_CACHE_BYTES)

    def of_stream(self, connection: apsw.Connection, stream: int, from_version: int) -> Stretch | None:
        """The stretch of a stream in which a version is, or else the first behind it."""
        where = "WHERE stream = ? AND last_version >= ? ORDER BY last_version LIMIT 1"
        return next(iter(_stretches(connection, where, (stream, from_version))), None)

    def behind(self, connection: apsw.Connection, position: int) -> list[Stretch]:
        """The stretches that were sealed together and hold what follows a position. None if it isn't sealed."""
        least = (min(position, _LAST_POSITION) + 1) << _NUMBER_BITS
        first = _stretches(connection, "WHERE id >= ? ORDER BY id LIMIT 1", (least,))
        if not first:
            return []
        until = first[0].until
        return _stretches(connection, "WHERE id >= ? AND id < ?", (until << _NUMBER_BITS, (until + 1) << _NUMBER_BITS))

    def rows(self, connection: apsw.Connection, stretch: Stretch) -> list[Row]:
        """Its rows, in order; not to be changed.

        Raises:
            StretchDamageError: it cannot be read.
        """
        rows = self._recent.get(stretch)
        if rows is not None:
            return rows
        try:
            rows = unpack(fetch(connection, "SELECT bytes FROM stretches WHERE id = ?", (stretch.number,))[0][0])
        except (ValueError, IndexError) as error:
            raise StretchDamageError(stretch, str(error)) from None
        self._recent.put(stretch, rows, len(rows) * _ROW_BYTES)
        return rows

    def merged(self, connection: apsw.Connection, stretches: Sequence[Stretch]) -> list[Row]:
        """The rows of stretches that were sealed together, in order of position."""
        if len(stretches) == 1:
            return self.rows(connection, stretches[0])
        return sorted((row for stretch in stretches for row in self.rows(connection, stretch)), key=itemgetter(0))
