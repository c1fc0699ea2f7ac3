"""Stretches and shelves keep what was put into them, and say so when they cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from sonde.store.block import ROOT, TEXT, Entry, entries_of, inflate, pack
from sonde.store.shelf import is_shelf, pack_shelf, unpack_row
from sonde.store.stretch import pack as pack_rows
from sonde.store.stretch import unpack as unpack_rows

NUMBERS = st.integers(0, 40) | st.integers(-(2**63), 2**63 - 1)
IDS = st.none() | st.sampled_from([b"a" * 32, b"a" * 16 + b"b" * 8, b"c" * 25]) | st.binary(min_size=1) | st.text()
DATA = st.none() | st.text() | NUMBERS.filter(lambda number: number >= 0)
ROWS = st.tuples(*[NUMBERS] * 7, st.integers(-(2**31), 2**31 - 1), IDS.map(lambda ids: ids or None), DATA)


def got(unpack: Callable[..., Any], *given: Any) -> Any:
    """What is unpacked; ``None``: it is refused."""
    try:
        return unpack(*given)
    except ValueError:
        return None


@example([(1, 1, 1, 1, -(2**63), 1, 2**63 - 1, 0, None, None), (2, 1, 2, 1, 2**63 - 1, 1, -(2**63), 0, None, 65_536)])
@given(st.lists(ROWS, min_size=1, max_size=30))
def test_rows_come_back(rows: list[tuple[Any, ...]]) -> None:
    """Whatever the columns of a row can hold."""
    assert unpack_rows(pack_rows(rows)) == rows


@given(st.lists(ROWS, min_size=1, max_size=6), st.data())
def test_damaged_rows_raise(rows: list[tuple[Any, ...]], data: st.DataObject) -> None:
    """A ValueError or, where only what is not compressed is damaged, other rows; the events' checksums find those."""
    packed = bytearray(pack_rows(rows))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    assert got(unpack_rows, bytes(packed)) != rows
    assert got(unpack_rows, bytes(packed[:at])) is None


BLOCKS = st.dictionaries(
    st.integers(1, 2**40),
    st.lists(st.builds(Entry, st.sampled_from([TEXT, ROOT]), st.binary(max_size=300)), max_size=5),
    min_size=1,
    max_size=8,
).map(lambda found: dict(sorted(found.items())))


@given(BLOCKS)
def test_blocks_come_back(blocks: dict[int, list[Entry]]) -> None:
    """From a shelf, and alone."""
    raw = {number: inflate(pack(entries, level=1)) for number, entries in blocks.items()}
    shelf = pack_shelf(raw)
    assert is_shelf(shelf)
    assert {number: entries_of(one) for number, one in unpack_row(max(raw), shelf).items()} == blocks
    for number, entries in blocks.items():
        block = pack(entries, level=1)
        assert not is_shelf(block)
        assert unpack_row(number, block) == {number: raw[number]}


@given(BLOCKS, st.data())
def test_a_damaged_shelf_raises(blocks: dict[int, list[Entry]], data: st.DataObject) -> None:
    """Its checksum finds any change, but in the few bits that only pad its end."""
    raw = {number: inflate(pack(entries, level=1)) for number, entries in blocks.items()}
    shelf = bytearray(pack_shelf(raw))
    at = data.draw(st.integers(0, len(shelf) - 1))
    shelf[at] ^= data.draw(st.integers(1, 255))
    assert got(unpack_row, max(raw), bytes(shelf)) in (None, raw)
    assert got(unpack_row, max(raw), bytes(shelf[:at])) is None
