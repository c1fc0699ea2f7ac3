"""Mending: of a damaged block of large data, the pieces before the damage.

What follows them becomes zero, which the checksum of every event that needs it finds. Of a shelf nothing is mended: its
compression keeps no beginning that can be read by itself.
"""

from __future__ import annotations

import zlib

from sonde.store.block import Entry, pack, read_varint, unpack
from sonde.store.shelf import is_shelf, unpack_row

_STEP_BYTES = 16
_MAX_BYTES = 1 << 26


def blocks_of(number: int, content: bytes) -> tuple[dict[int, bytes], bool]:
    """The blocks of a row of ``blocks``, each by itself, and whether they are as they were written."""
    try:
        found = {block: zlib.compress(raw, 1) for block, raw in unpack_row(number, content).items()}
        for block in found.values():
            unpack(block)
    except ValueError:
        return ({} if is_shelf(content) else _mended(number, content)), False
    return found, True


def _mended(number: int, block: bytes) -> dict[int, bytes]:
    raw = _inflated(block)
    try:
        sizes, at = _sizes(raw)
    except ValueError:
        return {}
    end = at + sum(size >> 2 for size in sizes)
    if not sizes or end > _MAX_BYTES:
        return {}
    raw = raw[:end].ljust(end, b"\0")
    entries = []
    for size in sizes:
        entries.append(Entry(size & 3, raw[at : at + (size >> 2)]))
        at += size >> 2
    return {number: pack(entries, level=1)}


def _inflated(block: bytes) -> bytes:
    inflating = zlib.decompressobj()
    found = bytearray()
    try:
        for start in range(0, len(block), _STEP_BYTES):
            found += inflating.decompress(block[start : start + _STEP_BYTES], _MAX_BYTES)
            if inflating.eof or len(found) > _MAX_BYTES:
                break
    except zlib.error:
        pass  # what came before it is what we want
    return bytes(found)


def _sizes(raw: bytes) -> tuple[list[int], int]:
    """What stands before the entries: length and kind of each. And where they begin."""
    count, at = read_varint(raw, 0)
    sizes = []
    for _ in range(count):
        size, at = read_varint(raw, at)
        sizes.append(size)
    return sizes, at
