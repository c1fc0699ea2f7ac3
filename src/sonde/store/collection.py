"""Collection: blocks go when no event and no other block names them.

A few in a transaction; a crash leaves the rest to the next time.
"""

from __future__ import annotations

from collections import Counter

import apsw

from sonde.store.block import NODE, TEXT, neighbours
from sonde.store.contents import count_uses
from sonde.store.piece import DIGEST_BYTES, digest_of_text
from sonde.store.rows import fetch
from sonde.store.shelving import read_block, remove_blocks

_RELEASE = """INSERT INTO uses (block, count) SELECT data >> 16, -count(*) FROM events
    WHERE stream = ? AND version < ? AND typeof(data) = 'integer' GROUP BY 1
    ON CONFLICT DO UPDATE SET count = count + excluded.count"""
_UNUSED = "SELECT block FROM uses WHERE count <= 0 LIMIT ?"
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
    """Remove blocks that nothing names, ``most`` at a time; whether none are left. Inside the caller's transaction."""
    blocks = [block for (block,) in fetch(connection, _UNUSED, (most,))]
    if not blocks:
        return True
    connection.execute(_NOTE)
    for block in blocks:
        _forget(connection, block)
    remove_blocks(connection, blocks)
    return False


def _forget(connection: apsw.Connection, block: int) -> None:
    try:
        entries = read_block(connection, block)
        named = neighbours(entries, block)
    except ValueError:  # damaged: what it named keeps a use too many, which wastes space and harms nobody
        connection.execute(_FORGET_ALL, (block,))
    else:
        for entry in entries:
            if entry.kind == TEXT:
                connection.execute(_FORGET, (digest_of_text(entry.body), block))
            elif entry.kind == NODE:
                connection.execute(_FORGET, (entry.body[:DIGEST_BYTES], block))
        count_uses(connection, Counter(dict.fromkeys(named, -1)))
    connection.execute("DELETE FROM uses WHERE block = ?", (block,))
