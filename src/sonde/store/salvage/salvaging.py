"""Salvage: what can still be read of a damaged file, into a new one. The damaged one is only read.

An event in the new file is what was written, to the byte, or it is not there. How rows are found says
:mod:`sonde.store.salvage.carving`, which are believed :mod:`sonde.store.salvage.soundness`, where they stand
:mod:`sonde.store.salvage.placement`, and how the new file tells what is missing :mod:`sonde.store.salvage.rebuilding`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence

import apsw
import msgspec

from sonde.errors import (
    StoreError,
    StoreFormatError,
    StoreNotFoundError,
    StorePermissionError,
    StoreSchemaError,
    StoreUnavailableError,
)
from sonde.store import copying, schema
from sonde.store.failures import Translation
from sonde.store.forking import forks
from sonde.store.identities import Run
from sonde.store.losses import Hole, holes, merged, size, unseen, without
from sonde.store.rows import fetch
from sonde.store.salvage.carving import Carving, chosen
from sonde.store.salvage.pages import Pages
from sonde.store.salvage.placement import place
from sonde.store.salvage.quarantine import Quarantine
from sonde.store.salvage.rebuilding import Rebuilding
from sonde.store.salvage.shapes import Shapes
from sonde.store.salvage.soundness import Sound, Soundness, put, settle_names

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is, and how much there is."""

_ROOM = 3  # the scratch file, the new one, and its copy under its own name


class Salvage(msgspec.Struct, frozen=True):
    """What a salvage kept and what is lost.

    ``lost_versions`` has the lost versions by stream, as closed ranges; ``lost_numbers`` the lost events by writer and
    sequence number, as far as the file still says which numbers it had: not after retention has removed some. ``lost``
    counts both together, each event once.
    ``is_exact``: it is known which events the file had; if not, more may be missing than is said.
    """

    path: str
    output: str
    kept: int
    lost: int
    lost_versions: dict[str, list[Run]]
    lost_numbers: dict[str, list[Run]]
    is_exact: bool
    quarantine: str
    """The file with what can be read of lost events; empty if there is none."""
    quarantined: int
    pages: int
    unreadable_pages: list[int]
    """Pages that held something and are not what was written; numbered from 1."""
    unreadable_blocks: list[int]
    """Blocks of large data that could not be read to their end."""
    log_breaks: int
    """Pages in the log that are not what was written."""
    missing_pages: int
    """Pages that were cut off at the end of the file."""
    is_header_lost: bool
    """Whether the file doesn't begin as a database does."""
    invented_streams: list[str]
    """Streams whose name is lost and that are called by the session of their events, or by their number."""


def salvage(
    path: str | os.PathLike[str], output: str | os.PathLike[str], *, progress: Progress | None = None
) -> Salvage:
    """Write all that can be read of the file at ``path``, and of the log beside it, into the new file ``output``.

    Neither ``path`` nor its log is changed, locked or opened by SQLite. What can be read of events that are not what
    was written goes to ``output`` with its ending replaced by ``.lost.jsonl``. Takes about a minute of processor time
    for a million events, and room for three times the file in the folder of ``output``. Not for a file that this
    process has open, nor one that another records into.

    Raises:
        StoreNotFoundError: there is no such file.
        StoreFormatError: nothing in it is sonde's.
        StoreSchemaError: it was written by another release.
        StoreError: ``output`` exists, the file changes meanwhile, there is no room, or no permission.
    """
    source = os.path.abspath(os.path.expanduser(path))
    target = os.path.abspath(os.path.expanduser(output))
    lost_path = f"{os.path.splitext(target)[0]}.lost.jsonl"
    _check(source, target, lost_path)
    folder = ""
    try:
        with Translation("repair", source), Pages(source) as pages:
            _check_room(source, os.path.dirname(target), pages.bytes_in_all)
            folder = tempfile.mkdtemp(
                prefix=f".{os.path.basename(target)[:100]}.", suffix=".part", dir=os.path.dirname(target)
            )
            operation = _Operation(pages, folder, source=source, target=target, lost_path=lost_path, progress=progress)
            try:
                return operation.run()
            finally:
                operation.close()
    except PermissionError as error:
        raise StorePermissionError(
            f"cannot repair '{source}': no permission for '{error.filename}'; change its mode, or name another output"
        ) from None
    except OSError as error:
        raise StoreUnavailableError(
            f"cannot repair '{source}': {error.strerror}; check the disk, or name an output on another one"
        ) from error
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _check(source: str, target: str, lost_path: str) -> None:
    if not os.path.exists(source):
        raise StoreNotFoundError(f"cannot repair '{source}': no such file; pass the path of the damaged one")
    if not os.path.isfile(source):
        raise StoreFormatError(f"cannot repair '{source}': it is no regular file; pass the path of the damaged one")
    for path in (*[f"{target}{suffix}" for suffix in ("", "-wal", "-shm", "-journal")], lost_path):
        if os.path.lexists(path):
            raise StoreError(f"cannot repair '{source}': '{path}' exists; name another output, or remove it first")
    for store in list(forks.stores):
        if getattr(store, "url", "") == source and not getattr(store, "_closed", True):
            raise StoreError(f"cannot repair '{source}': this process has it open; close the store first")


def _check_room(source: str, folder: str, size_bytes: int) -> None:
    if not os.path.isdir(folder):
        raise StoreNotFoundError(f"cannot repair '{source}': there is no folder '{folder}'; make it first")
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < _ROOM * size_bytes:
        raise StoreUnavailableError(
            f"cannot repair '{source}': {free_bytes:,} bytes are free in '{folder}', expected {_ROOM * size_bytes:,}; "
            "make room, or name an output on another disk"
        )


class _Operation:
    """One salvage. For one thread."""

    def __init__(
        self, pages: Pages, folder: str, *, source: str, target: str, lost_path: str, progress: Progress | None
    ) -> None:
        self._source = source
        self._target = target
        self._lost_path = lost_path
        self._pages = pages
        self._folder = folder
        self._progress = progress
        self._scratch = self._made("scratch.db")
        self._new = self._made("new.db")
        self._shapes = Shapes(self._new)
        self._prepare()
        self._invented: list[str] = []
        self._quarantine = Quarantine(os.path.join(folder, "lost.jsonl"))

    def _made(self, name: str) -> apsw.Connection:
        connection = apsw.Connection(os.path.join(self._folder, name))
        schema.configure(connection, read_only=False)
        connection.execute("PRAGMA synchronous = OFF")  # what counts is copied at the end, and that is synced
        schema.create(connection, on_disk=True)
        return connection

    def close(self) -> None:
        """Close the files in the folder, which goes."""
        self._quarantine.close()
        self._scratch.close()
        self._new.close()

    def run(self) -> Salvage:
        """All of it."""
        scratch = self._scratch
        with scratch:
            carving = Carving(self._pages, self._shapes, scratch, self._told("reading pages"))
            self._require_ours(carving)
            self._put_names(carving)
            self._number_candidates(carving)
        soundness = Soundness(scratch)
        with scratch:
            self._judge(soundness, carving)
            self._name_streams(soundness, carving)
            self._drop_removed(carving)
            unplaced = place(scratch)
            # The checksum of a row covers all but its place: where it is wrong, the place is right.
            scratch.execute(
                """INSERT OR IGNORE INTO entries (position, stream, version)
                    SELECT position, stream, version FROM placed_at WHERE weight > 1 AND NOT is_sound"""
            )
            missing = holes(scratch, carving.bad_stretches)
            self._quarantine_lost(soundness, unplaced)
            ((highest,),) = fetch(scratch, "SELECT ifnull(max(position), 0) FROM entries")
            self._order_kept()
        if not self._pages.is_unchanged():
            raise StoreUnavailableError(
                f"cannot repair '{self._source}': it changes while it is read; stop the programs that record into it"
            )
        return self._rebuild(carving, missing, highest)

    def _told(self, label: str) -> Callable[[int, int], None] | None:
        progress = self._progress
        return None if progress is None else lambda done, total: progress(label, done, total)

    # --- what was found ----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Tables as the store reads them, without what forbids contradictions."""
        columns = self._shapes.event_columns
        for statement in (
            "DROP VIEW telemetry_events",
            *[f"DROP TABLE {name}" for name in ("events", "names", "streams", "origins")],
            f"CREATE TABLE events ({columns[0]} INTEGER PRIMARY KEY, {', '.join(columns[1:])})",
            f"CREATE TABLE carved ({', '.join(columns)}, weight)",
            """CREATE TABLE entries (position INTEGER, stream INTEGER, version INTEGER,
                PRIMARY KEY (position, stream, version)) WITHOUT ROWID""",
            "CREATE TABLE names (id INTEGER PRIMARY KEY, name)",
            "CREATE TABLE streams (id INTEGER PRIMARY KEY, name, first_version DEFAULT 1)",
            "CREATE TABLE origins (id INTEGER PRIMARY KEY, session, plan, task, writer)",
            """CREATE TABLE placed_at (n INTEGER PRIMARY KEY, position INTEGER, stream INTEGER, version INTEGER,
                weight INTEGER, is_sound INTEGER DEFAULT 0)""",
        ):
            self._scratch.execute(statement)

    def _require_ours(self, carving: Carving) -> None:
        header = self._pages.header()
        identity = (int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))
        if identity == (schema.APPLICATION_ID, schema.SCHEMA_VERSION):
            return
        if carving.stated_sql is not None and carving.stated_sql == self._shapes.trees["events"].sql:
            return
        if identity[0] == schema.APPLICATION_ID and carving.stated_sql is not None:
            raise StoreSchemaError(
                f"cannot repair '{self._source}': schema {identity[1]}, this release repairs {schema.SCHEMA_VERSION}; "
                "use the release of sonde that wrote it"
            )
        if not fetch(self._scratch, "SELECT 1 FROM carved LIMIT 1"):
            raise StoreFormatError(
                f"cannot repair '{self._source}': no event of sonde's is in it; expected a file that sonde wrote; "
                "restore a backup, or pass another path"
            )

    def _put_names(self, carving: Carving) -> None:
        for number, name in chosen(carving.names):
            put(self._scratch, "names", number, name)
        put(self._scratch, "names", 0, "")
        for number, origin in chosen(carving.origins):
            put(self._scratch, "origins", number, origin)
        for number, name in chosen(carving.streams):
            # A key that no tree leads to may be one of ``names``.
            if carving.streams[number][name] or fetch(
                self._scratch, "SELECT 1 FROM carved WHERE stream = ? AND weight > 1 LIMIT 1", (number,)
            ):
                put(self._scratch, "streams", number, name)
        self._scratch.executemany(
            "UPDATE streams SET first_version = ?2 WHERE id = ?1", list(carving.first_versions.items())
        )

    def _number_candidates(self, carving: Carving) -> None:
        """Each distinct row once, with a number in place of its position; streams without a name get one for now."""
        columns = ", ".join(self._shapes.event_columns)
        rest = ", ".join(self._shapes.event_columns[1:])
        self._scratch.execute(
            f"CREATE TABLE distinct_rows AS SELECT {columns}, max(weight) AS weight FROM carved GROUP BY {columns}"
        )
        self._scratch.execute("DROP TABLE carved")
        self._scratch.execute(f"INSERT INTO events SELECT rowid, {rest} FROM distinct_rows ORDER BY rowid")
        self._scratch.execute(
            """INSERT INTO placed_at (n, position, stream, version, weight)
                SELECT rowid, position, stream, version, weight FROM distinct_rows ORDER BY rowid"""
        )
        self._scratch.execute("DROP TABLE distinct_rows")

    # --- what is believed --------------------------------------------------------------------------------------------

    def _judge(self, soundness: Soundness, carving: Carving) -> None:
        ((total,),) = fetch(self._scratch, "SELECT count(*) FROM placed_at")
        told = self._told("checking events")
        sound: list[tuple[int]] = []
        for number, found in soundness.all():
            if isinstance(found, Sound):
                sound.append((number,))
            if told is not None and not number % 500:
                told(number, total)
        mark = "UPDATE placed_at SET is_sound = 1 WHERE n = ?"
        self._scratch.executemany(mark, sound)
        self._scratch.execute("CREATE INDEX unsound ON placed_at (n) WHERE NOT is_sound")
        for table, candidates in (("names", carving.names), ("origins", carving.origins)):
            settle_names(self._scratch, soundness, table, candidates, mark)
        soundness.forget()

    def _name_streams(self, soundness: Soundness, carving: Carving) -> None:
        """Streams whose name is lost, or stated in two ways: as the session of their events, if it is one."""
        taken = {name for (name,) in fetch(self._scratch, "SELECT name FROM streams")}
        unnamed = fetch(
            self._scratch,
            """SELECT stream, max(n) FROM placed_at WHERE is_sound AND stream NOT IN (SELECT id FROM streams)
                GROUP BY stream HAVING max(weight) > 1""",
        )
        for number, n in unnamed:
            found = soundness.read(n)
            session_id = found.event.session_id if isinstance(found, Sound) else ""
            name = session_id if session_id and session_id not in taken else f"stream-{number}"
            taken.add(name)
            put(self._scratch, "streams", number, name)
            self._invented.append(name)
        for number, names in carving.streams.items():
            if len(names) < 2:
                continue
            ((n,),) = fetch(self._scratch, "SELECT max(n) FROM placed_at WHERE is_sound AND stream = ?", (number,))
            found = soundness.read(n) if n is not None else ""
            if isinstance(found, Sound) and found.event.session_id in names:
                self._scratch.execute("UPDATE streams SET name = ? WHERE id = ?", (found.event.session_id, number))
        soundness.forget()

    def _drop_removed(self, carving: Carving) -> None:
        """What retention removed is not to come back from pages that are free, or not yet overwritten."""
        self._scratch.execute(
            """UPDATE streams SET first_version = (SELECT min(first_version, ifnull(min(p.version), first_version))
                FROM placed_at AS p WHERE p.stream = streams.id AND p.weight > 1 AND p.is_sound)"""
        )
        self._scratch.execute(
            """UPDATE placed_at SET is_sound = 0 WHERE weight < 2
                AND version < (SELECT first_version FROM streams WHERE id = placed_at.stream)"""
        )
        if carving.knows_streams:
            gone = [
                (number,)
                for (number,) in fetch(self._scratch, "SELECT id FROM streams")
                if number not in carving.live_streams
            ]
            self._scratch.executemany("UPDATE placed_at SET is_sound = 0 WHERE weight < 2 AND stream = ?", gone)
            self._scratch.executemany(
                """DELETE FROM streams WHERE id = ?1
                    AND NOT EXISTS (SELECT 1 FROM placed_at WHERE is_sound AND stream = ?1)""",
                gone,
            )

    def _quarantine_lost(self, soundness: Soundness, unplaced: Sequence[int]) -> None:
        rows = fetch(
            self._scratch,
            """SELECT n, position, version FROM placed_at AS p WHERE weight > 1 AND NOT is_sound
                AND NOT EXISTS (SELECT 1 FROM kept WHERE position = p.position) ORDER BY n""",
        )
        for number, position, version in rows:
            reason = soundness.read(number)
            self._quarantine.add(self._scratch, number, position, version, reason if isinstance(reason, str) else "")
        for number in unplaced:
            ((position, version),) = fetch(
                self._scratch, "SELECT position, version FROM placed_at WHERE n = ?", (number,)
            )
            self._quarantine.add(
                self._scratch, number, position, version, "its place in its stream is not sure", is_sound=True
            )

    def _order_kept(self) -> None:
        """The kept rows as the store has them: position, stream and version where they belong."""
        columns = self._shapes.event_columns
        placed = {"position": "k.position", "stream": "k.stream", "version": "k.version"}
        selected = ", ".join(placed.get(name, f"e.{name}") for name in columns)
        self._scratch.execute(f"CREATE TABLE final ({columns[0]} INTEGER PRIMARY KEY, {', '.join(columns[1:])})")
        self._scratch.execute(
            f"""INSERT INTO final SELECT {selected} FROM kept AS k JOIN events AS e ON e.position = k.n
                ORDER BY k.position"""
        )
        self._scratch.execute("DROP TABLE events")
        self._scratch.execute("ALTER TABLE final RENAME TO events")

    # --- the new file ------------------------------------------------------------------------------------------------

    def _rebuild(self, carving: Carving, missing: Sequence[Hole], highest: int) -> Salvage:
        names = dict(fetch(self._scratch, "SELECT id, name FROM names"))
        streams = dict(fetch(self._scratch, "SELECT id, name FROM streams"))
        firsts = dict(fetch(self._scratch, "SELECT name, first_version FROM streams"))
        ((total,),) = fetch(self._scratch, "SELECT count(*) FROM events")
        rebuilding = Rebuilding(self._new, names, streams)
        told = self._told("writing events")
        rebuilding.write(
            (found for _, found in Soundness(self._scratch).all() if isinstance(found, Sound)),
            missing,
            None if told is None else lambda done: told(done, total),
        )
        for hole in missing:
            if not hole.position:
                rebuilding.write_gap_at_end(hole)
        has_removed = any(first > 1 for first in firsts.values()) or carving.removed > 0
        seen = {names[writer]: sorted(ranges) for writer, ranges in carving.seen.items() if writer in names}
        in_order = carving.is_whole and not missing and not self._quarantine.count
        by_version = sum(hole.events for hole in missing)
        removed = max(carving.removed, sum(first - 1 for first in firsts.values()))
        numbers = {} if in_order else unseen(seen, rebuilding.kept, has_removed=has_removed)
        gone = sum(size(merged(ranges)) for ranges in carving.seen.values()) - rebuilding.events - removed
        if has_removed and gone <= 0:
            numbers = {}
        unknown = 0 if in_order else max(0, gone - by_version)
        if unknown:
            rebuilding.write_gap_of_unknown(unknown, rebuilding.last_stream or next(iter(firsts), "default"))
        rebuilding.finish(
            streams=firsts,
            floor=max(carving.floor, highest),
            writers=carving.writers,
            seen=_removed(seen, rebuilding.kept, numbers) if has_removed else {},
        )
        self._new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        quarantined = self._quarantine.count
        copying.copy(self._new, self._target, overwrite=False, progress=self._told("copying"))
        if quarantined:
            self._quarantine.publish(self._lost_path)
        lost_versions: dict[str, list[Run]] = {}
        for hole in missing:
            lost_versions.setdefault(streams[hole.stream], []).append((hole.first, hole.last))
        return Salvage(
            self._source,
            self._target,
            rebuilding.events,
            by_version + unknown + len(rebuilding.twice),
            {name: sorted(ranges) for name, ranges in lost_versions.items()},
            {} if has_removed else numbers,  # the file doesn't tell them from those that retention removed
            in_order or (carving.knows_seen and not has_removed and len(seen) == len(carving.seen)),
            self._lost_path if quarantined else "",
            quarantined,
            self._pages.count,
            sorted(carving.unreadable),
            sorted(carving.bad_blocks),
            self._pages.breaks,
            self._pages.missing,
            not self._pages.has_header,
            self._invented,
        )


def _removed(
    seen: Mapping[str, Sequence[Run]], kept: Mapping[str, Sequence[Run]], lost: Mapping[str, Sequence[Run]]
) -> dict[str, list[Run]]:
    """Numbers that stay known though their events are gone: nobody is to take them in again."""
    found = {}
    for writer_id, ranges in seen.items():
        if rest := without(without(ranges, kept.get(writer_id, ())), lost.get(writer_id, ())):
            found[writer_id] = rest
    return found
