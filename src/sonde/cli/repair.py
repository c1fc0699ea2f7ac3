"""Repair: ``sonde doctor --repair``, what can be read of a damaged store into a new one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack

from rich.text import Text

from sonde.cli.documents import RepairDocument
from sonde.cli.opening import missing, require_folder, require_other_file
from sonde.cli.output import data_console, print_json
from sonde.cli.program import program
from sonde.cli.progress import Advance, progress
from sonde.cli.wording import plural, printable
from sonde.errors import StoreError, StoreNotFoundError
from sonde.journal import folder_of, look
from sonde.store import SQLiteStore
from sonde.store.salvage import Salvage, salvage

_LISTED = 8


def repair(db: str | None, path: str, output: str | None, *, as_json: bool) -> bool:
    """Write the new file and say what was kept; says whether nothing is lost.

    Raises:
        StoreError: there is no such file, nothing of sonde's is in it, or the new file cannot be written.
    """
    if not os.path.exists(path):
        raise StoreNotFoundError(missing(db))
    target = output or default_output(path)
    require_folder(target, "repair into")
    require_other_file(db, target, "--output")
    with _Bars() as bars:
        found = salvage(path, target, progress=bars)
    with progress("checking the new file") as advance, SQLiteStore(target, mode="ro") as store:
        flaws = [damage.detail for damage in store.verify(progress=advance)]
        waiting, missed = _in_journals(path, store)
    if flaws:
        raise StoreError(
            f"cannot repair '{path}': the new file '{target}' isn't sound ({flaws[0]}); keep both, and please report "
            "this"
        )
    document = _document(found, waiting=waiting, missed=missed)
    if as_json:
        print_json(document)
    else:
        _print(document)
    return not document.lost and not document.missed_at_most


def default_output(path: str) -> str:
    """``runs.db`` becomes ``runs.repaired.db``.

    >>> default_output("/data/runs.db")
    '/data/runs.repaired.db'
    """
    stem, ending = os.path.splitext(path)
    return f"{stem}.repaired{ending}"


class _Bars:
    """One bar after the other, as the work says what it does."""

    def __init__(self) -> None:
        self._label = ""
        self._stack = ExitStack()
        self._advance: Advance | None = None

    def __call__(self, label: str, done: int, total: int) -> None:
        if label != self._label or self._advance is None:
            self._stack.close()
            self._label = label
            self._advance = self._stack.enter_context(progress(label, total))
        self._advance(done, total)

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _in_journals(path: str, store: SQLiteStore) -> tuple[int, int]:
    """Events of killed processes that wait beside the damaged file, and how many more they published at most."""
    waiting = missed = 0
    for left in look(folder_of(path)):
        ranges = store.seen(left.header.writer_id)
        new = sum(1 for seq in left.seqs if not any(first <= seq <= last for first, last in ranges))
        waiting += new
        missed += left.missing(sum(last - first + 1 for first, last in ranges) + new)
    return waiting, missed


def _document(found: Salvage, *, waiting: int, missed: int) -> RepairDocument:
    by_numbers = sum(last - first + 1 for ranges in found.lost_numbers.values() for first, last in ranges)
    return RepairDocument(
        path=found.path,
        output=found.output,
        kept=found.kept,
        lost=found.lost,
        is_exact=found.is_exact,
        lost_versions={name: [list(run) for run in ranges] for name, ranges in found.lost_versions.items()},
        lost_numbers={name: [list(run) for run in ranges] for name, ranges in found.lost_numbers.items()},
        missed_at_most=max(0, missed - by_numbers),
        waiting=waiting,
        quarantine=found.quarantine,
        quarantined=found.quarantined,
        pages=found.pages,
        unreadable_pages=found.unreadable_pages,
        unreadable_blocks=found.unreadable_blocks,
        log_breaks=found.log_breaks,
        missing_pages=found.missing_pages,
        is_header_lost=found.is_header_lost,
        invented_streams=found.invented_streams,
    )


def _print(document: RepairDocument) -> None:
    console = data_console()
    console.print(Text(printable(document.path), "bold"))
    rows = [("kept", plural(document.kept, "event")), ("lost", _lost_text(document))]
    damaged = [
        (document.unreadable_pages, "page"),
        (document.unreadable_blocks, "block of large data"),
        (range(document.log_breaks), "page of the log"),
    ]
    damage = [_counted(found, what) for found, what in damaged if found]
    if document.missing_pages:
        damage.append(f"the last {plural(document.missing_pages, 'page')} of the file cut off")
    if document.is_header_lost:
        damage.append("the header of the file")
    rows.append(("damage", ", ".join(damage) or "none found"))
    for label, value in rows:
        console.print(Text.assemble((f"  {label:<7}", "dim"), value), overflow="fold")
    for name, ranges in list(document.lost_versions.items())[:_LISTED]:
        text = f"  ✗ '{name}' version{'s' if len(ranges) > 1 or ranges[0][0] < ranges[0][1] else ''} {_ranges(ranges)}"
        console.print(Text(printable(text), "red"), overflow="fold")
    if len(document.lost_versions) > _LISTED:
        more = len(document.lost_versions) - _LISTED
        console.print(Text(f"  ✗ … and {plural(more, 'session')} more; all with --json", "red"))
    for text in _remarks(document):
        console.print(Text(f"  ! {printable(text)}", "yellow"), overflow="fold")
    console.print()
    console.print(
        Text(f"✓ '{printable(document.output)}' is new and sound; the damaged file is as it was", "bold green")
    )
    console.print(Text(f"  put it in place while no program records: {_commands(document)}", "dim"), overflow="fold")


def _lost_text(document: RepairDocument) -> str:
    if not document.lost:
        return "nothing" if document.is_exact else "nothing that the file still tells of"
    return f"{'' if document.is_exact else 'at least '}{plural(document.lost, 'event')}"


def _remarks(document: RepairDocument) -> list[str]:
    found = []
    if document.lost:
        found.append(
            f"a backup may have them: `{program()} import BACKUP --db {document.output}` adds what is missing, and "
            "nothing twice"
        )
    if document.quarantined:
        found.append(
            f"what can be read of {plural(document.quarantined, 'event')} that aren't what was written is in "
            f"'{document.quarantine}'"
        )
    if document.invented_streams:
        names = ", ".join(document.invented_streams[:_LISTED])
        found.append(f"the names of {plural(len(document.invented_streams), 'session')} are lost; they are now {names}")
    if document.waiting:
        found.append(
            f"{plural(document.waiting, 'event')} of killed processes wait in the journal beside the damaged file; who "
            "records into the new one in its place takes them in"
        )
    if document.missed_at_most:
        found.append(
            f"killed processes published up to {plural(document.missed_at_most, 'event')} more; the next writer "
            "records it as a gap"
        )
    return found


def _counted(found: Sequence[int], what: str) -> str:
    one, _, rest = what.partition(" ")
    return f"{plural(len(found), one)}{f' {rest}' if rest else ''}"


def _ranges(ranges: list[list[int]]) -> str:
    shown = ", ".join(f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in ranges[:_LISTED])
    return f"{shown} and {len(ranges) - _LISTED:,} more ranges" if len(ranges) > _LISTED else shown


def _commands(document: RepairDocument) -> str:
    """What moves the damaged file away with its log: SQLite would apply that to the new one."""
    path = document.path
    moved = [
        f"mv '{path}{suffix}' '{path}.damaged{suffix}'" for suffix in ("", "-wal") if os.path.exists(path + suffix)
    ]
    removed = [f"rm '{path}-shm'"] if os.path.exists(f"{path}-shm") else []
    return " && ".join([*moved, *removed, f"mv '{document.output}' '{path}'"])
