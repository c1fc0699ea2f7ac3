"""Plain: a store in which every event is a row with all of its data, for tools that speak SQL and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import apsw

from sonde.store.connections import snapshot, transaction
from sonde.store.expansion import ContentReader
from sonde.store.reading import Reading
from sonde.store.rows import fetch
from sonde.store.stretch import COLUMNS, Row

_ROWS = 500
_ADD = f"INSERT OR REPLACE INTO events ({COLUMNS}) VALUES ({','.join('?' * 10)})"


def make_plain(connection: apsw.Connection, url: str, progress: Callable[[int, int], None] | None = None) -> None:
    """Unseal all events and put their large data into their rows. For a file that nobody else uses.

    What cannot be read stays as it is. ``progress`` is called with events done and events in all.
    """
    reader, contents = Reading(url), ContentReader()
    total = reader.count(connection)
    damaged = False
    position: int | None = 0
    done = 0
    while position is not None:
        with snapshot(connection):
            rows, unreadable, position = reader.rows_page(connection, position, rows=_ROWS)
            plain = [_plain(connection, contents, row) for row in rows]
        with transaction(connection):
            connection.executemany(_ADD, plain)
            if not unreadable and rows:
                connection.execute("DELETE FROM stretches WHERE id >> 16 <= ?", (rows[-1][0],))
        damaged = damaged or bool(unreadable) or any(type(row[-1]) is int for row in plain)
        done += len(rows)
        if progress is not None and rows:
            progress(done, max(done, total))
    if not damaged:
        with transaction(connection):
            for table in ("pieces", "uses", "blocks"):
                connection.execute(f"DELETE FROM {table}")
            connection.execute("UPDATE retention SET collections = collections + 1")
    fetch(connection, "VACUUM")


def _plain(connection: apsw.Connection, contents: ContentReader, row: Row) -> Row:
    if type(row[-1]) is not int:
        return row
    try:
        return (*row[:-1], contents.expand(connection, row[-1]).decode())
    except ValueError:
        return row
