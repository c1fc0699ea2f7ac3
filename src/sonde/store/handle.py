"""Handle: what one process has open of the store at a path, whichever file that is by now, and after a fork."""

from __future__ import annotations

import os
import threading

from sonde.errors import StoreClosedError, StoreError, StoreFormatError
from sonde.store import liveness
from sonde.store.attachment import Attachment
from sonde.store.connections import transaction
from sonde.store.contract import Durability
from sonde.store.departure import leave
from sonde.store.forking import forks
from sonde.store.location import MEMORY, Mode
from sonde.store.names import storable
from sonde.store.open_file import FileState


class Handle:
    """Gives out attachments, one after another: a new one in the child of a fork, and for another file at the path.

    Thread-safe. What uses the file may block on I/O.
    """

    def __init__(
        self, path: str | os.PathLike[str], mode: Mode, *, busy_timeout_s: float, durability: Durability
    ) -> None:
        """Open it."""
        self._path = os.fspath(path)
        if self._path not in ("", MEMORY):
            self._path = os.path.abspath(os.path.expanduser(self._path))  # the working folder may change
        self._mode: Mode = mode
        self._busy_timeout_s = busy_timeout_s
        self._durability = durability
        self._closed = False
        self._renewing = threading.Lock()
        self.attachment = self._attach()
        self.file = FileState(1, None)
        self._homeless: list[str] = []  # writers that are not registered in the file that is there now
        with forks.opening:
            forks.stores.add(self)

    @property
    def url(self) -> str:
        """The absolute path, or ``":memory:"``."""
        return self.attachment.location.url

    def check_open(self) -> None:
        """Raise ``StoreClosedError`` after :meth:`close`."""
        if self._closed:
            raise StoreClosedError(f"cannot use event store '{self.url}': it was closed; open it again")

    def _attach(self) -> Attachment:
        with forks.opening:
            return Attachment(self._path, self._mode, busy_timeout_s=self._busy_timeout_s, durability=self._durability)

    def attached(self, *, look: bool = True) -> Attachment:
        """What this process has open: anew in the child of a fork, and where the path names another file by now."""
        self.check_open()
        attachment = self.attachment
        is_ours = attachment.pid == os.getpid() and not self._homeless
        if is_ours and (attachment.is_current() if look else not attachment.connections.is_retired):
            return attachment
        with self._renewing:
            if self.attachment is attachment:
                if attachment.pid != os.getpid():
                    fresh = self._attach()
                    attachment.abandon()
                    self.attachment = fresh
                elif not attachment.is_current():
                    self._step_over(attachment)
            while self._homeless and self.attachment.location.writable:
                self._register(self.attachment, self._homeless[-1])
                self._homeless.pop()
            return self.attachment

    def _step_over(self, gone: Attachment) -> None:
        """From a file that was deleted, replaced or written over to what is at the path now. Under ``_renewing``."""
        with forks.opening:  # none comes into being meanwhile
            stores = [store for store in forks.stores if isinstance(store, Handle)]
        others = [store.attachment.connections for store in stores if store is not self]
        leave(gone.connections, others, timeout_s=self._busy_timeout_s)
        self._homeless += gone.retire()
        fresh = self._attach()
        if gone.location.writable and not fresh.location.writable:
            fresh.close()
            raise StoreFormatError(
                f"cannot append to event store '{self.url}': what is there now is a file of the Go original, which is "
                "only read; move it away"
            )
        self.attachment = fresh
        self.file = FileState(self.file.number + 1, gone.connections.file.found)

    def file_state(self, *, look: bool = True) -> FileState:
        """Which file the handle uses: looks at the path, and steps over to the file that is there by now.

        ``look=False``: which it used last.

        Raises:
            StoreError: what is there cannot be used, or nothing may be made there.
        """
        if look:
            self.attached()
        return self.file

    def before_fork(self, deadline_s: float) -> None:
        """See :mod:`sonde.store.forking`."""
        self.attachment.connections.pause(deadline_s)

    def after_fork_in_parent(self) -> None:
        """See :mod:`sonde.store.forking`."""
        self.attachment.connections.resume()

    def after_fork_in_child(self) -> None:
        """See :mod:`sonde.store.forking`. The rest is left to the next call, which finds another pid."""
        self._renewing = threading.Lock()
        self.attachment.abandon()

    def register(self, writer_id: str) -> None:
        """Declare that this process records as ``writer_id``. Idempotent."""
        self._register(self.attached(), writer_id)

    def _register(self, attachment: Attachment, writer_id: str) -> None:
        names = attachment.writer.names
        committed = False
        with attachment.writing("register a writer in") as connection:
            if attachment.lock_files is not None:
                attachment.lock_files.hold(writer_id)
            try:
                with transaction(connection):
                    liveness.register(connection, names.intern(connection, storable(writer_id)))
                committed = True
            finally:
                names.settle(committed=committed)

    def release(self, writer_id: str) -> None:
        """Declare that the writer has ended in good order. Idempotent."""
        attachment = self.attached()
        with attachment.writing("release a writer in") as connection:
            with transaction(connection):
                liveness.release(connection, writer_id)
            if attachment.lock_files is not None:
                attachment.lock_files.let_go(writer_id)

    def clear_up(self) -> int:
        """Remove the lock files of dead processes, once the store itself says that they are dead; how many."""
        attachment = self.attached()
        if attachment.lock_files is None or attachment.is_original:
            return 0
        with attachment.writing("clear up beside") as connection:
            with transaction(connection):
                liveness.release_dead(connection, attachment.lock_files)
            return attachment.lock_files.clear_up()

    def close(self) -> None:
        """Close, and release the writers of this process. Idempotent."""
        if self._closed:
            return
        attachment = self.attachment
        inherited = attachment.pid != os.getpid()
        if not inherited and attachment.lock_files is not None:
            for writer_id in attachment.lock_files.held:
                try:
                    self.release(writer_id)
                except StoreError:  # the next look finds the lock gone, and judges by the process
                    attachment.lock_files.let_go(writer_id)
        self._closed = True
        if inherited:
            attachment.abandon()
        else:
            attachment.close()
