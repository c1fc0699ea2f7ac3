"""Failures of the driver, translated into sonde's errors: the one place that knows SQLite's."""

from __future__ import annotations

import os
import shutil
from types import TracebackType

import apsw

from sonde.errors import (
    StoreCorruptError,
    StoreError,
    StoreFormatError,
    StorePermissionError,
    StoreUnavailableError,
)

_ROOM_BYTES = 64 * 1024  # what SQLite's shared memory takes at the beginning, and a page or two
_UNAVAILABLE: dict[type[BaseException], str] = {
    apsw.BusyError: "another process holds it locked; try again when that one is done, or wait longer for it",
    apsw.LockedError: "another connection holds it locked; try again",
    apsw.FullError: "the disk is full; free some space and try again",
    apsw.IOError: "the disk reports an error; check the disk and try again",
    apsw.CantOpenError: "it cannot be opened; check that its folder exists and that file handles are left",
    apsw.ProtocolError: "its locking protocol is disturbed; try again",
    apsw.InterruptError: "the call was interrupted; try again",
    apsw.NoMemError: "memory is short; try again",
}


def translated(error: apsw.Error, operation: str, url: str) -> StoreError:
    """The error of sonde's that says the same, with what was done to which store and what helps."""
    head = f"cannot {operation} event store '{url}'"
    if isinstance(error, apsw.NotADBError):
        return StoreFormatError(f"{head}: the file is no SQLite database; pass another path")
    if isinstance(error, apsw.CorruptError):
        return StoreCorruptError(
            f"{head}: its content is damaged ({error}); check it with sonde doctor, restore a backup"
        )
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError | apsw.AuthError):
        return StorePermissionError(
            f"{head}: no permission to write ({error}); check the modes of the file and its folder"
        )
    for kind, remedy in _UNAVAILABLE.items():
        if isinstance(error, kind):
            # Where SQLite makes a file, or the memory that it maps, a full disk is to it an error like another.
            is_full = kind is apsw.IOError and _is_full(url)
            return StoreUnavailableError(f"{head}: {error}; {_UNAVAILABLE[apsw.FullError] if is_full else remedy}")
    return StoreError(f"{head}: {type(error).__name__}: {error}; please report this")


def _is_full(url: str) -> bool:
    try:
        return shutil.disk_usage(os.path.dirname(url) or ".").free < _ROOM_BYTES
    except OSError:
        return False


class Translation:
    """``with Translation("append to", url):`` raises sonde's errors for the driver's. Reusable, costs some 0.2 µs."""

    __slots__ = ("_operation", "_url")

    def __init__(self, operation: str, url: str) -> None:
        self._operation = operation
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, apsw.Error):
            raise translated(error, self._operation, self._url) from error
        if isinstance(error, UnicodeDecodeError) and self._operation == "read":  # SQLite gives any bytes as text
            raise StoreCorruptError(
                f"cannot {self._operation} event store '{self._url}': its content is damaged (a text is no UTF-8: "
                f"{error.object[:40]!r}); check it with sonde doctor, restore a backup"
            ) from None
