"""Shapes: which table of the schema a row may belong to, told from the row alone.

Where the tree above a page is lost, its rows still have as many columns as their table, each of a kind that it allows.
No two tables of the schema allow the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple

import apsw

from sonde.store.rows import fetch

_KINDS: Mapping[str, frozenset[type]] = {
    "INTEGER": frozenset({int}),
    "TEXT": frozenset({str}),
    "BLOB": frozenset({bytes, str}),  # the type is a wish: SQLite keeps a text in it
    "": frozenset({int, str, bytes, NoneType}),
}
_SCHEMA = "SELECT type, name, rootpage, sql FROM sqlite_schema WHERE rootpage > 0"


class Tree(NamedTuple):
    """A table or an index in a file."""

    name: str
    root: int
    is_index: bool
    sql: str | None = None


class Shapes:
    """The tables of a file that was just made with this release's schema."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._by_length: dict[int, list[tuple[str, tuple[frozenset[type], ...]]]] = {}
        self.trees: dict[str, Tree] = {}
        """By name, with the roots that they have in every new file. A table without row numbers is an index here."""
        self.columns: dict[str, list[str]] = {}
        """Of tables with row numbers."""
        bare = {name for (name,) in fetch(connection, "SELECT name FROM pragma_table_list WHERE wr")}
        for kind, name, root, sql in fetch(connection, _SCHEMA):
            self.trees[name] = Tree(name, root, is_index=kind == "index" or name in bare, sql=sql)
            if kind == "table" and name not in bare:
                columns = fetch(connection, f"PRAGMA table_info({name})")
                self.columns[name] = [column[1] for column in columns]
                allowed = tuple(_allowed(column) for column in columns)
                self._by_length.setdefault(len(allowed), []).append((name, allowed))

    @property
    def event_columns(self) -> list[str]:
        """The first is the position, which is the row's number."""
        return self.columns["events"]

    def table_of(self, values: Sequence[Any]) -> str | None:
        """The table that a row belongs to; ``None``: none of ours."""
        for name, allowed in self._by_length.get(len(values), ()):
            if all(type(value) in kinds for value, kinds in zip(values, allowed, strict=True)):
                return name
        return None


def _allowed(column: Sequence[Any]) -> frozenset[type]:
    _, _, kind, is_required, _, key = column
    if key:  # the row's number, which the record leaves out
        return frozenset({NoneType})
    kinds = _KINDS[kind]
    return kinds if is_required else kinds | {NoneType}
