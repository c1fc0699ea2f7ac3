"""Contents: large data into blocks of pieces, each of which a file has once. Inside the caller's transaction.

An event's data becomes a place. A block counts the events and the other blocks that name it, and goes when none does:
see :mod:`sonde.store.collection`. Numbers of blocks are never given again, so what has been read of one stays true;
places that a writer remembers may go, and ``collections`` in the file tells when any did.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import apsw

from sonde.store.block import MAX_ENTRIES, NODE, ROOT, TEXT, Entry, block_of, neighbours, pack, place_of, recipe
from sonde.store.cutting import Cutter
from sonde.store.piece import Part, Piece
from sonde.store.rows import fetch

LARGE = 512
"""Bytes of JSON from which an event's data is stored as pieces."""

# Blocks are compressed and read as a whole. Of what is small, level 6 saves a few per cent more than level 1, and takes
# three times as long: a writer that has much to write must not fall behind for them.
_BLOCK_BYTES = 65_536
_THOROUGH_BELOW = 4 * _BLOCK_BYTES
_THOROUGH, _FAST = 6, 1

_STATE = """SELECT max(ifnull((SELECT max(id) FROM blocks), 0), block_floor), collections FROM retention"""
_FIND = "SELECT digest, place FROM pieces WHERE digest IN (SELECT unhex(value) FROM json_each(?))"
_ADD_BLOCK = "INSERT INTO blocks (id, bytes) VALUES (?, ?)"
# Not new if the file is damaged: its node names a text that it doesn't know.
_ADD_PIECES = "INSERT OR IGNORE INTO pieces (digest, place) SELECT unhex(key), value FROM json_each(?)"
# The subquery's WHERE keeps SQLite from taking ON for a join's.
_COUNT = """INSERT INTO uses (block, count) SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true
    ON CONFLICT DO UPDATE SET count = count + excluded.count"""


class _Packing:
    """Blocks in the making."""

    def __init__(self, last_block: int) -> None:
        self.blocks: dict[int, list[Entry]] = {}
        self.stored: dict[str, int] = {}  # places of new pieces, by digest
        self._last = last_block
        self._size = _BLOCK_BYTES

    def put_root(self, parts: Sequence[Part]) -> int:
        """The place of an event's data."""
        self._put_all(parts)
        return self._put(ROOT, parts, b"")

    def _put_all(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if isinstance(part, Piece) and part.place is None:
                if part.parts:
                    self._put_all(part.parts)
                    part.place = self._put(NODE, part.parts, part.digest)
                else:
                    part.place = self._put(TEXT, (), part.text)
                self.stored[part.digest.hex()] = part.place

    def _put(self, kind: int, parts: Sequence[Part], head: bytes) -> int:
        # The recipe of a node or root is written for the block that it goes to, behind what it names.
        if self._size >= _BLOCK_BYTES or len(self.blocks[self._last]) == MAX_ENTRIES:
            self._last += 1
            self.blocks[self._last] = []
            self._size = 0
        body = head + recipe(parts, self._last)
        entries = self.blocks[self._last]
        entries.append(Entry(kind, body))
        self._size += len(body)
        return place_of(self._last, len(entries) - 1)


class ContentWriter:
    """Stores large data. Not thread-safe: used under the write lock."""

    def __init__(self) -> None:
        self._cutter = Cutter()
        self._collections = -1

    def store(self, connection: apsw.Connection, texts: Sequence[bytes]) -> list[int]:
        """The places of JSON texts. Each is named by one event, which the caller writes."""
        ((last_block, collections),) = fetch(connection, _STATE)
        if collections != self._collections:
            self._cutter.forget()
            self._collections = collections
        roots = [self._cutter.cut(text) for text in texts]
        self._find(connection, self._cutter.fresh)
        packing = _Packing(last_block)
        places = [packing.put_root(parts) for parts in roots]
        self._write(connection, packing.blocks)
        if packing.stored:
            connection.execute(_ADD_PIECES, (json.dumps(packing.stored),))
        uses = Counter(block_of(place) for place in places)
        for block, entries in packing.blocks.items():
            uses.update(neighbours(entries, block))
        count_uses(connection, uses)
        return places

    def settle(self, *, committed: bool) -> None:
        """The transaction is over: remember what it stored, or forget."""
        self._cutter.settle(committed=committed)

    def _find(self, connection: apsw.Connection, pieces: Sequence[Piece]) -> None:
        if pieces:
            by_digest = {piece.digest: piece for piece in pieces}
            digests = json.dumps([digest.hex() for digest in by_digest])
            for digest, place in fetch(connection, _FIND, (digests,)):
                by_digest[digest].place = place

    def _write(self, connection: apsw.Connection, blocks: Mapping[int, Sequence[Entry]]) -> None:
        size = sum(len(entry.body) for entries in blocks.values() for entry in entries)
        level = _THOROUGH if size < _THOROUGH_BELOW else _FAST
        for block, entries in blocks.items():
            connection.execute(_ADD_BLOCK, (block, pack(entries, level=level)))


def count_uses(connection: apsw.Connection, uses: Mapping[int, int]) -> None:
    """Add to the number of events and blocks that name each block, or take off."""
    if uses:
        connection.execute(_COUNT, (json.dumps(list(uses.items())),))
