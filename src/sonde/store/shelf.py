"""Shelf: blocks that follow each other, compressed together and better, in one row of the table ``blocks``.

A writer that commits at once makes small blocks, which compress badly. Nothing about a block changes on a shelf,
neither its number nor its entries, so whatever names it stays true. The row has the number of its last block, so the
row of a block, on a shelf or not, is the first one from its number on. A shelf is bz2 (a block is zlib) of::

    varint  number of blocks
    varint  for each: its number (the first as it is, then the distance); varint length of the block, inflated
    bytes   the blocks, inflated

bz2 leaves 0.90 of what zlib leaves of blocks of 64 kB; it compresses 15 MB and inflates 40 MB a second.
"""

from __future__ import annotations

import bz2
from collections.abc import Mapping

from sonde.store.block import inflate, read_varint, varint

_MARK = b"BZh"
_MAX_BYTES = 1 << 28  # of a shelf that is no bomb; ours are a thousandth of it
_BLOCK_BYTES = 100_000  # of bz2, for each level


def is_shelf(content: object) -> bool:
    """Whether it is a shelf, and not a block."""
    return isinstance(content, bytes) and content[:3] == _MARK


def pack_shelf(blocks: Mapping[int, bytes]) -> bytes:
    """Inflated blocks by number, ascending, as a shelf. The GIL is released while bz2 works."""
    head = bytearray(varint(len(blocks)))
    last = 0
    for number, raw in blocks.items():
        head += varint(number - last)
        head += varint(len(raw))
        last = number
    whole = b"".join([head, *blocks.values()])
    return bz2.compress(whole, min(9, len(whole) // _BLOCK_BYTES + 1))


def unpack_row(number: int, content: object) -> dict[int, bytes]:
    """The blocks of a row of ``blocks``, inflated, by number.

    Raises:
        ValueError: it is damaged.
    """
    if not isinstance(content, bytes):
        raise ValueError(f"it is {type(content).__name__}, expected bytes")
    if not is_shelf(content):
        return {number: inflate(content)}
    inflating = bz2.BZ2Decompressor()
    try:
        whole = inflating.decompress(content, _MAX_BYTES)
    except OSError as error:
        raise ValueError(str(error)) from None
    if not inflating.eof:
        raise ValueError("it ends too early")
    count, at = read_varint(whole, 0)
    places: list[tuple[int, int]] = []
    block = 0
    for _ in range(count):
        distance, at = read_varint(whole, at)
        size, at = read_varint(whole, at)
        block += distance
        places.append((block, size))
    found: dict[int, bytes] = {}
    for block, size in places:
        found[block] = whole[at : at + size]
        at += size
    if at != len(whole):
        raise ValueError(f"its blocks make up {at} bytes, it has {len(whole)}")
    return found
