"""Names: strings interned as integers, both ways, each way with a bounded cache."""

from __future__ import annotations

import apsw

from sonde.store.rows import fetch

MAX_CACHED = 16_384


def storable(name: object) -> str:
    r"""A name that SQLite can hold: lone surrogates become backslash escapes, what is no string becomes one.

    >>> storable("a\ud800")
    'a\\ud800'
    """
    return str(name).encode("utf-8", "backslashreplace").decode()


class NameWriter:
    """Gives names their integers, inside the caller's transaction. Not thread-safe: used under the write lock.

    What a transaction adds enters the cache only by :meth:`settle`, when it is committed: SQLite gives the integers of
    a transaction that was rolled back to other names.
    """

    def __init__(self) -> None:
        self.known: dict[str, int] = {"": 0}
        self._fresh: dict[str, int] = {}

    def intern(self, connection: apsw.Connection, name: str) -> int:
        """The integer of a storable name, made if need be."""
        number = self._fresh.get(name)
        if number is None:
            rows = fetch(connection, "SELECT id FROM names WHERE name = ?", (name,))
            if not rows:
                rows = fetch(connection, "INSERT INTO names (name) VALUES (?) RETURNING id", (name,))
            number = int(rows[0][0])
            self._fresh[name] = number
        return number

    def number(self, connection: apsw.Connection, name: str) -> int:
        """As :meth:`intern`, from the cache where it is there."""
        number = self.known.get(name)
        return self.intern(connection, name) if number is None else number

    def forget(self) -> None:
        """Retention has removed names: ask again for all numbers."""
        self.known = {"": 0}

    def settle(self, *, committed: bool) -> None:
        """The transaction is over."""
        if self._fresh:
            if committed:
                if len(self.known) > MAX_CACHED:
                    self.known = {"": 0}
                self.known.update(self._fresh)
            self._fresh = {}


class NameReader:
    """Integer to name: an exact dict for the hot loop, which :meth:`fetch` fills. Names never change.

    Thread-safe in that two threads at worst fetch the same name.
    """

    def __init__(self, table: str, known: dict[int, str] | None = None) -> None:
        self.known: dict[int, str] = known or {}
        self._select = f"SELECT name FROM {table} WHERE id = ?"

    def fetch(self, connection: apsw.Connection, number: int) -> str:
        """Look one up in the file. A number without a name (damage) reads as the empty string."""
        rows = fetch(connection, self._select, (number,))
        name = str(rows[0][0]) if rows else ""
        if len(self.known) > MAX_CACHED:
            self.known.clear()
        self.known[number] = name
        return name
