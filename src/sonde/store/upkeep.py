"""Upkeep: rows are sealed and blocks shelved, a little at a time, when nobody has anything to write.

Each step is a transaction of its own, of some ten milliseconds; a kill between two of them leaves the rest to whoever
writes next. Readers find the same before and after.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import apsw

from sonde.store import removal, sealing, shelving
from sonde.store.attachment import Attachment
from sonde.store.connections import transaction
from sonde.store.location import MEMORY
from sonde.store.rows import fetch

# At the end of a recording less is worth its while; below that it waits for the next one.
_FEW_ROWS = 128
_SHELF_BYTES, _FEW_BYTES = 48 * 1024, 8 * 1024  # compressed

_FREE_PAGES = 256  # may stay, for the next events fill them
_PAGES_A_STEP = 512

_ROWS_WAIT = "SELECT 1 FROM events ORDER BY position LIMIT 1 OFFSET ?"
_BLOCKS_WAIT = f"SELECT sum(length(bytes)) FROM (SELECT bytes FROM blocks WHERE id > ? LIMIT {shelving.MOST_BLOCKS})"


@runtime_checkable
class Tended(Protocol):
    """A store that has things to do when nobody writes."""

    def tend(self, *, is_ending: bool = False) -> bool:
        """Do some of it, for some 10 ms; whether there is more."""
        ...


class Upkeep:
    """Of one handle. Thread-safe: what it remembers is only where to begin looking."""

    def __init__(self) -> None:
        """Look at nothing yet."""
        self._known: Attachment | None = None
        self._shelved_until = 0

    def step(self, attachment: Attachment, *, is_ending: bool) -> bool:
        """Seal, shelve or give back space, whichever is due first; says whether there was anything.

        At the end of a recording, smaller amounts are due too.
        """
        if attachment.is_original or not attachment.location.writable or attachment.location.url == MEMORY:
            return False
        rows = _FEW_ROWS if is_ending else sealing.ROWS
        size_bytes = _FEW_BYTES if is_ending else _SHELF_BYTES
        free = 1 if is_ending else _FREE_PAGES
        with attachment.reading() as connection:
            if self._known is not attachment:  # a fork, or another file
                self._shelved_until = shelving.last_shelf(connection)
                self._known = attachment
            rows_wait = bool(fetch(connection, _ROWS_WAIT, (rows - 1,)))
            blocks_wait = (fetch(connection, _BLOCKS_WAIT, (self._shelved_until,))[0][0] or 0) >= size_bytes
            pages_wait = _free_pages(connection) >= free
        if not (rows_wait or blocks_wait or pages_wait):
            return False
        with attachment.writing("tend") as connection:
            if rows_wait:
                with transaction(connection):
                    return sealing.seal_some(connection, least=rows) > 0
            if blocks_wait:
                return self._shelve(connection, size_bytes)
            before = _free_pages(connection)
            removal.give_back_some(connection, pages=_PAGES_A_STEP)
            return _free_pages(connection) < before

    def _shelve(self, connection: apsw.Connection, least: int) -> bool:
        after = self._shelved_until
        with transaction(connection):
            until = shelving.shelve_some(connection, after, least=least)
        self._shelved_until = until
        return until > after


def _free_pages(connection: apsw.Connection) -> int:
    return int(fetch(connection, "PRAGMA freelist_count")[0][0])
