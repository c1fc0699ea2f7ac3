"""Location: from a path to a file that may be opened, how it may be opened, or the error that says why not.

Nothing here opens the file itself except to create it: closing any handle on a database drops the POSIX locks that this
process holds on it through SQLite. What the file is, SQLite is asked.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from typing import Literal, NamedTuple
from urllib.parse import quote

import apsw

from sonde.errors import (
    ConfigError,
    StoreCorruptError,
    StoreFormatError,
    StoreNotFoundError,
    StorePermissionError,
    StoreSchemaError,
    StoreUnavailableError,
)
from sonde.store import schema
from sonde.store.schema import FileKind

Mode = Literal["ro", "rw", "create"]
MODES = ("ro", "rw", "create")
MEMORY = ":memory:"

_READ = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
_WRITE = apsw.SQLITE_OPEN_READWRITE
_LOOKS = 50
_PAUSE_S = 0.005  # more than the clock of a file system's times ticks

# Of SQLite's file formats: where a page is in a log, and where its first one has user_version and application_id.
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_MARKS_AT = 60
_FIRST_PAGE = (1).to_bytes(4, "big")
_OUR_VERSION, _OUR_ID = schema.SCHEMA_VERSION.to_bytes(4, "big"), schema.APPLICATION_ID.to_bytes(4, "big")


class Location(NamedTuple):
    """How to open a store."""

    url: str
    """The absolute path, or ``:memory:``."""
    target: str
    """What SQLite is given: the path or a URI."""
    flags: int
    kind: FileKind
    writable: bool
    private_folder: str | None = None
    """Of a copy that is removed when the store closes."""


def locate(path: str | os.PathLike[str], mode: Mode) -> Location:
    """Find out how to open ``path``; make the file and its folders if ``mode`` is ``"create"``."""
    if mode not in MODES:
        raise ConfigError(f"cannot open event store: mode {mode!r}; expected 'ro', 'rw' or 'create'")
    text = os.fspath(path)
    if text == MEMORY:
        if mode != "create":
            raise ConfigError(
                f"cannot open event store ':memory:': mode {mode!r}; expected 'create', nothing is there yet"
            )
        return Location(MEMORY, MEMORY, _WRITE | apsw.SQLITE_OPEN_CREATE, FileKind.EMPTY, writable=True)
    if not text or "\0" in text:
        raise ConfigError(f"cannot open event store {text!r}: expected the path of a file or ':memory:'")
    url = os.path.abspath(os.path.expanduser(text))
    try:
        url.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"cannot open event store {url!r}: its path is not UTF-8, which SQLite needs; pass another path"
        ) from None
    _check_file(url, mode)
    kind, version = _sniffed(url)
    may_write = os.access(url, os.W_OK) and os.access(os.path.dirname(url), os.W_OK | os.X_OK)
    if kind is FileKind.NEWER:
        raise StoreSchemaError(
            f"cannot open event store '{url}': schema {version}, this release supports up to {schema.SCHEMA_VERSION}; "
            "upgrade sonde or pass another --db"
        )
    if kind is FileKind.OLDER:
        raise StoreSchemaError(
            f"cannot open event store '{url}': schema {version}, from before the first release, which has "
            f"{schema.SCHEMA_VERSION}; move the file away or pass another --db"
        )
    if kind is FileKind.ALTERED:
        raise StoreCorruptError(
            f"cannot open event store '{url}': its tables aren't those that sonde made: the file is damaged, or "
            "somebody has altered them; sonde doctor --repair makes a new file of what is there"
        )
    if kind is FileKind.FOREIGN:
        raise StoreFormatError(
            f"cannot open event store '{url}': an SQLite database of another program; expected a file that sonde "
            "wrote; pass another path"
        )
    if kind is FileKind.ORIGINAL:
        return _original(url)
    if mode == "ro":
        if kind is FileKind.EMPTY:
            raise StoreNotFoundError(
                f"cannot open event store '{url}': the file is empty; record something into it first"
            )
        return _reading(url, kind, may_write=may_write)
    if not may_write:
        what = "its folder" if os.access(url, os.W_OK) else "the file"
        raise StorePermissionError(
            f"cannot open event store '{url}': no permission to write {what}; change its mode, open it "
            "for reading only, or pass another --db"
        )
    return Location(url, url, _WRITE, kind, writable=True)


def immutable_uri(path: str) -> str:
    """What makes SQLite read a file without locks and without files beside it."""
    return f"file:{quote(path)}?immutable=1"


def _check_file(url: str, mode: Mode) -> None:
    try:
        found = os.stat(url)
    except FileNotFoundError:
        if mode != "create":
            raise StoreNotFoundError(
                f"cannot open event store '{url}': no such file; expected one that sonde recorded; pass another path"
            ) from None
        _create_file(url)
        return
    except PermissionError:
        raise StorePermissionError(
            f"cannot open event store '{url}': no permission to enter its folder; change the folder's mode"
        ) from None
    except OSError as error:
        raise StoreUnavailableError(f"cannot open event store '{url}': {error.strerror}; check the path") from error
    if stat.S_ISDIR(found.st_mode):
        raise StoreFormatError(f"cannot open event store '{url}': it is a folder; pass the path of a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise StoreFormatError(f"cannot open event store '{url}': it is no regular file; pass another path")
    if not os.access(url, os.R_OK):
        raise StorePermissionError(f"cannot open event store '{url}': no permission to read the file; change its mode")


def _create_file(url: str) -> None:
    try:
        make_folder(os.path.dirname(url), synced=True)
        # Made here and not by SQLite, which would make it 0644; its -wal and -shm take the mode of the file.
        handle = os.open(url, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if not os.path.exists(os.path.dirname(url)) or os.path.isdir(os.path.dirname(url)):
            return  # another process was faster
        raise StoreUnavailableError(
            f"cannot open event store '{url}': a part of its folder's path is a file; pass another path"
        ) from None
    except PermissionError:
        raise StorePermissionError(
            f"cannot open event store '{url}': no permission to create it there; change the folder's mode, or pass "
            "another path"
        ) from None
    except OSError as error:
        raise StoreUnavailableError(
            f"cannot open event store '{url}': {error.strerror}; check the path and the disk"
        ) from error
    try:
        os.fchmod(handle, 0o600)  # whatever the umask took away
    finally:
        os.close(handle)


def make_folder(folder: str, *, synced: bool = False) -> None:
    """Make a folder and all missing above it, each of mode 0700.

    ``synced``: a power cut does not take it along any more. SQLite syncs the folder that its files are in, and nobody
    syncs the one above, in which that has its name.
    """
    if not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        make_folder(parent, synced=synced)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise
        if synced:
            _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # one that we may not read, or Windows
        return
    try:
        os.fsync(handle)
    except OSError:  # a file system that cannot do this to folders
        pass
    finally:
        os.close(handle)


def _is_pending(url: str) -> bool:
    """Whether a log beside the file holds content that the file doesn't."""
    return any(_size(url + suffix) > 0 for suffix in ("-wal", "-journal"))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _sniffed(url: str) -> tuple[FileKind, int]:
    """What the file is, by looks that leave nothing behind.

    A look without locks may fall into another process's checkpoint. So it is believed at once only where it found our
    marks; anything else must be found twice, in a file that stood still. Where somebody has the file open, a look with
    locks decides; without anybody, that one would leave a file behind. It decides, too, where a power cut may have torn
    the file in the middle of a checkpoint: what is whole then is the file with its log, and the torn first page may
    look like anything.
    """
    before: object = None
    finding: tuple[FileKind, int] | apsw.Error | None = None
    for _ in range(_LOOKS):
        try:
            found: tuple[FileKind, int] | apsw.Error = _kind_of(immutable_uri(url), _READ)
        except apsw.Error as error:
            found = error
        if isinstance(found, tuple) and found[0] is FileKind.SONDE:
            return found
        pending = _is_pending(url)
        is_unclear = isinstance(found, apsw.Error) or found[0] is FileKind.EMPTY or _is_ours_in_log(url)
        if pending and (is_unclear or os.path.exists(f"{url}-shm")):
            try:
                return _kind_of(f"file:{quote(url)}?mode=ro", _READ)
            except (apsw.CantOpenError, apsw.ReadOnlyError):  # closed just now, or a folder without permission to write
                if isinstance(found, apsw.Error) and _size(f"{url}-journal") and os.access(url, os.W_OK):
                    return _kind_of(url, _WRITE)  # power went while the file was made: who may write rolls that back
        if isinstance(found, tuple) and found[0] in (FileKind.NEWER, FileKind.OLDER):
            return found
        if isinstance(found, tuple) and found[0] is FileKind.EMPTY and not pending:
            return found  # who creates the tables looks again, with locks
        after = (_stamp(url), _stamp(f"{url}-wal"))
        if before == after and repr(finding) == repr(found):
            break
        before, finding = after, found
        time.sleep(_PAUSE_S)
    if isinstance(found, apsw.Error):
        raise found
    return found


def _is_ours_in_log(url: str) -> bool:
    """Whether the log has the first page of a file of ours, whatever the file itself shows.

    What tore that page may have left any part of it: of the tables, of the marks, of both. Frames of an earlier log
    count, too: all that follows from this is a look with locks.
    """
    try:
        with open(f"{url}-wal", "rb") as log:
            page_bytes = int.from_bytes(log.read(_LOG_HEADER_BYTES)[8:12], "big")
            step = _FRAME_HEADER_BYTES + page_bytes
            for start in range(_LOG_HEADER_BYTES, os.fstat(log.fileno()).st_size, step):
                if os.pread(log.fileno(), 4, start) == _FIRST_PAGE:
                    marks = os.pread(log.fileno(), 12, start + _FRAME_HEADER_BYTES + _MARKS_AT)
                    if marks[:4] == _OUR_VERSION and marks[8:] == _OUR_ID:
                        return True
    except OSError:
        pass
    return False


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def _kind_of(target: str, flags: int) -> tuple[FileKind, int]:
    connection = apsw.Connection(target, flags=flags)
    try:
        connection.set_busy_timeout(1000)
        connection.execute("BEGIN")  # all of it from one state of the file
        return schema.file_kind(connection)
    finally:
        connection.close()


def _reading(url: str, kind: FileKind, *, may_write: bool) -> Location:
    if may_write:
        # A connection that could write but doesn't (query_only): a truly read-only one leaves its -wal and -shm behind.
        return Location(url, url, _WRITE, kind, writable=False)
    if not _is_pending(url):
        return Location(url, immutable_uri(url), _READ, kind, writable=False)
    target = f"file:{quote(url)}?mode=ro"
    try:
        _kind_of(target, _READ)
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        raise StorePermissionError(
            f"cannot open event store '{url}': it has a write-ahead log, which only who may write to the folder can "
            "read; change the folder's mode, or copy the file with its -wal elsewhere"
        ) from None
    return Location(url, target, _READ, kind, writable=False)


def _original(url: str) -> Location:
    """The original's files are never touched. Content in a log is read from a copy."""
    if not _is_pending(url):
        return Location(url, immutable_uri(url), _READ, FileKind.ORIGINAL, writable=False)
    folder = tempfile.mkdtemp(prefix="sonde-")
    copy = os.path.join(folder, "copy.db")
    try:
        if os.path.exists(url + "-shm"):  # perhaps in use: its locks make the copy consistent, and the files are there
            source = apsw.Connection(f"file:{quote(url)}?mode=ro", flags=_READ)
            target = apsw.Connection(copy)
            try:
                source.set_busy_timeout(5000)
                with target.backup("main", source, "main") as backup:
                    backup.step()
            finally:
                target.close()
                source.close()
        else:
            for suffix in ("", "-wal", "-journal"):
                if os.path.exists(url + suffix):
                    shutil.copyfile(url + suffix, copy + suffix)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Location(url, copy, _WRITE, FileKind.ORIGINAL, writable=False, private_folder=folder)
