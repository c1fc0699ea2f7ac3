"""Rows of a statement, all at once: a cursor that is left half-way keeps its read transaction open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw


def fetch(connection: apsw.Connection, statement: str, values: Sequence[Any] = ()) -> list[Any]:
    """All rows, as tuples. Untyped: what a column holds, the schema says."""
    return connection.execute(statement, values).fetchall()
