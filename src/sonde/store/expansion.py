"""Expansion: from a place to the text that it stands for. The caller reads rows and blocks in one transaction."""

from __future__ import annotations

import apsw

from sonde.store.block import NODE, TEXT, Entry, block_of, number_of, parts_of
from sonde.store.recent import Recent
from sonde.store.shelving import ContentDamageError, read_row

CACHE_BYTES = 16 * 1024 * 1024
_ENTRY_BYTES = 150  # what Python needs for each
_MAX_BYTES = 1 << 30  # of one text: SQLite's own limit
_DEEPEST = 100  # ours are some ten levels deep


class ContentReader:
    """Expands places. Thread-safe; keeps what was read last, 16 MB of it, so that a stream reads a block once.

    A block is never changed, and its number never given again: what is kept stays true.
    """

    def __init__(self, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.blocks_read = 0
        self._blocks = Recent[list[Entry]](cache_bytes // 2)
        self._nodes = Recent[bytes](cache_bytes // 2)  # by place: a list that grows is made of what was read just now

    def expand(self, connection: apsw.Connection, place: int) -> bytes:
        """The whole text at a place.

        Raises:
            ContentDamageError: it is not there any more.
        """
        return self._expand(connection, place, 0)

    def _expand(self, connection: apsw.Connection, place: int, depth: int) -> bytes:
        text = self._nodes.get(place)
        if text is not None:
            return text
        block, number = block_of(place), number_of(place)
        entries = self._entries(connection, block)
        if number >= len(entries):
            raise ContentDamageError(f"content block {block} has {len(entries)} pieces, none with number {number}")
        entry = entries[number]
        if entry.kind == TEXT:
            return entry.body
        try:
            text = self._joined(connection, entry, place, depth)
        except ContentDamageError:
            raise
        except ValueError as error:
            raise ContentDamageError(f"content block {block}: piece {number} cannot be read: {error}") from None
        if entry.kind == NODE:
            self._nodes.put(place, text, len(text) + _ENTRY_BYTES)
        return text

    def _joined(self, connection: apsw.Connection, entry: Entry, place: int, depth: int) -> bytes:
        found: list[bytes] = []
        size = 0
        for part in parts_of(entry.recipe, block_of(place)):
            if isinstance(part, bytes):
                text = part
            elif part < place and depth < _DEEPEST:
                text = self._expand(connection, part, depth + 1)
            else:
                raise ValueError("it refers to what comes later, or too deep")
            found.append(text)
            size += len(text)
            if size > _MAX_BYTES:
                raise ValueError(f"it stands for more than {_MAX_BYTES} bytes")
        return b"".join(found)

    def _entries(self, connection: apsw.Connection, block: int) -> list[Entry]:
        entries = self._blocks.get(block)
        if entries is None:
            self.blocks_read += 1
            found = read_row(connection, block)
            entries = found[block]
            for number, its in found.items():
                self._blocks.put(number, its, sum(len(entry.body) + _ENTRY_BYTES for entry in its))
        return entries
