"""A disk that can lose its power: a VFS of SQLite's that knows which bytes would have survived a cut at any moment.

The files are real ones, which SQLite's own VFS reads, writes, locks and maps; so connections and threads work together
as they always do. Beside them :class:`Disk` keeps a *log* of what was asked of the disk: writes, sizes, names made and
removed, and the syncs that returned. From the log's first n entries :meth:`Disk.cut` makes what a machine could find
after the power went at that moment: a :class:`Platter` with what is durable for sure, and of the rest whatever chance
let through.

What it models:

- A write, a size, a name is durable once a sync of its file, or of its folder, has returned that began after it. A sync
  of the data alone is one of the size, too, as POSIX has it.
- Of what is not, any sector of 512 bytes may be old or new, whatever became of its neighbours and of other files, and
  whichever was written first. A sector that was written several times may have any of its states, or (mood "anyhow")
  what any of the writes to it make in any order.
- A sector may be torn: new up to some byte, then old, or garbage as far as the write went.
- A file's size is independent of its content. What lies between the two is zeros or garbage.
- Names are durable by folder. Each one may be as it was after any of the steps since the last sync of the folder:
  SQLite's log may be back from the dead, or lack a name. Folders made on the way have names, too.
- The shared memory of SQLite's write-ahead log is lost, and the file that it was mapped to holds garbage, or is gone.
- ``honest=False``: the disk says that it synced, and did not.

What it does not: bits that rot in what was durable; bytes beside a write that change with it (SQLite takes a disk for
"powersafe", as those of this century are); files that SQLite does not write, but for the names of folders.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import apsw
from power_platter import FOLDER, Entry, Mood, Name, Platter, Resize, Sync, SyncFolder, Write  # the test loads it

NAME = "disk-of-memory"

# SQLite syncs the folder, too, when it syncs one of these for the first time after it was opened to be made.
_NAMED_BY_SYNC = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class Disk:
    """All below one folder. What is there when it is made is durable.

    ``log`` grows by one entry a step; ``len(log)`` is the time. Thread-safe by the interpreter's lock.
    """

    def __init__(self, root: str | os.PathLike[str], *, honest: bool = True) -> None:
        self.root = os.path.realpath(root)
        self.honest = honest
        self.log: list[Entry] = []
        self._given: dict[str, bytes | None] = {}  # at the beginning; None: a folder
        self._names: dict[str, int] = {}  # as the process sees it
        self._next = 0
        for folder, folders, files in os.walk(self.root):
            for path in (os.path.relpath(os.path.join(folder, name), self.root) for name in folders):
                self._given[path] = None
                self._names[path] = FOLDER
            for path in (os.path.relpath(os.path.join(folder, name), self.root) for name in files):
                with open(os.path.join(self.root, path), "rb") as file:
                    self._given[path] = file.read()
                self._names[path] = self._number()

    @property
    def now(self) -> int:
        """The time: how long the log is."""
        return len(self.log)

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    @contextmanager
    def attached(self, *, autocheckpoint_pages: int = 1000) -> Iterator[None]:
        """All connections of this process that are opened meanwhile use the disk; they must be closed at the end."""
        vfs = _DiskVFS(self)
        fsync = os.fsync

        def observed_fsync(handle: int) -> None:
            path = os.path.realpath(f"/proc/self/fd/{handle}")
            is_ours = os.path.isdir(path) and (path + os.sep).startswith(self.root + os.sep)
            if is_ours:
                for entry in os.scandir(path):
                    if entry.is_dir():
                        self._made(os.path.relpath(entry.path, self.root))
            began = self.now
            fsync(handle)
            if is_ours:
                self.synced_folder(os.path.relpath(path, self.root), began)

        def hook(connection: apsw.Connection) -> None:
            connection.wal_autocheckpoint(autocheckpoint_pages)

        os.fsync = observed_fsync
        apsw.connection_hooks.append(hook)
        try:
            yield
        finally:
            apsw.connection_hooks.remove(hook)
            os.fsync = fsync
            vfs.unregister()

    # -- what the VFS tells --------------------------------------------------------------------------------------------

    def opened(self, full_path: str) -> int | None:
        """The number of a file that exists by now, or is about to; ``None`` if it is not on this disk."""
        path = os.path.relpath(full_path, self.root)
        if path.startswith(os.pardir):
            return None
        self._made(os.path.dirname(path))
        if path not in self._names:
            self._name(path, self._number())
        return self._names[path]

    def _made(self, folder: str) -> None:
        """A folder is there by now, with all above it: made by somebody else than SQLite."""
        if folder and folder not in self._names:
            self._made(os.path.dirname(folder))
            self._name(folder, FOLDER)

    def _name(self, path: str, file: int) -> None:
        self._names[path] = file
        self.log.append(Name(path, file))

    def deleted(self, full_path: str) -> None:
        """A name is about to go."""
        path = os.path.relpath(full_path, self.root)
        if self._names.pop(path, None) is not None:
            self.log.append(Name(path, None))

    def synced_folder(self, folder: str, began: int) -> None:
        """A sync of a folder has returned."""
        if self.honest:
            self.log.append(SyncFolder("" if folder == os.curdir else folder, began))

    # -- power ---------------------------------------------------------------------------------------------------------

    def cut(self, at: int, rng: random.Random) -> dict[str, bytes | None]:
        """What may be found when power went after ``at`` entries of the log: content by path; ``None``: a folder."""
        return Platter(self._given, self.log[:at]).found(rng, Mood.of(rng))

    def synced_at(self, suffix: str, at: int) -> int:
        """When the last sync, of those that had returned by ``at``, of a file whose name ends so had begun."""
        files = {entry.file for entry in self.log[:at] if isinstance(entry, Name) and entry.path.endswith(suffix)}
        return max(
            (entry.began for entry in self.log[:at] if isinstance(entry, Sync) and entry.file in files), default=0
        )


class _DiskVFS(apsw.VFS):
    """SQLite's own VFS for all that it does, and a log of it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._below = apsw.vfs_names()[0]  # the default so far
        super().__init__(NAME, self._below, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # SQLite's
        return _DiskFile(self._disk, self._below, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  # SQLite's
        self._disk.deleted(filename)
        began = self._disk.now
        super().xDelete(filename, syncdir)
        if syncdir:
            self._disk.synced_folder(os.path.relpath(os.path.dirname(filename), self._disk.root), began)


class _DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, below: str, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(below, name, flags)
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._file = None if self._path is None else disk.opened(self._path)
        self._names_by_sync = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _NAMED_BY_SYNC)

    def xLock(self, level: int) -> None:  # noqa: N802  # SQLite's
        try:
            super().xLock(level)
        except apsw.IOError:  # a read-only handle cannot have the lock; SQLite ignores that, and apsw would raise it
            raise apsw.BusyError from None

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # SQLite's
        if self._file is not None:  # first: a write that is under way when the power goes may be there
            self._disk.log.append(Write(self._file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  # SQLite's
        if self._file is not None:
            self._disk.log.append(Resize(self._file, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802  # SQLite's
        if self._file is None or self._path is None:
            return
        began = self._disk.now
        time.sleep(0)  # others work meanwhile; nothing is gained by syncing the real file
        if self._disk.honest:  # last: only a sync that has returned promises anything
            self._disk.log.append(Sync(self._file, began))
        if self._names_by_sync:
            self._names_by_sync = False
            self._disk.synced_folder(os.path.relpath(os.path.dirname(self._path), self._disk.root), began)
