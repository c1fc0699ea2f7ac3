"""Paging: events a page at a time, each in a read transaction of its own, so that a reader may take its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import apsw

from sonde.errors import StoreClosedError, StoreUnavailableError
from sonde.events import RecordedEvent
from sonde.store.attachment import Attachment
from sonde.store.connections import snapshot
from sonde.store.handle import Handle
from sonde.store.open_file import FileChangedError
from sonde.store.reading import Page

PAGE_ROWS: Final = 500
"""Pages of this size read fastest: larger ones make the garbage collector look at more rows."""
_FIRST_PAGE_ROWS = 50

PageReader = Callable[[Attachment, apsw.Connection, int, int], Page]
"""Reads a page, from a place on, of at most so many events."""


def paged(handle: Handle, page: PageReader, start: int, limit: int | None) -> Iterator[RecordedEvent]:
    """What ``page`` reads from a place on, ``limit`` events at most, lazily. Ends when the handle is closed.

    Raises:
        StoreClosedError: it is closed now, at the call.
        StoreUnavailableError: the file was replaced meanwhile.
    """
    handle.check_open()  # at the call, not at the first step
    return _pages(handle, page, start, limit)


def _pages(handle: Handle, page: PageReader, start: int, limit: int | None) -> Iterator[RecordedEvent]:
    left = limit
    rows = _FIRST_PAGE_ROWS
    going: int | None = start
    number = 0
    while going is not None and (left is None or left > 0):
        try:
            attachment = handle.attached()
            if handle.file.number != number and number:  # what follows there doesn't follow on what was read
                raise StoreUnavailableError(
                    f"cannot read on in event store '{handle.url}': its file was replaced meanwhile; read again"
                )
            number = handle.file.number
            with attachment.reading() as connection, snapshot(connection):
                events, going = page(attachment, connection, going, rows if left is None else min(rows, left))
        except StoreClosedError:
            return
        except FileChangedError:  # just now
            if rows == _FIRST_PAGE_ROWS:
                number = 0
            continue
        if left is not None:
            del events[left:]
            left -= len(events)
        yield from events
        rows = PAGE_ROWS
