"""Removal: a stream's beginning, its contents and its space go, in transactions short enough for writers to slip in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apsw

from sonde.store import collection
from sonde.store.contents import count_uses
from sonde.store.rows import HEAD, LAST_POSITION, fetch
from sonde.store.sealing import remove_sealed

_STREAM = f"SELECT id, first_version, {HEAD} FROM streams WHERE name = ?"
# A stretch is rewritten if it is cut: that once, at the goal, and not at each step.
_STRETCH_END = "SELECT last_version + 1 FROM stretches WHERE stream = ? AND first_version < ? AND last_version >= ?"
# Positions are given behind the last one that is there; deleting that one must not give it again.
_NOTE = f"""UPDATE retention SET floor = max(floor, {LAST_POSITION}),
    removed_events = removed_events + ?, removed_streams = removed_streams + ?"""
# The data stands last in a row: to tell its type, each row is looked up.
_LOOK = """SELECT count(typeof(data)) FROM events
    WHERE stream = (SELECT id FROM streams WHERE name = ?) AND version >= ? AND version < ?"""


class Pace:
    """How much one transaction removes, so that a writer waits for some milliseconds at most. For one thread.

    Between two transactions comes a pause, twice as long as the last one took: who waits for the lock asks again every
    millisecond, or later on a busy machine, and would rarely find it free. The agent's own threads gain by it too.
    """

    LONGEST_S = 0.004
    SHORTEST_S = 0.002
    SHORTEST_PAUSE_S = 0.005

    def __init__(self, amount: int, *, least: int, most: int, wait: Callable[[float], object]) -> None:
        """``wait`` sleeps for so many seconds, or for less where it is told to stop."""
        self.amount = amount
        self._least = least
        self._most = most
        self._wait = wait
        self._took_s = 0.0

    @contextmanager
    def step(self) -> Iterator[int]:
        """Give the amount for a transaction, and learn from the time that it takes."""
        began_s = time.perf_counter()
        yield self.amount
        self._took_s = time.perf_counter() - began_s
        if self._took_s > self.LONGEST_S:
            self.amount = max(self._least, self.amount // 2)
        elif self._took_s < self.SHORTEST_S:
            self.amount = min(self._most, self.amount * 3 // 2 + 1)

    def pause(self) -> None:
        """Let others in."""
        self._wait(max(self.SHORTEST_PAUSE_S, 2 * self._took_s))


def remove_some(
    connection: apsw.Connection, stream_id: str, before_version: int, *, rows: int
) -> tuple[int, int, bool]:
    """Remove the first events of a stream: its first version before and after, and whether it is empty now.

    At most ``rows`` of them. Inside the caller's transaction. The stream's first version moves along, so that what is
    gone is on record, and the head stays where it is: versions are never given again.
    """
    found = fetch(connection, _STREAM, (stream_id,))
    if not found:
        return before_version, before_version, True
    number, first, head = found[0]
    goal = min(before_version, head + 1)
    if goal <= first:
        return first, first, first > head
    end = min(goal, first + rows)
    for (stretch_end,) in fetch(connection, _STRETCH_END, (number, end, end)):
        end = min(goal, stretch_end)
    connection.execute(_NOTE, (end - first, end > head))
    sealed = remove_sealed(connection, number, end)
    count_uses(connection, {block: -named for block, named in sealed.items()})
    collection.release(connection, number, end)
    connection.execute("DELETE FROM events WHERE stream = ? AND version < ?", (number, end))
    connection.execute("UPDATE streams SET first_version = ? WHERE id = ?", (end, number))
    return first, end, end > head


def look_at_rows(connection: apsw.Connection, stream_id: str, first: int, end: int) -> None:
    """Look up all rows of a stream from a version to before another: where a page is damaged, SQLite says so."""
    fetch(connection, _LOOK, (stream_id, first, end))


def removed(connection: apsw.Connection) -> tuple[int, int]:
    """How many events retention has removed since the file was made, and how many sessions as a whole."""
    ((events, streams),) = fetch(connection, "SELECT removed_events, removed_streams FROM retention")
    return int(events), int(streams)


def used_bytes(connection: apsw.Connection) -> tuple[int, int]:
    """What the content takes in the file, and what is free in it."""
    ((pages,),) = fetch(connection, "PRAGMA page_count")
    ((free,),) = fetch(connection, "PRAGMA freelist_count")
    ((page_bytes,),) = fetch(connection, "PRAGMA page_size")
    return (pages - free) * page_bytes, free * page_bytes


def give_back_some(connection: apsw.Connection, *, pages: int) -> bool:
    """Give free pages back to the file system; says whether there are none left.

    Each step of the pragma frees one page, and leaving off its cursor leaves off the rest: hence the loop to the end.
    """
    for _ in connection.execute(f"PRAGMA incremental_vacuum({pages})"):
        pass
    ((free,),) = fetch(connection, "PRAGMA freelist_count")
    return bool(free == 0)


def truncate_log(connection: apsw.Connection) -> None:
    """Put the write-ahead log into the file and cut it, if nobody reads just now: only then does the file shrink."""
    connection.set_busy_timeout(100)
    try:
        fetch(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    except apsw.BusyError:  # a reader: the next checkpoint does it
        return
