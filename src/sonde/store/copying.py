"""Copying: a consistent copy of a store while others record into it."""

from __future__ import annotations

import os
from collections.abc import Callable

import apsw

from sonde.errors import StoreError, StorePermissionError, StoreUnavailableError
from sonde.store.location import make_folder
from sonde.store.plain import make_plain

_PAGES_PER_STEP = 1_000


def copy(
    source: apsw.Connection,
    target: str,
    *,
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
    is_plain: bool = False,
) -> None:
    """Copy what ``source`` sees now into the file ``target``, of mode 0600 and complete without a log beside it.

    ``is_plain``: with each event as a row that has all of its data.

    It is written under another name and takes its own at the end: half a copy is never found in its place.
    """
    if os.path.lexists(target) and not overwrite:
        raise StoreError(f"cannot back up to '{target}': it exists; pass another path, or overwrite=True")
    partial = f"{target}.partial-{os.getpid()}"
    try:
        make_folder(os.path.dirname(target))
        handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.fchmod(handle, 0o600)
        os.close(handle)
        _copy_pages(source, partial, None if is_plain else progress)
        if is_plain:
            _make_plain(partial, target, progress)
        _finish(partial, target, overwrite=overwrite)
    except PermissionError:
        raise StorePermissionError(
            f"cannot back up to '{target}': no permission to write there; change the folder's mode, or pass another "
            "path"
        ) from None
    except FileExistsError:
        raise StoreError(f"cannot back up to '{target}': it exists; pass another path, or overwrite=True") from None
    except apsw.FullError as error:  # of the target: what is read needs no room
        raise StoreUnavailableError(
            f"cannot back up to '{target}': the disk is full; make room there, or pass another path"
        ) from error
    except OSError as error:
        raise StoreUnavailableError(
            f"cannot back up to '{target}': {error.strerror}; check the path and the disk"
        ) from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            if os.path.lexists(partial + suffix):
                os.unlink(partial + suffix)


def _copy_pages(source: apsw.Connection, partial: str, progress: Callable[[int, int], None] | None) -> None:
    target = apsw.Connection(partial, flags=apsw.SQLITE_OPEN_READWRITE)
    # A read transaction pins what is copied: without it each commit of another process starts the copy over.
    pinned = not source.in_transaction
    if pinned:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    try:
        with target.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(_PAGES_PER_STEP)
                if progress is not None:
                    progress(backup.page_count - backup.remaining, backup.page_count)
    finally:
        if pinned:
            source.execute("ROLLBACK")
        target.close()


def _make_plain(partial: str, target: str, progress: Callable[[int, int], None] | None) -> None:
    connection = apsw.Connection(partial, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        make_plain(connection, target, progress)
    finally:
        connection.close()


def _finish(partial: str, target: str, *, overwrite: bool) -> None:
    handle = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    if not overwrite:
        os.link(partial, target)  # unlike a rename, it refuses a target that has come into being meanwhile
        return
    for suffix in ("-wal", "-shm", "-journal"):
        if os.path.lexists(target + suffix):
            os.unlink(target + suffix)  # of the file that goes: SQLite would apply them to the new one
    os.replace(partial, target)
