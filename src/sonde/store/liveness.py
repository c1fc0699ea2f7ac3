"""Liveness: whether the process behind a writer still records.

A writer that registers holds a ``flock`` on a file of its own; the kernel lets go of it when the process dies, however
it dies. What the file cannot tell (it was removed, the file system has no locks), boot id, pid and the process's start
time do. A ``flock`` belongs to an open file, not to a process as POSIX locks do: the recording process can look at its
own.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from contextlib import suppress

import apsw

from sonde.errors import StoreUnavailableError
from sonde.store.contract import Liveness
from sonde.store.location import make_folder
from sonde.store.names import storable
from sonde.store.rows import fetch

try:
    import fcntl
except ImportError:  # Windows: boot id and pid have to do
    _HAS_FLOCK = False
else:
    _HAS_FLOCK = True

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}")
_GRACE_S = 1.0
_ENDED_STATES = (b"Z", b"X")

_REGISTER = """INSERT INTO writers (writer, host, boot, pid, process_start, registered_ns) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET host = excluded.host, boot = excluded.boot, pid = excluded.pid,
    process_start = excluded.process_start, registered_ns = excluded.registered_ns, released_ns = NULL"""
_RELEASE = (
    "UPDATE writers SET released_ns = ? WHERE released_ns IS NULL AND writer = (SELECT id FROM names WHERE name = ?)"
)
_UNRELEASED = "SELECT name FROM names WHERE id IN (SELECT writer FROM writers WHERE released_ns IS NULL)"
_SELECT = """SELECT host, boot, pid, process_start, released_ns FROM writers
    WHERE writer = (SELECT id FROM names WHERE name = ?)"""


def boot_id() -> str | None:
    """What tells one boot of this machine from another; ``None`` where the system has no such thing."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; ``None`` if there is none, or no ``/proc``.

    A process that died and whose parent has not asked for its exit status yet (a zombie) is none.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold blanks and parentheses itself. After it: the state, 18 more, the time.
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in _ENDED_STATES else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def register(connection: apsw.Connection, writer: int) -> None:
    """Record who this process is. Inside the caller's transaction."""
    pid = os.getpid()
    connection.execute(_REGISTER, (writer, socket.gethostname(), boot_id(), pid, process_start(pid), time.time_ns()))


def release(connection: apsw.Connection, writer_id: str) -> None:
    """Record that the writer ended in order. Inside the caller's transaction."""
    connection.execute(_RELEASE, (time.time_ns(), storable(writer_id)))


def judge(connection: apsw.Connection, writer_id: str, *, held: bool | None) -> Liveness:
    """The verdict, from what the store says and whether the writer's file is locked; ``None``: nobody can tell."""
    rows = fetch(connection, _SELECT, (storable(writer_id),))
    if not rows:
        return Liveness.UNKNOWN
    host, boot, pid, started, released_ns = rows[0]
    if released_ns is not None:
        return Liveness.DEAD
    if held:
        return Liveness.ALIVE
    if host != socket.gethostname():
        # Another container of this machine: a lock that can be seen tells. Process ids are not the same there.
        is_ours = boot is not None and boot == boot_id()
        return Liveness.DEAD if is_ours and held is False else Liveness.UNKNOWN
    if boot is None or started is None:  # no /proc there: a pid alone may be another process's by now
        return Liveness.UNKNOWN
    return Liveness.ALIVE if boot == boot_id() and process_start(int(pid)) == started else Liveness.DEAD


def unreleased(connection: apsw.Connection) -> list[str]:
    """The writers that have not ended in good order, nor were found dead when their locks were removed."""
    return [name for (name,) in fetch(connection, _UNRELEASED)]


def release_dead(connection: apsw.Connection, lock_files: LockFiles) -> None:
    """Record that the writers are dead whose files tell so and are about to go. Inside the caller's transaction.

    Of a writer in another container nothing but its file tells. Who records under such a name once more locks the file
    before its own transaction, which takes this back; so no living writer is left recorded as dead.
    """
    for writer_id in unreleased(connection):
        if lock_files.is_held(writer_id) is False and judge(connection, writer_id, held=False) is Liveness.DEAD:
            release(connection, writer_id)


def remove_stale_locks(folder: str) -> int:
    """Remove the lock files of dead processes, and the folder if nothing is left; say how many. Safe at any time.

    Each is removed while it is locked, so that a writer of that name, who looks whether its file still has a name once
    it is locked, makes a new one. What is held, or cannot be locked or opened, stays; so does what was locked through
    another mount of this machine, whose locks cannot be seen from here.
    """
    removed = 0
    if not _HAS_FLOCK or not os.path.isdir(folder):
        return 0
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_nlink and _is_lock_shared(handle) is not False:
                    os.unlink(path)
                    removed += 1
            finally:
                os.close(handle)
    with suppress(OSError):  # not empty: other writers
        os.rmdir(folder)
    return removed


def _mount_of(handle: int) -> bytes:
    return f"{boot_id()} {os.fstat(handle).st_dev}".encode()


def _note_mount(handle: int) -> None:
    """Put down in a lock file through which file system it is locked.

    A container's overlay keeps its own locks, which whoever looks at the folder beneath it finds free.
    """
    with suppress(OSError):  # no room: then nobody can tell
        mount = _mount_of(handle)
        os.pwrite(handle, mount, 0)
        os.ftruncate(handle, len(mount))


def _is_lock_shared(handle: int) -> bool | None:
    """Whether the lock of whoever had this file can be seen from here; ``None`` if that is not known.

    What was locked before the machine's last start is held by nobody.
    """
    noted, own = os.pread(handle, 200, 0), _mount_of(handle)
    if not noted:
        return None
    return noted == own or noted.split(b" ")[0] != own.split(b" ")[0]


class LockFiles:
    """The lock files of one process's writers, in a folder beside the store. Used under the store's write lock."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._handles: dict[str, int] = {}

    @property
    def held(self) -> list[str]:
        """The writers that this process holds."""
        return list(self._handles)

    def hold(self, writer_id: str) -> None:
        """Lock the writer's file until it is let go or the process ends.

        Raises:
            StoreUnavailableError: another process holds it, or the file can't be made.
        """
        if writer_id in self._handles or not _HAS_FLOCK:
            self._handles.setdefault(writer_id, -1)
            return
        path = self._path(writer_id)
        give_up_s = time.monotonic() + _GRACE_S
        while True:
            try:
                make_folder(self._folder)
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # another process just removed the empty folder
                if time.monotonic() < give_up_s:
                    continue
                raise self._refusal(writer_id, "its folder keeps being removed") from None
            except OSError as error:
                raise self._refusal(writer_id, str(error.strerror)) from error
            try:
                os.fchmod(handle, 0o600)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_nlink:
                    self._handles[writer_id] = handle
                    _note_mount(handle)
                    return
                os.close(handle)  # another process removed the file between open and lock
                continue
            except BlockingIOError:
                os.close(handle)
            except OSError:  # no locks on this file system: pid and start time have to do
                self._handles[writer_id] = handle
                return
            if time.monotonic() >= give_up_s:  # who merely looks lets go at once
                raise self._refusal(writer_id, "another process records under this name")
            time.sleep(0.005)

    def let_go(self, writer_id: str) -> None:
        """Unlock and remove the writer's file, and the folder if it was the last. Idempotent."""
        handle = self._handles.pop(writer_id, None)
        if handle is None:
            return
        if handle >= 0:
            # Removed while locked: nobody takes a file for a free one that is about to go.
            with suppress(OSError):
                os.unlink(self._path(writer_id))
            os.close(handle)
        with suppress(OSError):  # not empty: other writers
            os.rmdir(self._folder)

    def is_held(self, writer_id: str) -> bool | None:
        """Whether any process, this one included, holds the writer's file; ``None`` where that cannot be seen.

        There is none to look at, or it was locked through another mount. Lookers don't see each other.
        """
        if not _HAS_FLOCK:
            return None
        try:
            handle = os.open(self._path(writer_id), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False if _is_lock_shared(handle) else None
        except BlockingIOError:
            return True
        except OSError:
            return None
        finally:
            os.close(handle)

    def clear_up(self) -> int:
        """Remove the lock files of dead processes; how many."""
        return remove_stale_locks(self._folder)

    def forget(self) -> None:
        """In a forked child: close the inherited handles, so that the parent's death frees its locks."""
        for handle in self._handles.values():
            if handle >= 0:
                os.close(handle)
        self._handles = {}

    def _path(self, writer_id: str) -> str:
        name = (
            writer_id if _PLAIN.fullmatch(writer_id) else f".{hashlib.sha256(storable(writer_id).encode()).hexdigest()}"
        )
        return os.path.join(self._folder, name)

    def _refusal(self, writer_id: str, why: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"cannot register writer {writer_id[:80]!r} in '{self._folder}': {why}; use a new writer id, and check the "
            "folder"
        )
