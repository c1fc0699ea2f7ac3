"""Departure: leaving a file that is gone, without harm to what is at its path now.

The dangers, all of them SQLite's: a connection that closes as the last one removes the log *at the path*, whosesoever
it is; a log that is left beside another file is applied to it; and two connections of one process to the same inode
share the index of the log even where its file is another by now. So all connections of this process are closed, without
a checkpoint, before anything is opened; and what is left of our log is removed, under the file lock, since other
processes leave at the same time.

Nothing is copied out of a file that was deleted: somebody may have done that on purpose. One that was only moved gets
what its log still holds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import apsw

from sonde.errors import StoreCorruptError, StoreUnavailableError
from sonde.store.connections import Connections
from sonde.store.failures import Translation
from sonde.store.file_lock import FileLock
from sonde.store.location import immutable_uri
from sonde.store.open_file import Change

_READ = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


def leave(connections: Connections, others: Sequence[Connections], *, timeout_s: float) -> None:
    """Close all that this process has open of a file that has changed; then the path can be opened anew.

    ``others``: of the process's other handles, whatever they have open. Safe to repeat after an error.

    Raises:
        StoreUnavailableError: others have the lock, or read on, past the timeout.
        StoreCorruptError: what was written over the file is no whole database, neither alone nor with its log.
    """
    deadline_s = time.monotonic() + timeout_s
    file = connections.file
    if file.found is None:
        return
    in_place = file.found in (Change.OVERWRITTEN, Change.LOG_DELETED) and file.is_same()
    is_log_gone = in_place and file.found is Change.LOG_DELETED
    lock = FileLock(f"{file.path}-lock") if connections.has_file_lock else None
    if lock is not None and not lock.acquire(deadline_s):
        lock.forget()
        raise StoreUnavailableError(
            f"cannot leave event store '{file.path}', which has changed: still locked after {timeout_s:g} s; try again"
        )
    try:
        # The log is told by its inode, whose number is given again once nobody has it open: so before we close it.
        if connections.writable and not connections.is_retired:
            if file.is_log_free() if is_log_gone else not in_place and file.is_moved():
                with Translation("save the log of", file.path):
                    connections.save_log(deadline_s)
            if is_log_gone:
                file.remove_index()
            elif not in_place:
                file.remove_log()
        affected = [connections, *(other for other in others if file.shares(other.file))]
        for one in affected:
            # Who reads on in a file that is gone does no harm; in one that is used again it would.
            if not one.retire(file.found, deadline_s if in_place else 0.0) and in_place:
                raise StoreUnavailableError(
                    f"cannot leave event store '{file.path}', which has changed: it is still read after "
                    f"{timeout_s:g} s; try again"
                )
        if connections.writable and in_place and not is_log_gone and _is_log_foreign(file.path):
            file.remove_log()
        for one in affected:
            one.file.closed()
            one.file.release()
    finally:
        if lock is not None:
            lock.release()
            lock.forget()


def _is_log_foreign(path: str) -> bool:
    """Whether the log beside a file that was written over does not fit it.

    It fits if somebody else's tool has made a checkpoint, or if the log holds everything itself.
    """
    if os.stat(path).st_size == 0:
        return True
    if _is_whole(path, apsw.SQLITE_OPEN_READWRITE):
        return False
    if _is_whole(immutable_uri(path), _READ):
        return True
    raise StoreCorruptError(
        f"cannot append to event store '{path}': something was written over it that is no whole database; put a whole "
        "one there, or move it away and a new one is made"
    )


def _is_whole(target: str, flags: int) -> bool:
    try:
        connection = apsw.Connection(target, flags=flags)
    except apsw.Error:
        return False
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.set_busy_timeout(1000)
        return connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
    except apsw.Error:
        return False
    finally:
        connection.close()
