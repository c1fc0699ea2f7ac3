"""Retention: removing a stream's beginning, in transactions short enough for writers to slip in between."""

from __future__ import annotations

import apsw

from sonde.store import collection
from sonde.store.rows import fetch

ROWS_PER_TRANSACTION = 5_000
_PAGES_PER_TRANSACTION = 1_000

_STREAM = """SELECT id, first_version,
        max(first_version - 1, ifnull((SELECT max(version) FROM events WHERE stream = id), 0))
    FROM streams WHERE name = ?"""
# Positions are given behind the last one that is there; deleting that one must not give it again.
_KEEP_FLOOR = "UPDATE retention SET floor = max(floor, ifnull((SELECT max(position) FROM events), 0))"


def remove_some(connection: apsw.Connection, stream_id: str, before_version: int) -> tuple[int, bool]:
    """Remove the first events of a stream; says how many, and whether all below the version are gone.

    Inside the caller's transaction. The stream's first version moves along, so that what is gone is on record, and the
    head stays where it is: versions are never given again.
    """
    rows = fetch(connection, _STREAM, (stream_id,))
    if not rows:
        return 0, True
    number, first, head = rows[0]
    goal = min(before_version, head + 1)
    if goal <= first:
        return 0, True
    end = min(goal, first + ROWS_PER_TRANSACTION)
    connection.execute(_KEEP_FLOOR)
    collection.release(connection, number, end)
    connection.execute("DELETE FROM events WHERE stream = ? AND version < ?", (number, end))
    removed = connection.changes()
    connection.execute("UPDATE streams SET first_version = ? WHERE id = ?", (end, number))
    return removed, end == goal


def give_back_some(connection: apsw.Connection) -> bool:
    """Give free pages back to the file system; says whether there are none left.

    Each step of the pragma frees one page, and leaving off its cursor leaves off the rest: hence the loop to the end.
    """
    for _ in connection.execute(f"PRAGMA incremental_vacuum({_PAGES_PER_TRANSACTION})"):
        pass
    ((free,),) = fetch(connection, "PRAGMA freelist_count")
    return bool(free == 0)
