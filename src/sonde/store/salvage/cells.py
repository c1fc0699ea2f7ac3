"""Cells: rows and keys out of a page's image, whatever state the page is in.

Source: https://www.sqlite.org/fileformat2.html, "B-tree Pages" and "Record Format".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

INDEX_NODE, TABLE_NODE, INDEX_LEAF, TABLE_LEAF = 2, 5, 10, 13

_HEADER_BYTES = {INDEX_NODE: 12, TABLE_NODE: 12, INDEX_LEAF: 8, TABLE_LEAF: 8}
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)
_NUMBER_BITS = 64
_MAX_COLUMNS = 64  # ours have ten at most

Overflow = Callable[[int, int], bytes]
"""From the number of a page, and of bytes, to the bytes that begin there."""


class Cell(NamedTuple):
    """A row of a table with its number, or a key of an index with 0."""

    rowid: int
    values: tuple[Any, ...]


def kind_of(image: bytes, page: int) -> int:
    """What kind of b-tree page it claims to be; 0: none."""
    start = 100 if page == 1 else 0
    return image[start] if image[start] in _HEADER_BYTES else 0


def cells_of(image: bytes, page: int, overflow: Overflow) -> Iterator[Cell | None]:
    """The cells of a leaf, or of a node of an index; ``None`` for each that cannot be read."""
    kind = kind_of(image, page)
    read = table_cell if kind == TABLE_LEAF else _node_key if kind == INDEX_NODE else _leaf_key
    for at in _pointers(image, page):
        try:
            yield read(image, at, overflow)
        except (ValueError, IndexError, struct.error):
            yield None


def children_of(image: bytes, page: int) -> list[int]:
    """The pages below a node."""
    start = 100 if page == 1 else 0
    found = [int.from_bytes(image[at : at + 4], "big") for at in _pointers(image, page)]
    return [*found, int.from_bytes(image[start + 8 : start + 12], "big")]


def hidden_cells(image: bytes, overflow: Overflow) -> Iterator[Cell]:
    """Whatever reads as a row of a table at any byte. Much of it is none: for rows that carry a checksum."""
    for at in range(8, len(image) - 4):
        try:
            yield table_cell(image, at, overflow)
        except (ValueError, IndexError, struct.error):
            continue


def hidden_keys(image: bytes, overflow: Overflow) -> Iterator[Cell]:
    """The same, of a leaf of an index: whatever reads as a key."""
    for at in range(8, len(image) - 4):
        try:
            yield _leaf_key(image, at, overflow)
        except (ValueError, IndexError, struct.error):
            continue


def table_cell(image: bytes, at: int, overflow: Overflow) -> Cell:
    """The row at a byte.

    Raises:
        ValueError, IndexError, struct.error: there is none.
    """
    size, at = _varint(image, at)
    rowid, at = _varint(image, at)
    if rowid >= 1 << (_NUMBER_BITS - 1):
        rowid -= 1 << _NUMBER_BITS
    return Cell(rowid, _record(_payload(image, at, size, len(image) - 35, overflow)))


def _leaf_key(image: bytes, at: int, overflow: Overflow) -> Cell:
    size, at = _varint(image, at)
    return Cell(0, _record(_payload(image, at, size, (len(image) - 12) * 64 // 255 - 23, overflow)))


def _node_key(image: bytes, at: int, overflow: Overflow) -> Cell:
    return _leaf_key(image, at + 4, overflow)


def _pointers(image: bytes, page: int) -> list[int]:
    start = 100 if page == 1 else 0
    header_bytes = _HEADER_BYTES[image[start]]
    count = int.from_bytes(image[start + 3 : start + 5], "big")
    first = start + header_bytes
    count = min(count, (len(image) - first) // 2)
    return list(struct.unpack_from(f">{count}H", image, first))


def _payload(image: bytes, at: int, size: int, most: int, overflow: Overflow) -> bytes:
    if size <= most:
        if at + size > len(image):
            raise ValueError("it leaves the page")
        return image[at : at + size]
    if size > 1 << 30:
        raise ValueError("it is too large")
    least = (len(image) - 12) * 32 // 255 - 23
    local = least + (size - least) % (len(image) - 4)
    if local > most:
        local = least
    if at + local + 4 > len(image):
        raise ValueError("it leaves the page")
    page = int.from_bytes(image[at + local : at + local + 4], "big")
    return image[at : at + local] + overflow(page, size - local)


def _record(payload: bytes) -> tuple[Any, ...]:
    end, at = _varint(payload, 0)
    if not 1 < end <= len(payload):
        raise ValueError("its header leaves it")
    kinds: list[int] = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != end or len(kinds) > _MAX_COLUMNS:
        raise ValueError("its header has another length")
    values: list[Any] = []
    for kind in kinds:
        if kind >= 12:
            size = (kind - 12) // 2
            content = payload[at : at + size]
            if len(content) != size:
                raise ValueError("a value leaves it")
            values.append(content.decode() if kind & 1 else content)
        elif kind in (8, 9):
            size = 0
            values.append(kind - 8)
        elif kind == 7:
            size = 8
            values.append(struct.unpack_from(">d", payload, at)[0])
        elif kind < 7:
            size = _INTEGER_BYTES[kind]
            if at + size > len(payload):
                raise ValueError("a value leaves it")
            values.append(int.from_bytes(payload[at : at + size], "big", signed=True) if kind else None)
        else:
            raise ValueError("a value of no known kind")
        at += size
    if at != len(payload):
        raise ValueError("it has another length")
    return tuple(values)


def _varint(text: bytes, at: int) -> tuple[int, int]:
    byte = text[at]
    if byte < 0x80:
        return byte, at + 1
    number = byte & 0x7F
    for index in range(at + 1, at + 8):
        byte = text[index]
        if byte < 0x80:
            return number << 7 | byte, index + 1
        number = number << 7 | byte & 0x7F
    return number << 8 | text[at + 8], at + 9
