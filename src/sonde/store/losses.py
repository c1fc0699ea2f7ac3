"""Losses: which events a damaged file had that are not kept, by stream and version, and by writer and number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import apsw

from sonde.store.identities import Run
from sonde.store.rows import fetch

# What an index says of rows that are not kept. A row that is kept elsewhere refutes its entry.
_SETTLE = """DELETE FROM entries WHERE version > position OR stream NOT IN (SELECT id FROM streams)
    OR EXISTS (SELECT 1 FROM kept WHERE position = entries.position)
    OR EXISTS (SELECT 1 FROM kept WHERE stream = entries.stream AND version = entries.version)
    OR version < (SELECT first_version FROM streams WHERE id = entries.stream)"""
_HOLES = """SELECT stream, since, version - 1, before, position FROM (
    SELECT k.stream, k.version, k.position,
        ifnull(lag(k.version) OVER its, s.first_version - 1) + 1 AS since, ifnull(lag(k.position) OVER its, 0) AS before
    FROM kept AS k JOIN streams AS s ON s.id = k.stream WINDOW its AS (PARTITION BY k.stream ORDER BY k.version))
    WHERE version > since ORDER BY position"""
_ENDS = """SELECT id, head, evidence FROM (SELECT s.id,
    ifnull((SELECT max(version) FROM kept WHERE stream = s.id), s.first_version - 1) AS head,
    (SELECT max(version) FROM entries WHERE stream = s.id) AS evidence FROM streams AS s)
    WHERE evidence > head ORDER BY id"""
_VACANT = """SELECT since, position - 1 FROM (
    SELECT position, ifnull(lag(position) OVER (ORDER BY position), 0) + 1 AS since FROM kept) WHERE position > since"""


class Hole(NamedTuple):
    """Versions of a stream that are lost, and the position at which the new file says so; 0: at its end."""

    stream: int
    first: int
    last: int
    position: int

    @property
    def events(self) -> int:
        """How many."""
        return self.last - self.first + 1


def holes(scratch: apsw.Connection, stretches: Iterable[tuple[int, int, int]]) -> list[Hole]:
    """All that is known to be missing, by what is kept and what an index, or a sealed stretch, says was there."""
    for stream, first, last in stretches:
        scratch.execute(
            "INSERT OR IGNORE INTO entries (stream, version, position) SELECT ?1, ?2, -?3 WHERE ?2 >= ?4",
            (stream, last, (stream << 32) + last, first),
        )
    scratch.execute(_SETTLE.replace("version > position", "version > abs(position)"))
    vacant = [(first, last) for first, last in fetch(scratch, _VACANT)]
    firsts = [first for first, _ in vacant]
    found = []
    taken: set[int] = set()
    for stream, first, last, before, position in reversed(fetch(scratch, _HOLES)):
        at = _vacancy(vacant, firsts, taken, position - 1)
        taken.add(at)
        found.append(Hole(stream, first, last, at if at > before else 0))
    found.reverse()
    found += [Hole(stream, head + 1, last, 0) for stream, head, last in fetch(scratch, _ENDS)]
    return found


def _vacancy(vacant: Sequence[Run], firsts: Sequence[int], taken: set[int], position: int) -> int:
    """The highest position up to the given one that no event has; 0 if there is none."""
    index = bisect_right(firsts, position) - 1
    while index >= 0:
        at = min(position, vacant[index][1])
        while at >= vacant[index][0]:
            if at not in taken:
                return at
            at -= 1
        index -= 1
    return 0


def without(ranges: Iterable[Run], numbers: Iterable[Run]) -> list[Run]:
    """Ranges less other ranges; both may overlap.

    >>> without([(1, 10), (8, 12)], [(3, 4), (9, 9)])
    [(1, 2), (5, 8), (10, 12)]
    """
    found = []
    taken = iter(merged(numbers))
    current = next(taken, None)
    for first, last in merged(ranges):
        at = first
        while current is not None and current[1] < at:
            current = next(taken, None)
        while current is not None and current[0] <= last:
            if current[0] > at:
                found.append((at, current[0] - 1))
            at = current[1] + 1
            if current[1] > last:
                break
            current = next(taken, None)
        if at <= last:
            found.append((at, last))
    return found


def merged(ranges: Iterable[Run]) -> list[Run]:
    """Ranges as few, ascending ones.

    >>> merged([(4, 5), (1, 3), (2, 2), (9, 9)])
    [(1, 5), (9, 9)]
    """
    found: list[Run] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def size(ranges: Iterable[Run]) -> int:
    """How many numbers disjoint ranges have."""
    return sum(last - first + 1 for first, last in ranges)


def unseen(
    seen: Mapping[str, Sequence[Run]], kept: Mapping[str, Sequence[Run]], *, has_removed: bool
) -> dict[str, list[Run]]:
    """By writer, the numbers that the file had and that are not kept.

    Where retention has removed events, what lies below the first that is kept counts as removed by it.
    """
    found = {}
    for writer_id, ranges in seen.items():
        there = kept.get(writer_id, ())
        low = min((first for first, _ in there), default=1 << 63) if has_removed else -(1 << 63)
        if missing := without(ranges, [*there, (-(1 << 63), low - 1)]):
            found[writer_id] = missing
    return found
