"""Lookout: what a follower finds behind the position that it has reached, in whichever file is there by now."""

from __future__ import annotations

from collections.abc import Sequence

from sonde.errors import StoreNotFoundError
from sonde.events import RecordedEvent
from sonde.store.connections import snapshot
from sonde.store.continuity import Continuity
from sonde.store.handle import Handle
from sonde.store.open_file import FileChangedError
from sonde.store.paging import PAGE_ROWS
from sonde.store.reading import Reading


class Lookout:
    """Of one follower, in one thread."""

    def __init__(self, handle: Handle, start: int, *, types: Sequence[str] | None, stream_id: str | None) -> None:
        """``start``: the position behind which it begins."""
        self._handle = handle
        self._types = types
        self._stream_id = stream_id
        self._begin(start)

    def _begin(self, start: int) -> None:
        self._number = self._handle.file.number
        self._continuity = Continuity(self._handle.url, after=start, stream_id=self._stream_id)
        self._is_behind = True  # it has not come to what is live

    def look(self, position: int) -> tuple[list[RecordedEvent], int]:
        """A page of what follows a position, and the position reached. From the first one on in another file.

        Raises:
            StoreClosedError: the handle is closed.
            StoreCorruptError: an event cannot be read, or isn't found.
        """
        try:
            attachment = self._handle.attached()
        except (FileChangedError, StoreNotFoundError):  # deleted, and not made again yet
            return [], position
        if self._handle.file.number != self._number:
            self._begin(0)
            return [], 0
        reader = attachment.reader
        with attachment.reading() as connection, snapshot(connection):
            last = reader.last_position(connection)
            if last <= position:
                return [], position
            events, going = reader.all_page(
                connection, position, until=last, types=self._types, stream_id=self._stream_id, rows=PAGE_ROWS
            )
            reached = last if going is None else going
            if isinstance(reader, Reading):
                is_end = self._is_behind and reached == last  # the heads of all streams are looked at once
                if self._types is None:
                    self._continuity.check(connection, reader, position, events, is_end=is_end)
                else:
                    self._continuity.check_filtered(connection, reader, position, reached, is_end=is_end)
                self._is_behind = self._is_behind and not is_end
        return events, reached
