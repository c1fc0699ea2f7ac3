"""``sonde doctor``: is the store whole, and what does it say about the runs in it."""

from __future__ import annotations

import os
import stat

import click
from rich.text import Text

from sonde.cli.documents import DoctorDocument, fields_text
from sonde.cli.opening import open_sqlite, store_path, waiting_text
from sonde.cli.options import db_option, json_option
from sonde.cli.output import data_console, print_json
from sonde.cli.progress import progress
from sonde.cli.sessions import newest_first
from sonde.cli.wording import bytes_text, plural, printable
from sonde.errors import StoreCorruptError
from sonde.query import Pulse, Status, session_from_events
from sonde.recorder import pending, recover
from sonde.store import Liveness, SQLiteStore
from sonde.store import open as open_store

_LISTED = 8
_MAX_DAMAGE = 1000
_LARGE_WAL_BYTES = 256 * 1024 * 1024
# Their locks or their memory maps are not what SQLite's log needs, at least not between hosts.
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs", "davfs"}
)


@click.command(epilog=fields_text(DoctorDocument))
@click.option("--recover", "take_in", is_flag=True, help="First take in what killed processes left beside the store.")
@json_option
@db_option
@click.pass_context
def command(context: click.Context, *, take_in: bool, as_json: bool, db: str | None) -> None:
    """Examine the store: read all of it, check everything, say what is wrong.

    Checked are SQLite's structures, the checksum of each event and the versions of each stream. What is only worth
    knowing is a remark: events that the recorder lost and said so, events that wait in the journal of a killed process,
    sessions whose process died, the file's mode, a network file system. Exit code 1 if there is damage; remarks don't
    count. Recording may go on meanwhile.

    \b
    Examples:
      sonde doctor
      sonde doctor --recover
      sonde doctor --db runs.db --json | jq .verdict
    """
    path = os.path.abspath(os.path.expanduser(store_path(db)))
    examination = Examination(path)
    # Before the store is open: closing a handle of our own on the file would drop the locks that SQLite holds on it.
    examination.read_header()
    try:
        if take_in:
            with open_store(store_path(db), mode="rw") as written:
                examination.recovered = recover(written).events
        with open_sqlite(db) as store:
            examination.examine(store)
    except StoreCorruptError as error:
        examination.damage.append(str(error))
    if as_json:
        print_json(examination.document())
    else:
        examination.print()
    if examination.damage:
        context.exit(1)


class Examination:
    """Looks at everything once, and remembers what it saw. For one thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.damage: list[str] = []
        self.recovered = 0
        self._waiting = 0
        self._remarks: list[str] = []
        self._engine = ""
        self._schema = self._events = self._size_bytes = self._wal_bytes = 0
        self._is_original = False
        self._free_pages = self._pages = 0
        self._mode = ""
        self._file_system = ""
        self._streams = self._missed = 0
        self._with_gaps: list[str] = []
        self._interrupted: list[str] = []
        self._running: list[str] = []
        self._stale: list[str] = []
        self._live_writers = 0

    def read_header(self) -> None:
        """How large the file is and how much of it is free, from SQLite's header; its mode, and what it lies on.

        Source: https://www.sqlite.org/fileformat2.html, "The Database Header".
        """
        try:
            with open(self.path, "rb") as file:
                header = file.read(100)
            found = os.stat(self.path)
        except OSError:
            return  # opening the store says what is wrong
        if header.startswith(b"SQLite format 3\0") and len(header) == 100:
            self._pages = int.from_bytes(header[28:32], "big")
            self._free_pages = int.from_bytes(header[36:40], "big")
        if os.name == "posix":
            self._mode = f"{stat.S_IMODE(found.st_mode):04o}"
            if found.st_mode & 0o077:
                self._remarks.append(f"others may read the file (mode {self._mode}); chmod 600 '{self.path}'")
        self._file_system = file_system(self.path)
        if self._file_system in _NETWORK:
            self._remarks.append(
                f"the file lies on a network file system ({self._file_system}); record to a local disk"
            )

    def examine(self, store: SQLiteStore) -> None:
        """Look at a store that could be opened."""
        health = store.health()
        self._engine, self._schema, self._events = health.engine, health.schema, health.events
        self._size_bytes, self._wal_bytes = health.size_bytes, health.wal_bytes
        self._is_original = "original" in health.detail
        if not health.ok:
            self.damage.append(health.detail)
        if health.wal_bytes > _LARGE_WAL_BYTES:
            self._remarks.append(
                f"the log beside the file holds {bytes_text(health.wal_bytes)}; a reader that never ends?"
            )
        self._look_at_journals(store)
        with progress("checking events") as advance:
            for found in store.verify(progress=advance):
                if len(self.damage) < _MAX_DAMAGE:
                    place = (
                        f"'{found.stream_id}' version {found.version}: " if found.stream_id and found.version else ""
                    )
                    self.damage.append(f"{found.kind}: {place if found.position else ''}{found.detail}")
        self._look_at_sessions(store)

    def _look_at_journals(self, store: SQLiteStore) -> None:
        left = pending(store)
        self._waiting = left.events
        if self.recovered:
            self._remarks.append(f"{plural(self.recovered, 'event')} of killed processes taken in")
        if left.events:
            self._remarks.append(waiting_text(left.events))
        if left.missed:
            self._remarks.append(
                f"a kill took up to {plural(left.missed, 'event')}; the next writer records it as a gap"
            )

    def _look_at_sessions(self, store: SQLiteStore) -> None:
        streams = newest_first(store)
        self._streams = len(streams)
        pulse = Pulse(store.liveness)
        writers: set[str] = set()
        open_sessions = {
            Status.RUNNING: self._running,
            Status.INTERRUPTED: self._interrupted,
            Status.STALE: self._stale,
        }
        with progress("looking at sessions", len(streams)) as advance:
            for done, stream in enumerate(streams, 1):
                try:
                    summary = session_from_events(stream.stream_id, store.read(stream.stream_id), pulse=pulse).summary
                except StoreCorruptError as error:
                    if str(error) not in self.damage:
                        self.damage.append(str(error))
                    continue
                if summary.missed:
                    self._missed += summary.missed
                    self._with_gaps.append(stream.stream_id)
                if summary.status in open_sessions:
                    open_sessions[summary.status].append(stream.stream_id)
                writers.update(summary.writers)
                advance(done)
        self._live_writers = sum(1 for writer_id in writers if pulse.liveness(writer_id) is Liveness.ALIVE)
        if self._missed:
            self._remarks.append(
                f"{plural(self._missed, 'event')} never reached the store, in {_listed(self._with_gaps)}"
            )
        if self._interrupted:
            self._remarks.append(
                f"{plural(len(self._interrupted), 'session')} interrupted: {_listed(self._interrupted)}"
            )

    def document(self) -> DoctorDocument:
        """What ``--json`` prints."""
        return DoctorDocument(
            path=self.path,
            verdict="damaged" if self.damage else "healthy",
            damage=self.damage,
            remarks=self._remarks,
            engine=self._engine,
            schema=self._schema,
            is_original=self._is_original,
            events=self._events,
            sessions=self._streams,
            size_bytes=self._size_bytes,
            wal_bytes=self._wal_bytes,
            pages=self._pages,
            free_pages=self._free_pages,
            mode=self._mode,
            file_system=self._file_system,
            missed=self._missed,
            running=self._running,
            interrupted=self._interrupted,
            stale=self._stale,
            live_writers=self._live_writers,
            recovered=self.recovered,
            waiting=self._waiting,
        )

    def print(self) -> None:
        """Print it for a person."""
        console = data_console()
        console.print(Text(printable(self.path), "bold"))
        rows = [
            ("size", self._size_text()),
            ("schema", "the Go original's, read only" if self._is_original else f"{self._schema}, {self._engine}"),
            ("events", f"{self._events:,} in {plural(self._streams, 'session')}"),
            ("access", f"mode {self._mode}" + (f", on {self._file_system}" if self._file_system else "")),
            ("writers", f"{plural(self._live_writers, 'process')} recording now" if self._live_writers else "none now"),
        ]
        for label, value in rows:
            line = Text.assemble((f"  {label:<9}", "dim"), value)
            console.print(line, overflow="fold")
        console.print()
        for text in self.damage[:_LISTED]:
            console.print(Text(f"  ✗ {printable(text)}", "red"), overflow="fold")
        if len(self.damage) > _LISTED:
            console.print(Text(f"  ✗ … and {len(self.damage) - _LISTED:,} more; all with --json", "red"))
        for text in self._remarks:
            console.print(Text(f"  ! {printable(text)}", "yellow"), overflow="fold")
        if self.damage or self._remarks:
            console.print()
        remarks = f", {plural(len(self._remarks), 'remark')}" if self._remarks else ""
        if self.damage:
            found = "1,000 or more places" if len(self.damage) >= _MAX_DAMAGE else plural(len(self.damage), "place")
            console.print(
                Text(f"✗ damaged in {found}{remarks}; restore a backup, or export what can be read", "bold red")
            )
        else:
            checked = "" if self._is_original else ": every event is what was written, none is missing"
            console.print(Text(f"✓ healthy{checked}{remarks}", "bold green"))

    def _size_text(self) -> str:
        parts = [bytes_text(self._size_bytes)]
        if self._wal_bytes:
            parts.append(f"{bytes_text(self._wal_bytes)} in its log")
        if self._free_pages:
            parts.append(f"{plural(self._free_pages, 'page')} of {self._pages:,} free")
        return ", ".join(parts)


def _listed(names: list[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_LISTED])
    return f"{shown} and {len(names) - _LISTED:,} more" if len(names) > _LISTED else shown


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
