"""Running: which sessions still run, and so lose nothing to age and number."""

from __future__ import annotations

import time

import apsw

from sonde.events import EventType
from sonde.store import liveness
from sonde.store.attachment import Attachment
from sonde.store.contract import Liveness, StreamInfo
from sonde.store.rows import fetch

_TAIL = 64
_UNKNOWN_FOR_NS = 86_400 * 1_000_000_000

_SESSIONS = """SELECT DISTINCT s.name FROM origins AS o JOIN names AS s ON s.id = o.session
    WHERE o.writer = (SELECT id FROM names WHERE name = ?)"""
_IS_SESSION = "SELECT EXISTS (SELECT 1 FROM origins WHERE session = (SELECT id FROM names WHERE name = ?))"


class Running:
    """Which sessions run at one moment: those that a living writer has written to and not ended.

    By the writers: the kernel lets go of their locks when a process dies. A living process may have ended a session,
    and then the last that it wrote there is ``session.ended``. Of a writer on another host nobody can tell: it counts
    as living for a day after the session's last event.
    """

    def __init__(self, attachment: Attachment, connection: apsw.Connection) -> None:
        """Ask for all writers that have not ended in good order, which are few.

        Raises:
            StoreError: the file is the original's, which tells nothing of writers.
        """
        self._reader = attachment.own_reader("prune")
        self._connection = connection
        self._verdicts: dict[str, Liveness] = {}
        self._by_session: dict[str, set[str]] = {}
        for writer_id in liveness.unreleased(connection):
            held = None if attachment.lock_files is None else attachment.lock_files.is_held(writer_id)
            verdict = liveness.judge(connection, writer_id, held=held)
            if verdict is not Liveness.DEAD:
                self._verdicts[writer_id] = verdict
                for (session_id,) in fetch(connection, _SESSIONS, (writer_id,)):
                    self._by_session.setdefault(session_id, set()).add(writer_id)

    @property
    def writers(self) -> set[str]:
        """The writers that live, or may."""
        return set(self._verdicts)

    def has(self, stream: StreamInfo) -> bool:
        """Whether the session of a stream still runs."""
        if not self._verdicts:
            return False
        writers = self._by_session.get(stream.stream_id, set())
        if not writers and ((1,) in fetch(self._connection, _IS_SESSION, (stream.stream_id,))):
            return False
        found = self._reader.last_types(self._connection, stream, rows=_TAIL)
        last = {writer_id: name for writer_id, name in found.items() if writer_id in self._verdicts}
        # A stream that bears no session's name: who has written to it last is all that can be known cheaply.
        return any(
            last.get(writer_id) != EventType.SESSION_ENDED.value and self._counts(writer_id, stream)
            for writer_id in writers or last
        )

    def _counts(self, writer_id: str, stream: StreamInfo) -> bool:
        return self._verdicts[writer_id] is Liveness.ALIVE or stream.last_time_ns > time.time_ns() - _UNKNOWN_FOR_NS
