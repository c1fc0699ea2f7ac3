"""Verification: everything that can be wrong in a file, found by reading all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import RecordedEvent, checksum
from sonde.store.block import NODE, TEXT, neighbours, place_of
from sonde.store.connections import snapshot
from sonde.store.expansion import ContentReader, read_block
from sonde.store.piece import DIGEST_BYTES, digest_of_text
from sonde.store.reading import Reading
from sonde.store.rows import fetch

_ROWS = 1_000
_RAW = """SELECT e.position, s.name, e.version, e.checksum, e.data, e.stream FROM events AS e
    LEFT JOIN streams AS s ON s.id = e.stream WHERE e.position > ? ORDER BY e.position LIMIT ?"""
_HOLES = """SELECT name, first_version, low, high, number FROM (
    SELECT s.name, s.first_version, min(e.version) AS low, max(e.version) AS high, count(e.version) AS number
    FROM streams AS s JOIN events AS e ON e.stream = s.id GROUP BY s.id)
    WHERE low <> first_version OR number <> high - low + 1"""
_NAMED = "SELECT data >> 16, count(*) FROM events WHERE typeof(data) = 'integer' GROUP BY 1"
_PLACE = "SELECT place FROM pieces WHERE digest = ?"


class Damage(NamedTuple):
    """One thing that is wrong.

    ``kind``: ``file`` (SQLite's own structures), ``checksum`` (an event that isn't what was written), ``hole``
    (versions of a stream that are missing though no retention removed them), ``content`` (a block of large data that
    cannot be read, or is not counted right; with an event, one whose data is in such a block).
    """

    kind: Literal["file", "checksum", "hole", "content"]
    detail: str
    stream_id: str = ""
    version: int = 0
    position: int = 0


def verify(
    reading: Callable[[], AbstractContextManager[apsw.Connection]],
    url: str,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Damage]:
    """All damage, as it is found. Pages of events: no read transaction stays open while the caller thinks."""
    reader = Reading(url)  # its own: what others have read and kept would hide what has happened since
    contents = ContentReader()
    with reading() as connection:
        checked = [str(line) for (line,) in connection.execute("PRAGMA integrity_check(100)")]
        total = reader.count(connection)
        holes = fetch(connection, _HOLES)
        with snapshot(connection):
            blocks = list(_wrong_blocks(connection))
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
    yield from blocks
    position = done = 0
    while True:
        with reading() as connection, snapshot(connection):
            rows = fetch(connection, _RAW, (position, _ROWS))
            found = [damage for row in rows if (damage := _checked(connection, reader, contents, row)) is not None]
        yield from found
        if not rows:
            return
        position = rows[-1][0]
        done += len(rows)
        if progress is not None:
            progress(done, max(done, total))


def _checked(
    connection: apsw.Connection, reader: Reading, contents: ContentReader, row: tuple[Any, ...]
) -> Damage | None:
    position, stream_id, version, stored, data, stream = row
    if stream_id is None:
        return Damage("checksum", f"event belongs to stream number {stream}, which has no name", "", version, position)
    try:
        text = contents.expand(connection, data) if type(data) is int else ("{}" if data is None else data).encode()
    except ValueError as error:
        return Damage("content", f"event cannot be read: {error}", stream_id, version, position)
    try:
        (event,), _ = reader.all_page(connection, position - 1, until=position, rows=1)
        matches = _sum(event, text) == stored & 0xFFFF_FFFF
    except (StoreCorruptError, TypeError, ValueError, UnicodeError) as error:
        return Damage("checksum", f"event cannot be read: {error}", stream_id, version, position)
    if matches:
        return None
    return Damage("checksum", "event isn't what was written", stream_id, version, position)


def _sum(event: RecordedEvent, text: bytes) -> int:
    return checksum(event, text, event.writer_id, event.seq)


def _wrong_blocks(connection: apsw.Connection) -> Iterator[Damage]:
    """Blocks that cannot be read, pieces that would not be found again, and blocks that would go too early."""
    uses = Counter(dict(fetch(connection, _NAMED)))
    unreadable = False
    for (block,) in fetch(connection, "SELECT id FROM blocks ORDER BY id"):
        try:
            entries = read_block(connection, block)
            uses.update(neighbours(entries, block))
        except ValueError as error:
            unreadable = True
            yield Damage("content", str(error))
            continue
        for number, entry in enumerate(entries):
            if entry.kind not in (TEXT, NODE):
                continue
            digest = digest_of_text(entry.body) if entry.kind == TEXT else entry.body[:DIGEST_BYTES]
            if fetch(connection, _PLACE, (digest,)) != [(place_of(block, number),)]:
                yield Damage("content", f"content block {block}: piece {number} isn't found by its digest")
    counted = dict(fetch(connection, "SELECT block, count FROM uses"))
    for block, count in sorted(uses.items()):
        # Too many is waste, and what an unreadable block named is not known.
        if counted.get(block, 0) < count or (counted[block] > count and not unreadable):
            yield Damage(
                "content", f"content block {block} is counted as used {counted.get(block, 0)} times; expected {count}"
            )
