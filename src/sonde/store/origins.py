"""Origins: session, plan, task and writer of an event, interned together as one integer.

They change together and seldom: one column in place of four makes rows smaller, and saves as many look-ups for each
event that is written or read.
"""

from __future__ import annotations

from typing import NamedTuple

import apsw

from sonde.store.names import MAX_CACHED, NameWriter
from sonde.store.rows import fetch

_FIND = "SELECT id FROM origins WHERE session = ? AND plan = ? AND task = ? AND writer = ?"
_ADD = "INSERT INTO origins (session, plan, task, writer) VALUES (?, ?, ?, ?) RETURNING id"
_READ = """SELECT s.name, p.name, t.name, w.name FROM origins AS o
    LEFT JOIN names AS s ON s.id = o.session LEFT JOIN names AS p ON p.id = o.plan
    LEFT JOIN names AS t ON t.id = o.task LEFT JOIN names AS w ON w.id = o.writer WHERE o.id = ?"""


class Origin(NamedTuple):
    """Where an event comes from. As a key, a plain tuple will do."""

    session_id: str
    plan_id: str
    task_id: str
    writer_id: str


class OriginWriter:
    """Gives origins their integers, inside the caller's transaction. Not thread-safe: used under the write lock.

    As with :class:`NameWriter`, what a transaction adds enters the cache only when it is committed.
    """

    def __init__(self, names: NameWriter) -> None:
        self.known: dict[tuple[str, str, str, str], int] = {}
        self._names = names
        self._fresh: dict[tuple[str, str, str, str], int] = {}

    def intern(self, connection: apsw.Connection, origin: tuple[str, str, str, str]) -> int:
        """The integer of an origin of storable names, made if need be."""
        number = self._fresh.get(origin)
        if number is None:
            numbers = [self._names.number(connection, name) for name in origin]
            rows = fetch(connection, _FIND, numbers) or fetch(connection, _ADD, numbers)
            number = self._fresh[origin] = int(rows[0][0])
        return number

    def forget(self) -> None:
        """Retention has removed origins: ask again for all numbers."""
        self.known = {}

    def settle(self, *, committed: bool) -> None:
        """The transaction is over."""
        if self._fresh:
            if committed:
                if len(self.known) > MAX_CACHED:
                    self.known = {}
                self.known.update(self._fresh)
            self._fresh = {}


class OriginReader:
    """Integer to origin: an exact dict for the hot loop, which :meth:`fetch` fills. Origins never change."""

    def __init__(self) -> None:
        self.known: dict[int, Origin] = {}

    def fetch(self, connection: apsw.Connection, number: int) -> Origin:
        """Look one up in the file. What is not there (damage) reads as empty strings."""
        rows = fetch(connection, _READ, (number,))
        origin = Origin(*(name or "" for name in rows[0])) if rows else Origin("", "", "", "")
        if len(self.known) > MAX_CACHED:
            self.known.clear()
        self.known[number] = origin
        return origin
