"""Surroundings: what lies around a store's file and can do it harm, or tells of harm that was done.

The file itself is only opened before anybody of this process has it open: closing a handle drops SQLite's locks.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator

from sonde.cli.program import program
from sonde.cli.wording import bytes_text, plural
from sonde.journal import folder_of, look

try:
    import fcntl
except ImportError:  # Windows
    _HAS_FLOCK = False
else:
    _HAS_FLOCK = True

_LARGE_WAL_BYTES = 256 * 1024 * 1024
_LITTLE_ROOM_BYTES = 256 * 1024 * 1024
# Their locks or their memory maps are not what SQLite's log needs, at least not between hosts.
_NETWORK = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "ceph", "lustre", "gpfs", "beegfs", "orangefs",
        "davfs", "fuse.afp", "fuse.blobfuse", "fuse.blobfuse2", "fuse.ceph", "fuse.ceph-fuse", "fuse.curlftpfs",
        "fuse.davfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.mfs", "fuse.rclone", "fuse.s3fs",
        "fuse.sshfs",
    }
)  # fmt: skip
# No network is between, but two kernels are: what one locks or maps, the other need not see.
_OF_A_HOST = frozenset({"9p", "virtiofs", "vboxsf", "prl_fs", "fuse.vmhgfs-fuse", "fuse.grpcfuse", "fakeowner"})
_RACE_SINCE, _RACE_UNTIL = (3, 7, 0), (3, 51, 2)


class Surroundings:
    """Looks once, and remembers. For one thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.remarks: list[str] = []
        self.pages = self.free_pages = 0
        self.mode = ""
        self.file_system = ""
        self.free_bytes = 0
        self.links = 0
        self.journals = self.damaged_journals = self.orphaned_arenas = 0
        self.stale_locks = 0
        self.strays: list[int] = []

    def look(self) -> None:
        """All of it. Before the store is open."""
        if not os.path.isfile(self.path):
            return  # opening the store says so; opening a named pipe would wait for ever
        try:
            with open(self.path, "rb") as file:
                header = file.read(100)
            found = os.stat(self.path)
        except OSError:
            return  # opening the store says what is wrong
        self._look_at_header(header, found.st_size)
        self._look_at_names(found)
        self._look_at_disk()
        self._look_at_journals()
        self._look_at_locks()
        self.strays = strays(self.path)
        for pid in self.strays:
            self.remarks.append(
                f"process {pid} has a file of this name open that was replaced or removed: what it writes there is in "
                "no store; restart the process"
            )

    def look_at_engine(self, engine: str) -> None:
        """The SQLite that sonde itself uses; of those of other programs nothing is known here."""
        version = tuple(int(number) for number in re.findall(r"\d+", engine)[:3])
        if _RACE_SINCE <= version <= _RACE_UNTIL:
            self.remarks.append(
                f"{engine} can damage a file that two processes write to (fixed in 3.51.3); upgrade apsw, and let no "
                "other program with such a version write to the file"
            )

    def look_at_log(self, wal_bytes: int) -> None:
        """The log beside the file."""
        if wal_bytes > _LARGE_WAL_BYTES:
            self.remarks.append(
                f"the log beside the file holds {bytes_text(wal_bytes)}: a reader that never ends keeps it from being "
                "emptied; end programs that read the store and do not go on"
            )

    def _look_at_header(self, header: bytes, size_bytes: int) -> None:
        """How large the file is and how much of it is free.

        Source: https://www.sqlite.org/fileformat2.html, "The Database Header".
        """
        if not header.startswith(b"SQLite format 3\0") or len(header) < 100:
            return
        self.pages = int.from_bytes(header[28:32], "big")
        self.free_pages = int.from_bytes(header[36:40], "big")
        page_bytes = int.from_bytes(header[16:18], "big")
        is_stated = header[24:28] == header[92:96]  # else the number of pages is not to be relied on
        behind = size_bytes - self.pages * (65_536 if page_bytes == 1 else page_bytes)
        if is_stated and behind > 0 and not os.path.exists(f"{self.path}-wal"):
            self.remarks.append(
                f"{plural(behind, 'byte')} behind the end of the data are not sonde's; `{program()} backup` makes a "
                "copy without them"
            )

    def _look_at_names(self, found: os.stat_result) -> None:
        self.links = found.st_nlink
        if found.st_nlink > 1:
            self.remarks.append(
                f"the file has {found.st_nlink} names (hard links), and its log belongs to one of them: whoever opens "
                "it by another damages it; remove the other names"
            )
        if os.path.islink(self.path):
            self.remarks.append(
                "the path is a symbolic link: programs that use both names do not see each other's journals; use "
                f"'{os.path.realpath(self.path)}' everywhere"
            )
        if os.name != "posix":
            return
        self.mode = f"{stat.S_IMODE(found.st_mode):04o}"
        for path in (self.path, f"{self.path}-wal"):
            mode = _mode(path)
            if mode & 0o077:
                what = "the file" if path == self.path else "its log"
                self.remarks.append(f"others may read {what} (mode {mode:04o}); chmod 600 '{path}'")

    def _look_at_disk(self) -> None:
        self.file_system = file_system(self.path)
        where = (
            "on a network file system"
            if self.file_system in _NETWORK
            else "in a folder that a virtual machine shares with its host"
            if self.file_system in _OF_A_HOST
            else ""
        )
        if where:
            self.remarks.append(
                f"the file lies {where} ({self.file_system}); record to a local disk, and copy with "
                f"`{program()} backup`"
            )
        self.free_bytes = shutil.disk_usage(os.path.dirname(self.path)).free
        if self.free_bytes < _LITTLE_ROOM_BYTES:
            self.remarks.append(
                f"only {bytes_text(self.free_bytes)} are free on its disk, and recording waits when it is full; make "
                "room"
            )

    def _look_at_journals(self) -> None:
        folder = folder_of(self.path)
        left = look(folder)
        self.journals = len(left)
        self.damaged_journals = sum(found.is_damaged for found in left)
        if self.damaged_journals:
            self.remarks.append(
                f"{plural(self.damaged_journals, 'journal')} of killed processes can't be read to the end; the next "
                f"writer, or `{program()} doctor --recover`, takes in what can be and records how many events may be "
                "missing"
            )
        names = _listed(folder)
        marks = {name.removesuffix(".mark") for name in names if name.endswith(".mark")}
        orphans = [name for name in names if name.endswith(".arena") and name.split(".")[0] not in marks]
        self.orphaned_arenas = len(orphans)
        if orphans:
            self.remarks.append(
                f"{plural(len(orphans), 'file')} in '{folder}' without a writer, which nobody takes in; to be removed "
                f"once no program records: rm '{os.path.join(folder, orphans[0])}'{' …' if len(orphans) > 1 else ''}"
            )

    def _look_at_locks(self) -> None:
        folder = f"{self.path}-live"
        stale = [name for name in _listed(folder) if not _is_held(os.path.join(folder, name))]
        self.stale_locks = len(stale)
        if stale:
            self.remarks.append(
                f"{plural(len(stale), 'lock file')} of killed processes left in '{folder}', which does no harm; "
                f"`{program()} doctor --recover` clears up"
            )


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:  # there is none
        return []


def _mode(path: str) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return 0


def _is_held(path: str) -> bool:
    if not _HAS_FLOCK:
        return True
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # gone, or not ours to look at
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def strays(path: str) -> list[int]:
    """Processes that have a file open for which ``path`` no longer stands; of the user's own, where there is ``/proc``.

    The readers' logs (``-wal``) aren't looked at: they come and go.
    """
    gone = f"{os.path.realpath(path)} (deleted)"
    return sorted({pid for pid, target in _open_files() if target == gone and pid != os.getpid()})


def _open_files() -> Iterator[tuple[int, str]]:
    for name in _listed("/proc"):
        if not name.isdigit():
            continue
        folder = f"/proc/{name}/fd"
        for number in _listed(folder):
            try:
                yield int(name), os.readlink(f"{folder}/{number}")
            except OSError:  # closed just now
                continue


def file_system(path: str) -> str:
    """The type of file system that a file lies on, by Linux's list of mounts; empty where there is none."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
            mounts = [line.split()[1:3] for line in file]
    except OSError:
        return ""
    real = os.path.realpath(path)
    best = ("", "")
    for escaped, kind in mounts:
        place = escaped.replace("\\040", " ")
        if (real == place or real.startswith(place.rstrip("/") + "/")) and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]
