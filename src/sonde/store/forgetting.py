"""Forgetting: names, origins, writers and streams go when nothing names them any more, so that nothing grows for ever.

What is looked for is what no event refers to. That takes a look at all events, which is made without the write lock, in
pieces; a transaction then looks again at what has been written since. Numbers are never given again: the row with the
highest one stays, and SQLite counts on from there. Readers may therefore remember what they like; ``forgotten`` in the
file tells writers to ask again for the numbers of their names.

Two things are kept for a while after their last event: a stream (versions go on where they ended) and a writer (what it
wrote is not taken in a second time), the newest ones. Older ones may begin anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import apsw

from sonde.store.attachment import Attachment
from sonde.store.connections import snapshot, transaction
from sonde.store.removal import Pace
from sonde.store.rows import LAST_POSITION, fetch

KEPT_STREAMS = 1_000
KEPT_RANGES = 10_000
"""How many emptied streams are remembered, and how many ranges of numbers of writers without events."""

_POSITIONS = 50_000

_BOUNDS = f"""SELECT {LAST_POSITION}, ifnull((SELECT max(id) FROM origins), 0),
    ifnull((SELECT max(id) FROM names), 0), ifnull((SELECT max(id) FROM streams), 0)"""
_FIRST = "SELECT min(position) FROM events WHERE position > ?"
_USED = "SELECT DISTINCT origin, type FROM events WHERE position > ? AND position <= ?"
_USED_SINCE = "SELECT DISTINCT origin, type FROM events WHERE position > ?"
_USED_SEALED = "SELECT origins, types FROM stretches WHERE id > ?"
_ORIGINS = "SELECT id, session, plan, task, writer FROM origins"
_WRITERS = """SELECT n.id, n.name, (SELECT count(*) FROM seen WHERE writer = n.id) FROM names AS n
    WHERE EXISTS (SELECT 1 FROM seen WHERE writer = n.id) OR EXISTS (SELECT 1 FROM writers WHERE writer = n.id)
    ORDER BY n.id DESC"""
_IS_EMPTY = """NOT EXISTS (SELECT 1 FROM events WHERE stream = streams.id)
    AND NOT EXISTS (SELECT 1 FROM stretches WHERE stream = streams.id)"""
_EMPTY = f"SELECT id FROM streams WHERE {_IS_EMPTY} ORDER BY id DESC LIMIT -1 OFFSET ?"
_LISTED = "(SELECT value FROM json_each(?))"
_FORGOTTEN = "UPDATE retention SET forgotten = forgotten + 1"


class Forgetting:
    """One look, and what follows from it. For one thread.

    ``living`` are the writers that live, or may: their numbers stay whatever else happens.
    """

    def __init__(
        self,
        attached: Callable[[], Attachment],
        *,
        living: Collection[str],
        pace: Pace,
        is_stopped: Callable[[], bool],
        kept_streams: int = KEPT_STREAMS,
        kept_ranges: int = KEPT_RANGES,
    ) -> None:
        """Do nothing yet."""
        self._attached = attached
        self._living = living
        self._pace = pace
        self._is_stopped = is_stopped
        self._kept_streams = kept_streams
        self._kept_ranges = kept_ranges

    def run(self) -> bool:
        """Remove what nothing names, some at a time; whether it was done to the end."""
        with self._attached().reading() as connection:
            ((last, last_origin, last_name, last_stream),) = fetch(connection, _BOUNDS)
        used = self._used(last)
        if used is None:
            return False
        used_origins, used_types = used
        with self._attached().reading() as connection, snapshot(connection):
            origins = fetch(connection, _ORIGINS)
            gone = [row[0] for row in origins if 0 < row[0] < last_origin and row[0] not in used_origins]
            kept = set(gone)
            named = {name for row in origins if row[0] not in kept for name in row[1:]} | used_types
            writers = self._gone_writers(connection, named, last_name)
            listed = {row[0] for row in fetch(connection, _WRITERS)} - set(writers)
            names = [
                number
                for (number,) in fetch(connection, "SELECT id FROM names WHERE id < ? AND id > 0", (last_name,))
                if number not in named and number not in listed
            ]
            streams = [n for (n,) in fetch(connection, _EMPTY, (self._kept_streams,)) if n < last_stream]
        # In this order: each is looked at once more, and then nothing that is left names it.
        seen = (last_origin, json.dumps(gone))
        return (
            self._remove(gone, lambda connection, some: _remove_origins(connection, some, last))
            and self._remove(writers, _remove_writers)
            and self._remove(names, lambda connection, some: _remove_names(connection, some, last, seen))
            and self._remove(streams, _remove_streams)
        )

    def _used(self, last: int) -> tuple[set[int], set[int]] | None:
        origins: set[int] = set()
        types: set[int] = set()
        position = 0
        while position < last:
            if self._is_stopped():
                return None
            with self._attached().reading() as connection, _little_memory(connection):
                ((first,),) = fetch(connection, _FIRST, (position,))
                if first is None:
                    break
                position = max(first - 1, position)
                for origin, kind in fetch(connection, _USED, (position, position + _POSITIONS)):
                    origins.add(origin)
                    types.add(kind)
            position += _POSITIONS
        # These last: what was sealed meanwhile is in here, or has been seen already.
        with self._attached().reading() as connection, _little_memory(connection):
            _add_sealed(connection, 0, origins, types)
        return origins, types

    def _gone_writers(self, connection: apsw.Connection, named: Collection[int], last_name: int) -> list[int]:
        """Of the writers without events all but the newest."""
        gone = []
        ranges = 0
        for number, writer_id, count in fetch(connection, _WRITERS):
            if number in named or writer_id in self._living:
                continue
            ranges += max(1, count)
            if ranges > self._kept_ranges and number < last_name:
                gone.append(number)
        return gone

    def _remove(self, numbers: list[int], remove: Callable[[apsw.Connection, str], None]) -> bool:
        at = 0
        while at < len(numbers):
            if self._is_stopped():
                return False
            with self._attached().writing("prune") as connection, self._pace.step() as amount:
                with transaction(connection):
                    remove(connection, json.dumps(numbers[at : at + amount]))
                    connection.execute(_FORGOTTEN)
                at += amount
            self._pace.pause()
        return True


@contextmanager
def _little_memory(connection: apsw.Connection) -> Iterator[None]:
    """Each page is looked at once: 8 MB of them are not worth keeping, nor what they leave behind in the allocator."""
    ((before,),) = fetch(connection, "PRAGMA cache_size")
    connection.execute("PRAGMA cache_size = -500")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA cache_size = {before}")


def _used_since(connection: apsw.Connection, after: int) -> tuple[set[int], set[int]]:
    """The origins and types of the events behind a position."""
    origins: set[int] = set()
    types: set[int] = set()
    for origin, kind in fetch(connection, _USED_SINCE, (after,)):
        origins.add(origin)
        types.add(kind)
    _add_sealed(connection, after, origins, types)
    return origins, types


def _add_sealed(connection: apsw.Connection, after: int, origins: set[int], types: set[int]) -> None:
    for sealed_origins, sealed_types in fetch(connection, _USED_SEALED, (after << 16 | 0xFFFF,)):
        origins.update(json.loads(sealed_origins))
        types.update(json.loads(sealed_types))


def _remove_origins(connection: apsw.Connection, numbers: str, after: int) -> None:
    since = json.dumps(sorted(_used_since(connection, after)[0]))
    connection.execute(f"DELETE FROM origins WHERE id IN {_LISTED} AND id NOT IN {_LISTED}", (numbers, since))


def _remove_writers(connection: apsw.Connection, numbers: str) -> None:
    for table in ("seen", "writers"):
        connection.execute(
            f"DELETE FROM {table} WHERE writer IN {_LISTED} AND writer NOT IN (SELECT writer FROM origins)", (numbers,)
        )


def _remove_names(connection: apsw.Connection, numbers: str, after: int, looked_at: tuple[int, str]) -> None:
    _, used = _used_since(connection, after)
    for row in fetch(connection, f"{_ORIGINS} WHERE id >= ? OR id IN {_LISTED}", looked_at):
        used.update(row[1:])
    connection.execute(
        f"""DELETE FROM names WHERE id IN {_LISTED} AND id NOT IN {_LISTED}
            AND NOT EXISTS (SELECT 1 FROM seen WHERE writer = names.id)
            AND NOT EXISTS (SELECT 1 FROM writers WHERE writer = names.id)""",
        (numbers, json.dumps(sorted(used))),
    )


def _remove_streams(connection: apsw.Connection, numbers: str) -> None:
    connection.execute(f"DELETE FROM streams WHERE id IN {_LISTED} AND {_IS_EMPTY}", (numbers,))
