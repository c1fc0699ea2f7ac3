"""Verification: everything that can be wrong in a file, found by reading all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import RecordedEvent, checksum
from sonde.store.reading import Reading
from sonde.store.rows import fetch

_ROWS = 1_000
_RAW = """SELECT e.position, s.name, e.version, e.checksum, ifnull(e.data, '{}'), e.stream FROM events AS e
    LEFT JOIN streams AS s ON s.id = e.stream WHERE e.position > ? ORDER BY e.position LIMIT ?"""
_HOLES = """SELECT name, first_version, low, high, number FROM (
    SELECT s.name, s.first_version, min(e.version) AS low, max(e.version) AS high, count(e.version) AS number
    FROM streams AS s JOIN events AS e ON e.stream = s.id GROUP BY s.id)
    WHERE low <> first_version OR number <> high - low + 1"""


class Damage(NamedTuple):
    """One thing that is wrong.

    ``kind``: ``file`` (SQLite's own structures), ``checksum`` (an event that isn't what was written), ``hole``
    (versions of a stream that are missing though no retention removed them).
    """

    kind: Literal["file", "checksum", "hole"]
    detail: str
    stream_id: str = ""
    version: int = 0
    position: int = 0


def verify(
    reading: Callable[[], AbstractContextManager[apsw.Connection]],
    reader: Reading,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Damage]:
    """All damage, as it is found. Pages of events: no read transaction stays open while the caller thinks."""
    with reading() as connection:
        checked = [str(line) for (line,) in connection.execute("PRAGMA integrity_check(100)")]
        total = reader.count(connection)
        holes = fetch(connection, _HOLES)
    for line in checked:
        if line != "ok":
            yield Damage("file", line)
    for name, first_version, low, high, number in holes:
        yield Damage(
            "hole",
            f"stream {name!r} holds {number} events from version {low} to {high}; expected {high - first_version + 1} "
            f"from version {first_version}",
            str(name),
            int(first_version),
        )
    position = done = 0
    while True:
        with reading() as connection:
            rows = fetch(connection, _RAW, (position, _ROWS))
            found = [damage for row in rows if (damage := _checked(connection, reader, row)) is not None]
        yield from found
        if not rows:
            return
        position = rows[-1][0]
        done += len(rows)
        if progress is not None:
            progress(done, max(done, total))


def _checked(connection: apsw.Connection, reader: Reading, row: tuple[Any, ...]) -> Damage | None:
    position, stream_id, version, stored, data, stream = row
    if stream_id is None:
        return Damage("checksum", f"event belongs to stream number {stream}, which has no name", "", version, position)
    try:
        (event,), _ = reader.all_page(connection, position - 1, until=position, rows=1)
        matches = _sum(event, data) == stored & 0xFFFF_FFFF
    except (StoreCorruptError, TypeError, ValueError, UnicodeError) as error:
        return Damage("checksum", f"event cannot be read: {error}", stream_id, version, position)
    if matches:
        return None
    return Damage("checksum", "event isn't what was written", stream_id, version, position)


def _sum(event: RecordedEvent, data: str) -> int:
    return checksum(event, data.encode(), event.writer_id, event.seq)
