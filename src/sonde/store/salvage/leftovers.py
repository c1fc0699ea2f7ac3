"""Leftovers: names and origins that a node of their tree still holds from the time when it was a leaf.

A tree's first page stays its root. When it overflows, SQLite copies its rows to a new page, wherever the file ends by
then, and writes the node over the beginning and the end of the old ones, which otherwise stay as they were. These are
the oldest names, that nearly every event needs: so a cut that takes the new page takes none of them.

A number never stands for anything else later; and what is read here is one candidate more, which only the checksum of
an event can prove. Of streams nothing is taken: no checksum covers their names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from sonde.store.salvage.cells import hidden_cells, hidden_keys

_NAME = (str, int)
_ORIGIN = (int, int, int, int, int)


def left_over(owner: str, image: bytes) -> Iterator[tuple[str, int, Any]]:
    """Table, number and what it stood for, of each row or key that can be read in a node of the tree ``owner``."""
    if owner == "names":
        for cell in hidden_cells(image, _no_overflow):
            if len(cell.values) == 2 and cell.values[0] is None and type(cell.values[1]) is str:
                yield "names", cell.rowid, cell.values[1]
    elif owner == "origins":
        for cell in hidden_cells(image, _no_overflow):
            if cell.values[0] is None and tuple(map(type, cell.values[1:])) == _ORIGIN[1:]:
                yield "origins", cell.rowid, cell.values[1:]
    elif owner == "sqlite_autoindex_names_1":
        for key in hidden_keys(image, _no_overflow):
            if tuple(map(type, key.values)) == _NAME:
                yield "names", key.values[1], key.values[0]
    elif owner == "sqlite_autoindex_origins_1":
        for key in hidden_keys(image, _no_overflow):
            if tuple(map(type, key.values)) == _ORIGIN:
                yield "origins", key.values[4], key.values[:4]


def _no_overflow(_page: int, _size: int) -> bytes:
    raise struct.error("it goes on elsewhere")
