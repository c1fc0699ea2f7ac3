"""Attachment: all that one process has open of one store. A fork, or another file under the path, makes a new one."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from sonde.errors import StoreError
from sonde.store import schema
from sonde.store.connections import Connections
from sonde.store.contract import Durability
from sonde.store.failures import Translation
from sonde.store.following import Bell
from sonde.store.liveness import LockFiles
from sonde.store.location import MEMORY, Mode, locate
from sonde.store.original import OriginalReading
from sonde.store.reading import Reading
from sonde.store.schema import FileKind
from sonde.store.writing import Writing

OPERATIONS = ("append to", "clear up beside", "prune", "register a writer in", "release a writer in", "tend")


class Attachment:
    """Connections, caches, locks and the writer's identity, of one process. Thread-safe."""

    def __init__(
        self, path: str, mode: Mode, *, busy_timeout_s: float, durability: Durability = Durability.COMMIT
    ) -> None:
        self.pid = os.getpid()
        with Translation("open", path):
            self.location = location = locate(path, mode)
            self.connections = Connections(
                location, busy_timeout_s=busy_timeout_s, synced=durability is Durability.POWER
            )
            if location.kind is FileKind.EMPTY:
                with self.connections.exclusive() as connection:
                    schema.create(connection, on_disk=location.url != MEMORY)
        self.is_original = location.kind is FileKind.ORIGINAL
        reading = OriginalReading if self.is_original else Reading
        self.reader: Reading | OriginalReading = reading(location.url)
        self.writer = Writing(location.url, durability)
        self.lock_files = LockFiles(f"{location.url}-live") if location.url != MEMORY else None
        self.bell = Bell()
        self.writer_id = secrets.token_hex(8)
        self._seq = 0
        self._seq_lock = threading.Lock()
        self._reading_failures = Translation("read", location.url)
        self._failures = {operation: Translation(operation, location.url) for operation in OPERATIONS}

    def numbered(self, count: int) -> int:
        """The first of ``count`` sequence numbers of the handle's own writer.

        Taken for good, even if the write fails: an interrupt just behind a commit must not make the next events look
        like those that are stored.
        """
        with self._seq_lock:
            first = self._seq + 1
            self._seq += count
        return first

    def is_current(self) -> bool:
        """Whether the path still names the file that is open: SQLite would go on with one that was removed."""
        return self.connections.file.change() is None

    def own_reader(self, operation: str) -> Reading:
        """The reader, for what only files of sonde's schema allow.

        Raises:
            StoreError: it is the original's.
        """
        if isinstance(self.reader, OriginalReading):
            raise StoreError(f"cannot {operation} event store '{self.location.url}': {self._why_read_only()}")
        return self.reader

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """A connection to read with, for this thread alone; failures translated."""
        with self._reading_failures, self.connections.reading() as connection:
            yield connection

    @contextmanager
    def writing(self, operation: str) -> Iterator[apsw.Connection]:
        """The writing connection, for this thread alone, with all locks held; failures translated."""
        if not self.location.writable:
            raise StoreError(f"cannot {operation} event store '{self.location.url}': {self._why_read_only()}")
        with self._failures[operation], self.connections.exclusive() as connection:
            yield connection

    def close(self) -> None:
        """Close the connections and remove what is only there while they are open."""
        self.bell.ring()
        with Translation("close", self.location.url):
            self.connections.close()
        if self.location.private_folder is not None:
            shutil.rmtree(self.location.private_folder, ignore_errors=True)

    def abandon(self) -> None:
        """Leave everything as it is but the locks' handles. A second time changes nothing."""
        self.connections.abandon()
        if self.lock_files is not None:
            self.lock_files.forget()

    def retire(self) -> list[str]:
        """The file is another by now: let go of the locks beside the old one. The writers that held them."""
        self.bell.ring()
        if self.lock_files is None:
            return []
        writer_ids = self.lock_files.held
        self.lock_files.forget()
        return writer_ids

    def _why_read_only(self) -> str:
        if self.is_original:
            return "a file of the Go original is opened for reading only; sonde import copies it"
        return "it was opened for reading only; open it with mode='rw'"
