"""Quarantine: what can be read of events that are not what was written, as JSON lines beside the new file."""

from __future__ import annotations

import json
import os
from typing import Any

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import RecordedEvent, format_timestamp
from sonde.store.expansion import ContentReader
from sonde.store.reading import Reading
from sonde.store.rows import fetch


class Quarantine:
    """A file of mode 0600, made when there is something to write. For one thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1
        self._reader = Reading("a damaged file")
        self._contents = ContentReader()
        self.count = 0

    def add(
        self,
        scratch: apsw.Connection,
        number: int,
        position: int,
        version: int,
        reason: str,
        *,
        is_sound: bool = False,
    ) -> None:
        """Write what can be read of a candidate. None of it can be relied on, unless it is sound."""
        ((data,),) = fetch(scratch, "SELECT data FROM events WHERE position = ?", (number,))
        event = self._event(scratch, number)
        line: dict[str, Any] = {"reason": reason, "is_sound": is_sound, "position": position, "version": version}
        if event is not None:
            line |= {
                "stream_id": event.stream_id,
                "type": event.type,
                "timestamp": format_timestamp(event.time_ns),
                "session_id": event.session_id,
                "plan_id": event.plan_id,
                "task_id": event.task_id,
                "trace_id": event.trace_id,
                "span_id": event.span_id,
                "parent_id": event.parent_id,
                "writer_id": event.writer_id,
                "seq": event.seq,
            }
        self._write(line | self._said(scratch, data))

    def _event(self, scratch: apsw.Connection, number: int) -> RecordedEvent | None:
        """The event without its data, which is looked at on its own."""
        scratch.execute("UPDATE events SET data = NULL WHERE position = ?1", (number,))
        try:
            events, _ = self._reader.all_page(scratch, number - 1, until=number, rows=1)
        except (StoreCorruptError, TypeError, ValueError, LookupError):
            return None
        return events[0]

    def _said(self, scratch: apsw.Connection, data: object) -> dict[str, Any]:
        try:
            text = self._contents.expand(scratch, data) if isinstance(data, int) else str(data or "{}").encode()
        except ValueError:
            return {"data": None}
        try:
            return {"data": json.loads(text)}
        except ValueError:
            return {"data": None, "data_text": text.decode("utf-8", "backslashreplace")}

    def _write(self, line: dict[str, Any]) -> None:
        if self._file < 0:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.fchmod(self._file, 0o600)
        content = memoryview(json.dumps(line).encode() + b"\n")
        while content:
            content = content[os.write(self._file, content) :]
        self.count += 1

    def publish(self, path: str) -> None:
        """Give the file its name, which nobody else has."""
        os.fsync(self._file)
        os.link(self._path, path)

    def close(self) -> None:
        """Close it. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
