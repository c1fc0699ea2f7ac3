"""Identities: which ``(writer, seq)`` the store has, kept as ranges instead of an index.

A writer counts its events, so what is seen of it is one range that grows, with passing holes where its threads
interleave: a row or a few for the whole set, where an index would cost 13 bytes an event. Random numbers (an importer's
content hashes) make a range each; they are looked up in one statement, never by reading the whole set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import apsw

Run = tuple[int, int]

# More runs than this are looked up and inserted in one statement each: a statement takes the GIL back when it returns,
# and beside a busy thread every such return can cost 5 ms.
_BULK = 8
_INT64_MAX = 2**63 - 1

_TOUCHING = "SELECT first, last FROM seen WHERE writer = ? AND first <= ? ORDER BY first DESC"
# A subquery and not a join: SQLite would look at all ranges for each run.
_TOUCHED = """SELECT key FROM json_each(?2) WHERE (value ->> 0) - 1 <=
    (SELECT last FROM seen WHERE writer = ?1 AND first <= (json_each.value ->> 1) + 1 ORDER BY first DESC LIMIT 1)"""
_RANGES = """SELECT first, last FROM seen WHERE writer = (SELECT id FROM names WHERE name = ?) ORDER BY first"""
_ADD_ALL = "INSERT INTO seen (writer, first, last) SELECT ?1, value ->> 0, value ->> 1 FROM json_each(?2)"
_PUT = "INSERT INTO seen (writer, first, last) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET last = excluded.last"
_REMOVE = "DELETE FROM seen WHERE writer = ? AND first = ?"


def runs(numbers: Iterable[int]) -> list[Run]:
    """Numbers as maximal closed ranges, ascending.

    >>> runs({3, 1, 2, 7})
    [(1, 3), (7, 7)]
    """
    found: list[Run] = []
    ordered = sorted(numbers)
    first = last = ordered[0]
    for number in ordered[1:]:
        if number != last + 1:
            found.append((first, last))
            first = number
        last = number
    found.append((first, last))
    return found


def ranges(connection: apsw.Connection, writer_id: str) -> list[Run]:
    """All that the store has, or had, of a writer."""
    return [(int(first), int(last)) for first, last in connection.execute(_RANGES, (writer_id,))]


def remember(connection: apsw.Connection, writer: int, numbers: set[int]) -> set[int]:
    """Record that the store has ``numbers`` of a writer; says which it had already. Inside the caller's transaction."""
    low, high = min(numbers), max(numbers)
    pending = [(low, high)] if high - low + 1 == len(numbers) else runs(numbers)
    if len(pending) > _BULK:
        touched = {int(key) for (key,) in connection.execute(_TOUCHED, (writer, json.dumps(pending)))}
        apart = [run for index, run in enumerate(pending) if index not in touched]
        if apart:
            connection.execute(_ADD_ALL, (writer, json.dumps(apart)))
        # Runs of one call are never adjacent to each other: what touched nothing before touches nothing put now.
        pending = [pending[index] for index in sorted(touched)]
    known: set[int] = set()
    for run in pending:
        known |= _merge(connection, writer, run)
    return known


def _merge(connection: apsw.Connection, writer: int, run: Run) -> set[int]:
    first, last = run
    low, high = run
    known: set[int] = set()
    absorbed: list[int] = []
    for range_first, range_last in connection.execute(_TOUCHING, (writer, min(high + 1, _INT64_MAX))):
        if range_last < low - 1:
            break
        known.update(range(max(low, range_first), min(high, range_last) + 1))
        absorbed.append(range_first)
        first = min(first, range_first)
        last = max(last, range_last)
    for range_first in absorbed:
        if range_first != first:
            connection.execute(_REMOVE, (writer, range_first))
    if len(known) < high - low + 1:
        connection.execute(_PUT, (writer, first, last))
    return known
