"""Collection: blocks go when no event and no other block names them.

A few in a transaction; a crash leaves the rest to the next time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

import apsw

from sonde.store.block import NODE, TEXT, Entry, neighbours
from sonde.store.contents import count_uses
from sonde.store.piece import DIGEST_BYTES, digest_of_text
from sonde.store.rows import fetch
from sonde.store.shelving import read_block, read_row, remove_blocks

_RELEASE = """INSERT INTO uses (block, count) SELECT data >> 16, -count(*) FROM events
    WHERE stream = ? AND version < ? AND typeof(data) = 'integer' GROUP BY 1
    ON CONFLICT DO UPDATE SET count = count + excluded.count"""
_UNUSED = "SELECT block FROM uses WHERE count <= 0 ORDER BY block LIMIT ?"
_UNUSED_OF = "SELECT block FROM uses WHERE count <= 0 AND block IN (SELECT value FROM json_each(?))"
# Numbers follow the last one that is there; when that goes it must not be given again. And who remembers places learns
# that some have gone.
_NOTE = """UPDATE retention SET collections = collections + 1,
    block_floor = max(block_floor, ifnull((SELECT max(id) FROM blocks), 0))"""
_FORGET = "DELETE FROM pieces WHERE digest = ? AND place >> 16 = ?"
_FORGET_ALL = "DELETE FROM pieces WHERE place >> 16 = ?"


def release(connection: apsw.Connection, stream: int, before_version: int) -> None:
    """The events of a stream below a version are about to go: their blocks lose a use each."""
    connection.execute(_RELEASE, (stream, before_version))


def collect_some(connection: apsw.Connection, *, most: int) -> bool:
    """Remove blocks that nothing names; whether none are left. Inside the caller's transaction.

    ``most`` of them, and with each all that are unused on its shelf: to take one off means to pack the shelf anew,
    which takes ten times as long as all else.
    """
    blocks = [block for (block,) in fetch(connection, _UNUSED, (most,))]
    if not blocks:
        return True
    connection.execute(_NOTE)
    gone: set[int] = set()
    for block in blocks:
        if block not in gone:
            gone |= _forget_row(connection, block)
    remove_blocks(connection, gone)
    return False


def _forget_row(connection: apsw.Connection, block: int) -> set[int]:
    """Forget a block, and what else is unused in its row, or is once they are gone; says which."""
    try:
        row = read_row(connection, block)
    except ValueError:  # one of them is damaged
        _forget(connection, block, _entries_of(connection, block))
        return {block}
    gone: set[int] = set()
    unused: Iterable[int] = (block,)
    while unused:
        for one in unused:
            _forget(connection, one, row[one])
            gone.add(one)
        left = [one for one in row if one not in gone]
        unused = [one for (one,) in fetch(connection, _UNUSED_OF, (json.dumps(left),))]
    return gone


def _entries_of(connection: apsw.Connection, block: int) -> Sequence[Entry] | None:
    try:
        return read_block(connection, block)
    except ValueError:
        return None


def _forget(connection: apsw.Connection, block: int, entries: Sequence[Entry] | None) -> None:
    """``None``, and what cannot be read: what it named keeps a use too many, which wastes space and harms nobody."""
    try:
        named = neighbours(entries or (), block)
    except ValueError:
        entries, named = None, set()
    if entries is None:
        connection.execute(_FORGET_ALL, (block,))
    for entry in entries or ():
        if entry.kind == TEXT:
            connection.execute(_FORGET, (digest_of_text(entry.body), block))
        elif entry.kind == NODE:
            connection.execute(_FORGET, (entry.body[:DIGEST_BYTES], block))
    count_uses(connection, Counter(dict.fromkeys(named, -1)))
    connection.execute("DELETE FROM uses WHERE block = ?", (block,))
