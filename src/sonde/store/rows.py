"""Rows of a statement, all at once: a cursor that is left half-way keeps its read transaction open.

And what many statements ask: events are in two tables, those that are sealed and, behind them, those that are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

LAST_POSITION = """ifnull((SELECT max(position) FROM events),
    ifnull((SELECT max(id) >> 16 FROM stretches), 0))"""
"""SQL: of the last event, 0 if none is there. One seek, where rows are that are not sealed."""

HEAD = """max(first_version - 1, ifnull((SELECT max(version) FROM events WHERE stream = streams.id),
    ifnull((SELECT max(last_version) FROM stretches WHERE stream = streams.id), 0)))"""
"""SQL: the version last given in a stream, in a statement about ``streams``."""


def fetch(connection: apsw.Connection, statement: str, values: Sequence[Any] = ()) -> list[Any]:
    """All rows, as tuples. Untyped: what a column holds, the schema says."""
    return connection.execute(statement, values).fetchall()
