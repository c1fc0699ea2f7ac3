"""Verification: everything that can be wrong in a file, found by reading all of it."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import RecordedEvent, checksum
from sonde.store.block import NODE, TEXT, block_of, neighbours, place_of
from sonde.store.completeness import Hole, Identities, absent_events
from sonde.store.connections import snapshot
from sonde.store.expansion import ContentReader
from sonde.store.piece import DIGEST_BYTES, digest_of_text
from sonde.store.reading import Reading
from sonde.store.rows import fetch
from sonde.store.sealing import StretchDamageError, StretchReader, all_stretches
from sonde.store.shelving import ContentDamageError, all_blocks
from sonde.store.stretch import Row

_ROWS = 1_000
_STREAM = "SELECT name FROM streams WHERE id = ?"
_HOLES = """SELECT id, name, first_version FROM (
    SELECT s.id, s.name, s.first_version, min(low) AS low, max(high) AS high, sum(number) AS number
    FROM streams AS s JOIN (
        SELECT stream, min(version) AS low, max(version) AS high, count(*) AS number FROM events GROUP BY stream
        UNION ALL SELECT stream, first_version, last_version, last_version - first_version + 1 FROM stretches
    ) AS e ON e.stream = s.id GROUP BY s.id)
    WHERE low <> first_version OR number <> high - low + 1"""
_NAMED = "SELECT data >> 16, count(*) FROM events WHERE typeof(data) = 'integer' GROUP BY 1"
_PLACE = "SELECT place FROM pieces WHERE digest = ?"


class Damage(NamedTuple):
    """One thing that is wrong.

    ``kind``: ``file`` (SQLite's own structures), ``checksum`` (an event that isn't what was written), ``hole``
    (versions of a stream that are missing though no retention removed them; without a stream, events behind the last
    ones that are there, of which nothing but their number is known), ``content`` (a block of large data that
    cannot be read, or is not counted right; with an event, one whose data is in such a block, or the first of several
    that are sealed together in what cannot be read), ``identity`` (events that the store does not know by writer and
    number, and so would take in a second time).

    Versions that a repair could not save, and that a ``sonde.gap`` of the stream tells of, are no damage.
    """

    kind: Literal["file", "checksum", "hole", "content", "identity"]
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
        holes = {stream: Hole(name, first_version) for stream, name, first_version in fetch(connection, _HOLES)}
        with snapshot(connection):
            blocks = list(_wrong_blocks(connection))
    for line in checked:
        if line != "ok":
            yield Damage("file", line)
    yield from blocks
    position: int | None = 0
    done = strangers = broken = 0
    identities = Identities()
    while position is not None:
        with reading() as connection, snapshot(connection):
            rows, unreadable, position = reader.rows_page(connection, position, rows=_ROWS)
            found = [_damaged_stretch(connection, error) for error in unreadable]
            found += [damage for row in rows if (damage := _checked(connection, reader, contents, row)) is not None]
            unknown = [
                Damage("identity", detail, _name(connection, row[1]), row[2], row[0])
                for row, detail in identities.unknown(connection, rows)
            ]
            found += unknown
            strangers += len(unknown)
            broken += len(found)
            _fill(connection, reader, holes, rows, unreadable)
        yield from found
        done += len(rows)
        if progress is not None and rows:
            progress(done, max(done, total))
    with reading() as connection, snapshot(connection):
        twice = list(identities.twice(connection))
        absent = absent_events(connection, reader) - broken  # an event of no known stream isn't at its head
    for hole in holes.values():
        if detail := hole.detail():
            yield Damage("hole", detail, hole.name, hole.first_version)
    if absent > 0:
        yield Damage(
            "hole",
            f"{absent:,} events at the ends of streams are not there: the store has seen them, nothing removed them",
        )
    if not strangers:  # who is not known makes too few numbers, too
        yield from (Damage("identity", detail) for detail in twice)


def _fill(
    connection: apsw.Connection,
    reader: Reading,
    holes: dict[int, Hole],
    rows: Sequence[Row],
    unreadable: Sequence[StretchDamageError],
) -> None:
    for error in unreadable:
        if hole := holes.get(error.stretch.stream):
            hole.fill(error.stretch.first_version, error.stretch.last_version)
    for row in rows:
        if hole := holes.get(row[1]):
            hole.look_at(connection, reader, row)


def _damaged_stretch(connection: apsw.Connection, error: StretchDamageError) -> Damage:
    stretch = error.stretch
    detail = f"events {stretch.first_version} to {stretch.last_version} cannot be read: {error}"
    return Damage("content", detail, _name(connection, stretch.stream), stretch.first_version, stretch.last_position)


def _name(connection: apsw.Connection, stream: int) -> str:
    rows = fetch(connection, _STREAM, (stream,))
    return str(rows[0][0]) if rows else ""


def _checked(connection: apsw.Connection, reader: Reading, contents: ContentReader, row: Row) -> Damage | None:
    position, stream, version, _, _, _, _, stored, _, data = row
    stream_id = _name(connection, stream)
    if not stream_id and not fetch(connection, _STREAM, (stream,)):
        return Damage("checksum", f"event belongs to stream number {stream}, which has no name", "", version, position)
    try:
        text = contents.expand(connection, data) if type(data) is int else ("{}" if data is None else data).encode()
    except (ValueError, AttributeError) as error:
        return Damage("content", f"event cannot be read: {error}", stream_id, version, position)
    try:
        (event,) = reader.events(connection, (row,))
        matches = _sum(event, text) == stored & 0xFFFF_FFFF
    except (StoreCorruptError, TypeError, ValueError, struct.error) as error:
        return Damage("checksum", f"event cannot be read: {error}", stream_id, version, position)
    if matches:
        return None
    return Damage("checksum", "event isn't what was written", stream_id, version, position)


def _sum(event: RecordedEvent, text: bytes) -> int:
    return checksum(event, text, event.writer_id, event.seq)


def _wrong_blocks(connection: apsw.Connection) -> Iterator[Damage]:
    """Blocks that cannot be read, pieces that would not be found again, and blocks that would go too early."""
    uses = Counter(dict(fetch(connection, _NAMED)))
    stretches = StretchReader()
    unreadable = False
    for stretch in all_stretches(connection):
        try:
            uses.update(block_of(row[-1]) for row in stretches.rows(connection, stretch) if type(row[-1]) is int)
        except StretchDamageError:  # reported where its events are
            unreadable = True
    for block, entries in all_blocks(connection):
        try:
            if isinstance(entries, ContentDamageError):
                raise entries
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
