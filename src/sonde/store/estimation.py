"""Estimation: what streams take in the file, about, and so what it gives back when they go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import apsw

from sonde.store.block import NODE, TEXT, block_of, neighbours
from sonde.store.connections import snapshot
from sonde.store.rows import fetch
from sonde.store.sealing import StretchDamageError, StretchReader
from sonde.store.shelving import SizedBlock, read_sized

_ROW_BYTES = 75  # a row without its data, and its place in the index
_PIECE_BYTES = 30  # a row of ``pieces``
_STREAM = "SELECT id FROM streams WHERE name = ?"
_INLINE = """SELECT count(*), sum(CASE typeof(data) WHEN 'text' THEN length(data) END) FROM events WHERE stream = ?"""
_NAMED = "SELECT data >> 16, count(*) FROM events WHERE stream = ? AND typeof(data) = 'integer' GROUP BY 1"
_SEALED = "SELECT sum(length(bytes)) FROM stretches WHERE stream = ?"
_USES = "SELECT block, count FROM uses WHERE block IN (SELECT value FROM json_each(?))"


class Estimation:
    """Of streams that go one after another. For one thread.

    Large data counts where the last one that names it goes, as it is collected: what others name, events that stay or
    blocks that do, is no gain. So it reads the blocks that would go, as removing them does.
    """

    def __init__(self, reading: Callable[[], AbstractContextManager[apsw.Connection]]) -> None:
        """``reading`` lends a connection."""
        self._reading = reading
        self._left: dict[int, int] = {}  # by block: how many would still name it
        self._row: dict[int, SizedBlock] = {}

    def bytes_of(self, stream_id: str) -> int:
        """What its events take, and the large data that would go with them, in bytes. Blocks on I/O."""
        with self._reading() as connection, snapshot(connection):
            found = fetch(connection, _STREAM, (stream_id,))
            if not found:
                return 0
            stream = found[0][0]
            ((rows, inline),) = fetch(connection, _INLINE, (stream,))
            ((sealed,),) = fetch(connection, _SEALED, (stream,))
            named = Counter(dict(fetch(connection, _NAMED, (stream,))))
            named.update(_named_sealed(connection, stream))
        return int(rows * _ROW_BYTES + (inline or 0) + (sealed or 0)) + self._collected(named)

    def _collected(self, named: Counter[int]) -> int:
        """The bytes of all blocks that go when those named lose as many uses, and of what they alone name in turn."""
        size_bytes = 0
        while named:
            unknown = [block for block in named if block not in self._left]
            with self._reading() as connection:
                self._left.update(fetch(connection, _USES, (json.dumps(unknown),)))
            gone = []
            for block, uses in named.items():
                if self._left.get(block, 0) > 0:
                    self._left[block] -= uses
                    if self._left[block] <= 0:
                        gone.append(block)
            named = Counter()
            for block in sorted(gone):  # the blocks of a shelf one after the other: each is read once
                try:
                    entries, its_bytes = self._read(block)
                    named.update(neighbours(entries, block))
                except ValueError:  # an estimate does without
                    continue
                size_bytes += its_bytes + _PIECE_BYTES * sum(entry.kind in (TEXT, NODE) for entry in entries)
        return size_bytes

    def _read(self, block: int) -> SizedBlock:
        if block not in self._row:
            with self._reading() as connection:
                self._row = read_sized(connection, block)
        return self._row[block]


def _named_sealed(connection: apsw.Connection, stream: int) -> Counter[int]:
    """The blocks that a stream's sealed events name, each as often as it is."""
    named: Counter[int] = Counter()
    reader = StretchReader()
    version = 0
    while (stretch := reader.of_stream(connection, stream, version)) is not None:
        version = stretch.last_version + 1
        try:
            named.update(block_of(row[-1]) for row in reader.rows(connection, stretch) if type(row[-1]) is int)
        except StretchDamageError:  # an estimate does without
            continue
    return named
