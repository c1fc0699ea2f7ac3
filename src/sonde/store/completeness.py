"""Completeness: whether all versions of a stream are there, and whether the store knows each event by its identity.

Both are looked at while all rows are read, in order of position.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import EventType
from sonde.store.identities import Run
from sonde.store.losses import size, without
from sonde.store.reading import Reading
from sonde.store.rows import fetch
from sonde.store.stretch import Row
from sonde.store.told import told_by

_LISTED = 5
_GAP = "SELECT 1 FROM names WHERE id = ? AND name = ?"
_WRITER = "SELECT writer, (SELECT name FROM names WHERE id = writer) FROM origins WHERE id = ?"
_ALL_SEEN = "SELECT ifnull(sum(1 + last - first), 0) FROM seen"
_REMOVED = "SELECT removed_events FROM retention"
_SEEN = "SELECT first, last FROM seen WHERE writer = ? ORDER BY first"


class Hole:
    """A stream that lacks versions, which a gap in it may tell of: those that a repair could not save."""

    def __init__(self, name: str, first_version: int) -> None:
        self.name = name
        self.first_version = first_version
        self._present: list[Run] = []
        self._told: list[Run] = []

    def fill(self, first: int, last: int) -> None:
        """Versions that are there, or whose loss is reported otherwise."""
        if self._present and self._present[-1][1] + 1 == first:
            self._present[-1] = (self._present[-1][0], last)
        else:
            self._present.append((first, last))

    def look_at(self, connection: apsw.Connection, reader: Reading, row: Row) -> None:
        """A row of the stream."""
        version = row[2]
        self.fill(version, version)
        if fetch(connection, _GAP, (row[3], EventType.GAP.value)):
            try:
                (event,) = reader.events(connection, (row,))
            except (StoreCorruptError, ValueError, TypeError):
                return  # reported as such
            if (told := told_by(event)) is not None:
                self._told.append(told)

    def detail(self) -> str:
        """What is missing and what nobody tells of; empty if that is nothing."""
        high = max((last for _, last in self._present), default=0)
        missing = without(without([(self.first_version, high)], self._present), self._told)
        if not missing:
            return ""
        listed = ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in missing[:_LISTED])
        more = f" and {len(missing) - _LISTED} more ranges" if len(missing) > _LISTED else ""
        return (
            f"stream {self.name!r} lacks {size(missing)} of its versions from {self.first_version} to {high}: "
            f"{listed}{more}"
        )


class Identities:
    """Looks each event's writer and number up in what the store says it has. For one thread."""

    def __init__(self) -> None:
        self._writers: dict[int, tuple[int, str]] = {}
        self._seen: dict[int, list[Run]] = {}
        self._counts: Counter[int] = Counter()
        self._names: dict[int, str] = {}

    def unknown(self, connection: apsw.Connection, rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
        """Rows whose events would be taken in a second time."""
        for row in rows:
            found = self._writers.get(row[5])
            if found is None:
                ((number, name),) = fetch(connection, _WRITER, (row[5],)) or [(0, None)]
                found = self._writers[row[5]] = (number, name or "")
            writer, name = found
            if not name:
                continue  # its checksum is wrong, then
            self._counts[writer] += 1
            self._names[writer] = name
            seq = row[6]
            if not _has(self._seen.get(writer, ()), seq):
                self._seen[writer] = fetch(connection, _SEEN, (writer,))  # written since, perhaps
                if not _has(self._seen[writer], seq):
                    yield row, f"event {seq} of writer {name!r} isn't among the numbers that the store has seen"

    def twice(self, connection: apsw.Connection) -> Iterator[str]:
        """Writers of whom there are more events than numbers."""
        for writer, count in self._counts.items():
            numbers = size(fetch(connection, _SEEN, (writer,)))
            if count > numbers:
                yield (
                    f"there are {count:,} events of writer {self._names[writer]!r}, and {numbers:,} numbers: some are "
                    "there twice, or not among them"
                )


def absent_events(connection: apsw.Connection, reader: Reading) -> int:
    """How many events behind the heads of all streams are missing at least, in the snapshot of a connection.

    What was seen is there, or was removed. Retention may have forgotten some numbers, so there may be more.
    """
    ((seen,),) = fetch(connection, _ALL_SEEN)
    ((removed,),) = fetch(connection, _REMOVED)
    return max(0, int(seen) - reader.count(connection) - int(removed))


def _has(ranges: Sequence[Run], number: int) -> bool:
    index = bisect_right(ranges, number, key=lambda run: run[0]) - 1
    return index >= 0 and ranges[index][1] >= number
