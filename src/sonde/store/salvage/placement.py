"""Placement: where each sound row stands, its stream, version and position, which its checksum doesn't cover.

Two say so: the row, and the index of streams and versions. Where both agree it is sure. Where only the row says it,
its neighbours must bear it out: versions of a stream rise with positions, and never faster. Where the two differ, what
leaves the smaller hole is believed; where nothing fits, nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import apsw

from sonde.store.rows import fetch

_TABLE = """CREATE TABLE kept (
    position INTEGER PRIMARY KEY, stream INTEGER, version INTEGER, n INTEGER, UNIQUE (stream, version))"""
_KEEP = "INSERT OR IGNORE INTO kept (position, stream, version, n) VALUES (?, ?, ?, ?)"
_CONFIRMED = """INSERT OR IGNORE INTO kept (position, stream, version, n)
    SELECT p.position, p.stream, p.version, p.n FROM placed_at AS p WHERE p.is_sound AND (p.weight > 2 OR EXISTS (
        SELECT 1 FROM entries AS e WHERE e.position = p.position AND e.stream = p.stream AND e.version = p.version))
    ORDER BY p.weight DESC, p.n"""
_STATED = """SELECT p.stream, p.position, p.version, p.n, 0 FROM placed_at AS p WHERE p.is_sound
    AND NOT EXISTS (SELECT 1 FROM kept WHERE position = p.position)
    AND NOT EXISTS (SELECT 1 FROM kept WHERE stream = p.stream AND version = p.version)
    AND NOT EXISTS (SELECT 1 FROM entries WHERE position = p.position)
    AND NOT EXISTS (SELECT 1 FROM entries WHERE stream = p.stream AND version = p.version)"""
_WITH_NEIGHBOURS = f"""SELECT stream, position, version, n, 1 FROM kept
    WHERE stream IN (SELECT stream FROM ({_STATED})) UNION ALL {_STATED} ORDER BY 1, 2, 5 DESC"""
_LEFT = """SELECT p.n, p.position, p.stream, p.version FROM placed_at AS p
    WHERE p.is_sound AND NOT EXISTS (SELECT 1 FROM kept WHERE n = p.n) ORDER BY p.weight DESC, p.n"""
_IS_KNOWN = """SELECT 1 FROM kept AS k JOIN events AS there ON there.position = k.n
    JOIN events AS e ON e.position = ?3 WHERE (k.position = ?1 OR (k.stream = ?2 AND k.version = ?4))
    AND there.seq = e.seq AND there.origin = e.origin LIMIT 1"""
_BEFORE = "SELECT position, version FROM kept WHERE stream = ? AND version < ? ORDER BY version DESC LIMIT 1"
_BEHIND = "SELECT position, version FROM kept WHERE stream = ? AND version > ? ORDER BY version LIMIT 1"


class _Place(NamedTuple):
    """Of a row in its stream, and whether that is sure."""

    position: int
    version: int
    n: int
    is_sure: int


def place(scratch: apsw.Connection) -> list[int]:
    """Fill ``kept`` of a scratch file; says which sound rows have no place."""
    scratch.execute(_TABLE)
    scratch.execute("CREATE INDEX kept_n ON kept (n)")
    scratch.execute("CREATE INDEX entries_key ON entries (stream, version)")
    scratch.execute(_CONFIRMED)
    believed = []
    for stream, rows in groupby(scratch.execute(_WITH_NEIGHBOURS), itemgetter(0)):
        chain = _chain([_Place(*row[1:]) for row in rows])
        believed += [(found.position, stream, found.version, found.n) for found in chain if not found.is_sure]
    scratch.executemany(_KEEP, believed)
    lost = []
    for n, position, stream, version in fetch(scratch, _LEFT):
        if fetch(scratch, _IS_KNOWN, (position, stream, n, version)):
            continue  # another image of what is kept
        best = min(_fitting(scratch, position, stream, version), default=None)
        if best is None:
            lost.append(n)
        else:
            scratch.execute(_KEEP, (*best[2:], n))
    return lost


def _chain(places: list[_Place]) -> list[_Place]:
    """The places that bear each other out; what is sure stays."""
    chain: list[_Place] = []
    for index, found in enumerate(places):
        following = places[index + 1] if index + 1 < len(places) else None
        while chain and not _fits(chain[-1], found):
            last = chain[-1]
            if found.is_sure and not last.is_sure:
                chain.pop()
                continue
            if found.is_sure == last.is_sure == 0 and _is_odd(last, chain[:-1][-1:], found, following):
                chain.pop()
                continue
            break
        if not chain or found.is_sure or _fits(chain[-1], found):
            chain.append(found)
    return chain


def _is_odd(last: _Place, before: list[_Place], found: _Place, following: _Place | None) -> bool:
    """Of two that contradict each other, whether the first is wrong: without it all fits, with it the next doesn't."""
    if before and not _fits(before[0], found):
        return False
    return following is not None and _fits(found, following) and not _fits(last, following)


def _fits(first: _Place, second: _Place) -> bool:
    return first.version < second.version and second.version - first.version <= second.position - first.position


def _fitting(
    scratch: apsw.Connection, position: int, stream: int, version: int
) -> Iterator[tuple[int, int, int, int, int]]:
    """The places that a row may have: how many versions each leaves out, its rank, position, stream and version."""
    options = [(position, stream, version)]
    options += [
        (position, *key)
        for key in fetch(scratch, "SELECT stream, version FROM entries WHERE position = ?", (position,))
    ]
    options += [
        (at, stream, version)
        for (at,) in fetch(scratch, "SELECT position FROM entries WHERE stream = ? AND version = ?", (stream, version))
    ]
    for rank, (at, its, number) in enumerate(options):
        if fetch(scratch, "SELECT 1 FROM kept WHERE position = ? OR (stream = ? AND version = ?)", (at, its, number)):
            continue
        if not fetch(scratch, "SELECT 1 FROM streams WHERE id = ?", (its,)):
            continue
        ((before, lower),) = fetch(scratch, _BEFORE, (its, number)) or [(0, 0)]
        behind = fetch(scratch, _BEHIND, (its, number))
        if not _fits(_Place(before, lower, 0, 1), _Place(at, number, 0, 0)):
            continue
        if behind and not _fits(_Place(at, number, 0, 0), _Place(behind[0][0], behind[0][1], 0, 1)):
            continue
        yield number - lower, rank, at, its, number
