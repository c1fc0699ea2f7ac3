"""Shelving: blocks are found, put on a :mod:`sonde.store.shelf` and taken off, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apsw

from sonde.store.block import Entry, entries_of
from sonde.store.rows import fetch
from sonde.store.shelf import is_shelf, pack_shelf, unpack_row

SHELF_BYTES = 96 * 1024
"""Inflated. Above, little is saved, and whoever wants one piece waits for all of it: some 2 ms."""
MOST_BLOCKS = 64
"""On a shelf."""

_ROW = "SELECT id, bytes FROM blocks WHERE id >= ? ORDER BY id LIMIT 1"
_SIZE = "SELECT length(bytes) FROM blocks WHERE id >= ? ORDER BY id LIMIT 1"
_ROWS = "SELECT id, bytes FROM blocks WHERE id > ? ORDER BY id LIMIT ?"
_LAST_SHELF = "SELECT ifnull(max(id), 0) FROM blocks WHERE substr(bytes, 1, 3) = x'425a68'"


SizedBlock = tuple[list[Entry], int]
"""The entries of a block, and how many bytes it takes in the file: on a shelf its share, by what all are inflated."""


class ContentDamageError(ValueError):
    """A block that is missing or cannot be read; the message says which and why."""


def read_row(connection: apsw.Connection, block: int) -> dict[int, list[Entry]]:
    """The entries of a block, from the file, and of those that lie on its shelf.

    Raises:
        ContentDamageError: it is not there, or not what was written.
    """
    return _entries(block, _read_raw(connection, block))


def read_sized(connection: apsw.Connection, block: int) -> dict[int, SizedBlock]:
    """As :func:`read_row`, each with its size.

    Raises:
        ContentDamageError: it is not there, or not what was written.
    """
    raw = _read_raw(connection, block)
    ((row_bytes,),) = fetch(connection, _SIZE, (block,))
    whole = max(1, sum(map(len, raw.values())))
    return {number: (its, row_bytes * len(raw[number]) // whole) for number, its in _entries(block, raw).items()}


def read_block(connection: apsw.Connection, block: int) -> list[Entry]:
    """The entries of a block, from the file.

    Raises:
        ContentDamageError: it is not there, or not what was written.
    """
    raw = _read_raw(connection, block)[block]
    try:
        return entries_of(raw)
    except ValueError as error:
        raise ContentDamageError(f"content block {block} cannot be read: {error}") from None


def _entries(block: int, raw: dict[int, bytes]) -> dict[int, list[Entry]]:
    try:
        return {number: entries_of(one) for number, one in raw.items()}
    except ValueError as error:
        raise ContentDamageError(f"content block {block} cannot be read: {error}") from None


def _read_raw(connection: apsw.Connection, block: int) -> dict[int, bytes]:
    raw = _read_shelf(connection, block)[1]
    if block not in raw:
        raise ContentDamageError(f"content block {block} is missing")
    return raw


def _read_shelf(connection: apsw.Connection, block: int) -> tuple[int, dict[int, bytes]]:
    """The row that a block is in, if it is anywhere. A shelf keeps its number when the block of that number goes."""
    rows = fetch(connection, _ROW, (block,))
    if not rows or (rows[0][0] != block and not is_shelf(rows[0][1])):
        raise ContentDamageError(f"content block {block} is missing")
    number, content = rows[0]
    try:
        raw = unpack_row(number, content)
    except ValueError as error:
        raise ContentDamageError(f"content block {block} cannot be read: {error}") from None
    return number, raw


def all_blocks(connection: apsw.Connection) -> Iterator[tuple[int, list[Entry] | ContentDamageError]]:
    """All blocks with their entries, in order. Of a shelf that cannot be read the last one stands for all."""
    for (number,) in fetch(connection, "SELECT id FROM blocks ORDER BY id"):
        try:
            yield from _entries(number, _read_shelf(connection, number)[1]).items()
        except ContentDamageError as error:
            yield number, error


def remove_blocks(connection: apsw.Connection, blocks: Iterable[int]) -> None:
    """Remove blocks, from their shelves too; those that cannot be read if nothing else is in their row."""
    gone = set(blocks)
    while gone:
        block = gone.pop()
        try:
            number, raw = _read_shelf(connection, block)
        except ContentDamageError:
            connection.execute("DELETE FROM blocks WHERE id = ?", (block,))
            continue
        kept = {its: content for its, content in raw.items() if its != block and its not in gone}
        gone.difference_update(raw)
        if kept:
            connection.execute("UPDATE blocks SET bytes = ? WHERE id = ?", (pack_shelf(kept), number))
        else:
            connection.execute("DELETE FROM blocks WHERE id = ?", (number,))


def last_shelf(connection: apsw.Connection) -> int:
    """The number of the last row that is a shelf: what follows is not shelved yet. Looks at all rows."""
    return int(fetch(connection, _LAST_SHELF)[0][0])


def shelve_some(connection: apsw.Connection, after: int, *, least: int) -> int:
    """Put the blocks that follow a row on one shelf if they take ``least`` bytes; says behind which row to go on.

    That is ``after`` if there are too few.
    """
    blocks: dict[int, bytes] = {}
    rows: list[int] = []
    size = compressed = 0
    for number, content in fetch(connection, _ROWS, (after, MOST_BLOCKS)):
        try:
            found = unpack_row(number, content)
        except ValueError:  # damaged: it stays as it is, and what follows goes on the next shelf
            if not rows:
                return int(number)
            break
        blocks.update(found)
        rows.append(number)
        size += sum(map(len, found.values()))
        compressed += len(content)
        if size >= SHELF_BYTES:
            break
    else:
        if not rows or (compressed < least and len(rows) < MOST_BLOCKS):
            return after
    shelf = pack_shelf(blocks)
    if len(shelf) < compressed:
        connection.execute("DELETE FROM blocks WHERE id >= ? AND id <= ?", (rows[0], rows[-1]))
        connection.execute("INSERT INTO blocks (id, bytes) VALUES (?, ?)", (rows[-1], shelf))
    return rows[-1]
