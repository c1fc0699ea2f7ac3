"""Identities kept as ranges behave as a plain set would."""

from __future__ import annotations

import itertools

import apsw
from hypothesis import example, given
from hypothesis import strategies as st

from sonde.store import identities, schema

INT64 = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.one_of(
    st.sets(st.integers(0, 40), min_size=1),  # dense: ranges touch, overlap and merge
    st.sets(st.integers(0, 400), min_size=1, max_size=60),  # many runs: the way of one statement for all
    st.sets(INT64, min_size=1, max_size=30),  # content hashes, and the ends of what 64 bits hold
)


@example([(1, {2**63 - 1}), (1, {2**63 - 2, 2**63 - 1}), (1, {-(2**63)})])
@example([(1, set(range(2**63 - 40, 2**63, 2)) | {2**63 - 1}), (1, set(range(-(2**63), 40 - 2**63, 2)))])
@given(st.lists(st.tuples(st.integers(1, 2), NUMBERS), max_size=12))
def test_ranges_behave_as_a_set(steps: list[tuple[int, set[int]]]) -> None:
    """What was known is said exactly, and the ranges stay disjoint, never adjacent, and as few as can be."""
    connection = apsw.Connection(":memory:")
    schema.create(connection, on_disk=False)
    model: dict[int, set[int]] = {1: set(), 2: set()}
    for writer, numbers in steps:
        assert identities.remember(connection, writer, numbers) == model[writer] & numbers
        model[writer] |= numbers
    for writer, numbers in model.items():
        rows = connection.execute("SELECT first, last FROM seen WHERE writer = ? ORDER BY first", (writer,)).fetchall()
        assert rows == (identities.runs(numbers) if numbers else [])
    connection.close()


@given(st.sets(INT64, min_size=1))
def test_runs_hold_each_number_once(numbers: set[int]) -> None:
    """Runs are ascending, apart from each other, and nothing but the numbers."""
    found = identities.runs(numbers)
    assert sum(last - first + 1 for first, last in found) == len(numbers)
    assert all(first in numbers and last in numbers for first, last in found)
    assert all(one[1] + 1 < other[0] for one, other in itertools.pairwise(found))
