"""``sonde doctor``: is the store whole, and what does it say about the runs in it."""

from __future__ import annotations

import os

import click
from rich.text import Text

from sonde.cli.documents import DoctorDocument, RepairDocument, fields_text
from sonde.cli.opening import left_texts, open_sqlite, store_path
from sonde.cli.options import db_option, json_option
from sonde.cli.output import data_console, print_json
from sonde.cli.program import program
from sonde.cli.progress import progress
from sonde.cli.repair import repair
from sonde.cli.sessions import newest_first
from sonde.cli.surroundings import Surroundings
from sonde.cli.wording import bytes_text, missed_text, plural, printable
from sonde.errors import StoreCorruptError, StoreError, StoreFormatError
from sonde.query import Pulse, Status, session_from_events
from sonde.recorder import pending, recover
from sonde.store import Liveness, SQLiteStore
from sonde.store import open as open_store
from sonde.store.liveness import remove_stale_locks

_LISTED = 8
_MAX_DAMAGE = 1000


@click.command(epilog=fields_text(DoctorDocument, RepairDocument))
@click.option("--recover", "take_in", is_flag=True, help="First take in what killed processes left, and clear up.")
@click.option("--default-rules", is_flag=True, help="With --recover: redact all of it by sonde's rules.")
@click.option("--repair", "wants_repair", is_flag=True, help="Write what can be read into a new file instead.")
@click.option("-o", "--output", metavar="FILE", help="The new file of --repair; without it runs.repaired.db, or so.")
@json_option
@db_option
@click.pass_context
def command(
    context: click.Context,
    *,
    take_in: bool,
    default_rules: bool,
    wants_repair: bool,
    output: str | None,
    as_json: bool,
    db: str | None,
) -> None:
    """Examine the store: read all of it, check everything, say what is wrong.

    Checked are SQLite's structures, the checksum of each event, the versions of each stream, and whether the store
    knows each event. What is only worth knowing is a remark: events that the recorder lost and said so, events that
    wait in the journal of a killed process, sessions whose process died, the file's mode and names, a full disk, a
    network file system. Recording may go on meanwhile.

    --recover leaves the events of programs that redact by rules of their own, which nobody else has: run such a program
    again, and it takes them in. Where sonde's rules do for them, add --default-rules.

    --repair writes all that can be read of a damaged file into a new one and says what is lost. The damaged file and
    its log are only read; stop the programs that record into it first.

    Exit codes: 0 healthy, or repaired and nothing lost; 1 damaged, or repaired and something lost; 2 it can't be said,
    since the file cannot be opened, or not repaired; 3 there is no such file, or it is empty.
    Remarks don't count.

    \b
    Examples:
      sonde doctor
      sonde doctor --recover
      sonde doctor --db runs.db --json | jq .verdict
      sonde doctor --repair --db runs.db --output saved.db
    """
    if take_in and wants_repair:
        raise click.UsageError("--recover writes to the store, --repair never does; give one of them.")
    if default_rules and not take_in:
        raise click.UsageError("--default-rules belongs to --recover; add it, or leave --default-rules away.")
    if output is not None and not wants_repair:
        raise click.UsageError("--output belongs to --repair; add it, or leave --output away.")
    path = os.path.abspath(os.path.expanduser(store_path(db)))
    if wants_repair:
        if not repair(db, path, output, as_json=as_json):
            context.exit(1)
        return
    cleared = _clear_up(db) if take_in and os.path.isfile(path) else 0
    surroundings = Surroundings(path)
    surroundings.look()
    if cleared:
        surroundings.remarks.append(f"{plural(cleared, 'lock file')} of killed processes removed")
    examination = Examination(surroundings)
    try:
        if take_in:
            open_sqlite(db).close()  # an empty file is no store, and is not made one
            with open_store(store_path(db), mode="rw") as written:
                examination.recovered = recover(written, with_default_rules=default_rules).events
        with open_sqlite(db) as store:
            examination.examine(store)
    except StoreCorruptError as error:
        examination.add_damage(str(error))
    except StoreFormatError as error:
        if not os.path.isfile(path):
            raise
        raise type(error)(f"{error}; if sonde wrote it, `{program()} doctor --repair` saves what can be read") from None
    if as_json:
        print_json(examination.document())
    else:
        examination.print()
    if examination.damage:
        context.exit(1)


def _clear_up(db: str | None) -> int:
    """Remove the lock files of dead processes, which the store notes before, if it can be opened for writing."""
    try:
        open_sqlite(db).close()  # an empty file is no store, and is not made one
        with open_store(store_path(db), mode="rw") as store:
            return store.remove_stale_locks() if isinstance(store, SQLiteStore) else 0
    except StoreError:  # the examination will tell
        return remove_stale_locks(f"{os.path.abspath(os.path.expanduser(store_path(db)))}-live")


class Examination:
    """Looks at everything once, and remembers what it saw. For one thread."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.path = surroundings.path
        self.damage: list[str] = []
        self.recovered = 0
        self._around = surroundings
        self._waiting = 0
        self._remarks = surroundings.remarks
        self._engine = ""
        self._schema = self._events = self._size_bytes = self._wal_bytes = 0
        self._is_original = False
        self._streams = self._missed = 0
        self._missed_bound = ""
        self._with_gaps: list[str] = []
        self._interrupted: list[str] = []
        self._running: list[str] = []
        self._stale: list[str] = []
        self._live_writers = 0

    def add_damage(self, text: str) -> None:
        """Note it, unless it is noted, or there is too much of it."""
        if len(self.damage) < _MAX_DAMAGE and text not in self.damage:
            self.damage.append(text)

    def examine(self, store: SQLiteStore) -> None:
        """Look at a store that could be opened."""
        health = store.health()
        self._engine, self._schema, self._events = health.engine, health.schema, health.events
        self._size_bytes, self._wal_bytes = health.size_bytes, health.wal_bytes
        self._is_original = "original" in health.detail
        if not health.ok:
            self.damage.append(health.detail)
        self._around.look_at_log(health.wal_bytes)
        self._around.look_at_engine(health.engine)
        self._look_at_journals(store)
        with progress("checking events") as advance:

            def tell(done: int, total: int) -> None:
                self._events = done  # those that are there; the store reckons from versions, which damage may lack
                advance(done, total)

            for found in store.verify(progress=tell):
                place = f"'{found.stream_id}' version {found.version}: " if found.stream_id and found.version else ""
                self.add_damage(f"{found.kind}: {place if found.position else ''}{found.detail}")
        self._look_at_sessions(store)

    def _look_at_journals(self, store: SQLiteStore) -> None:
        left = pending(store)
        self._waiting = left.events
        if self.recovered:
            self._remarks.append(f"{plural(self.recovered, 'event')} of killed processes taken in")
        self._remarks += left_texts(left)

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
                    self.add_damage(str(error))
                    continue
                except (ValueError, TypeError, LookupError) as error:  # what damage makes of values
                    self.add_damage(f"session '{stream.stream_id}' cannot be read: {type(error).__name__}: {error}")
                    continue
                if summary.missed:
                    self._missed += summary.missed
                    self._missed_bound = max(self._missed_bound, summary.missed_bound)  # "some" is the weakest
                    self._with_gaps.append(stream.stream_id)
                if summary.status in open_sessions:
                    open_sessions[summary.status].append(stream.stream_id)
                writers.update(summary.writers)
                advance(done)
        self._live_writers = sum(1 for writer_id in writers if pulse.liveness(writer_id) is Liveness.ALIVE)
        if self._missed:
            missed = missed_text(self._missed, self._missed_bound)
            self._remarks.append(
                f"{missed} never reached the store, in {_listed(self._with_gaps)}; "
                f"`{program()} show` says where and why"
            )
        if self._interrupted:
            self._remarks.append(
                f"{plural(len(self._interrupted), 'session')} interrupted: {_listed(self._interrupted)}; "
                f"`{program()} show` says how far it came"
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
            pages=self._around.pages,
            free_pages=self._around.free_pages,
            mode=self._around.mode,
            file_system=self._around.file_system,
            missed=self._missed,
            running=self._running,
            interrupted=self._interrupted,
            stale=self._stale,
            live_writers=self._live_writers,
            recovered=self.recovered,
            waiting=self._waiting,
            free_bytes=self._around.free_bytes,
            links=self._around.links,
            journals=self._around.journals,
            damaged_journals=self._around.damaged_journals,
            orphaned_arenas=self._around.orphaned_arenas,
            stale_locks=self._around.stale_locks,
            strays=self._around.strays,
        )

    def print(self) -> None:
        """Print it for a person."""
        console = data_console()
        console.print(Text(printable(self.path), "bold"))
        rows = [
            ("size", self._size_text()),
            ("schema", "the Go original's, read only" if self._is_original else f"{self._schema}, {self._engine}"),
            ("events", f"{self._events:,} in {plural(self._streams, 'session')}"),
            ("access", self._access_text()),
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
                Text(
                    f"✗ damaged in {found}{remarks}; restore a backup, or save what can be read: "
                    f"{program()} doctor --repair",
                    "bold red",
                ),
                overflow="fold",
            )
        else:
            none = "none that reached it" if self._missed else "none"
            checked = "" if self._is_original else f": every event is what was written, {none} is missing"
            console.print(Text(f"✓ healthy{checked}{remarks}", "bold green"))

    def _access_text(self) -> str:
        parts = [f"mode {self._around.mode}"] if self._around.mode else []
        if self._around.file_system:
            parts.append(f"on {self._around.file_system}")
        if self._around.free_bytes:
            parts.append(f"{bytes_text(self._around.free_bytes)} free")
        return ", ".join(parts)

    def _size_text(self) -> str:
        parts = [bytes_text(self._size_bytes)]
        if self._wal_bytes:
            parts.append(f"{bytes_text(self._wal_bytes)} in its log")
        if self._around.free_pages:
            parts.append(f"{plural(self._around.free_pages, 'page')} of {self._around.pages:,} free")
        return ", ".join(parts)


def _listed(names: list[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_LISTED])
    return f"{shown} and {len(names) - _LISTED:,} more" if len(names) > _LISTED else shown
