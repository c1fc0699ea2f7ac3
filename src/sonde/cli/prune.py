"""``sonde prune``: remove what is old, or too much."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click
import msgspec

from sonde.cli.amounts import Age, Size
from sonde.cli.documents import PruneDocument, fields_text
from sonde.cli.main import EXIT_FAILED, EXIT_INTERRUPTED
from sonde.cli.opening import open_sqlite, store_path, tell_what_waits
from sonde.cli.options import db_option, json_option
from sonde.cli.output import note, print_json
from sonde.cli.progress import progress
from sonde.cli.wording import bytes_text, plural, printable
from sonde.errors import ConfigError
from sonde.query import resolve_session
from sonde.recorder import recover_or_log
from sonde.store import PruneReport, Removal, Retention, SQLiteStore
from sonde.store.retention import LEAST_BYTES

_LISTED = 12


@click.command(epilog=fields_text(PruneDocument))
@click.option("--older-than", "age_s", type=Age(), metavar="AGE", help="Sessions that ended so long ago: 12h, 30d, 8w.")
@click.option("--max-size", "size_bytes", type=Size(), metavar="SIZE", help="The oldest, until the file is this small.")
@click.option("--max-sessions", type=click.IntRange(min=1), metavar="N", help="The oldest, until so many are left.")
@click.option("--session", "sessions", multiple=True, metavar="NAME", help="This session; may be repeated.")
@click.option("--keep", multiple=True, metavar="NAME", help="Never this session; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
@db_option
@click.pass_context
def command(
    context: click.Context,
    *,
    age_s: float | None,
    size_bytes: int | None,
    max_sessions: int | None,
    sessions: tuple[str, ...],
    keep: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
    db: str | None,
) -> None:
    """Remove sessions from the store, the oldest first, and give their space back. There is no undoing it.

    Sessions go as a whole; for --max-size, the oldest one loses its beginning, as much as it must. What still runs
    stays, except that for --max-size, with nothing else left, it loses its beginning, too. Versions are never given
    anew. Recording goes on meanwhile. Without --yes it says what would go, and asks.

    \b
    Examples:
      sonde prune --older-than 30d --dry-run
      sonde prune --older-than 30d --max-size 2GB --keep golden-run
      sonde prune --session fix-42 --yes
    """
    if age_s is None and size_bytes is None and max_sessions is None and not sessions:
        raise click.UsageError(
            "nothing says what is to go; give --older-than, --max-size, --max-sessions or --session."
        )
    if size_bytes is not None and size_bytes < LEAST_BYTES:
        raise click.UsageError(
            f"cannot make the file {size_bytes:,} bytes small: all events would go; expected {LEAST_BYTES:,} or more, "
            "such as --max-size 500MB, since a file without events takes some 78,000."
        )
    if not dry_run:  # before anybody is asked: what comes in may go at once
        open_sqlite(db).close()
        with SQLiteStore(store_path(db), mode="rw") as store:
            recover_or_log(store)
    with open_sqlite(db) as store:
        tell_what_waits(store)
        named = [resolve_session(store, name) for name in sessions]
        kept = [resolve_session(store, name) for name in keep]
        if both := set(named) & set(kept):
            raise click.UsageError(f"--session and --keep both name '{min(both)}'; give it to one of them.")
        retention = Retention(max_age_s=age_s, max_bytes=size_bytes, max_sessions=max_sessions, keep=kept)
        if dry_run or not yes:
            with progress("estimating") as advance:
                preview = store.preview_prune(retention, sessions=named, progress=advance)
    if dry_run:
        _say(preview, store.url, as_json=as_json, is_done=False)
        context.exit(EXIT_FAILED if set(named) & set(preview.running) else 0)
    if not yes and not _is_wanted(preview):
        context.exit(EXIT_FAILED if preview.events else 0)
    with SQLiteStore(store_path(db), mode="rw") as store, _interrupts() as stop, progress("removing events") as advance:
        report = store.prune(retention, sessions=named, stop=stop, progress=advance)
    _say(report, store.url, as_json=as_json, is_done=True)
    if stop.is_set():
        context.exit(EXIT_INTERRUPTED)
    if not report.is_complete:
        note("another process prunes this store just now; try again when it is done")
    if not report.is_complete or set(named) & set(report.running):
        context.exit(EXIT_FAILED)


def _is_wanted(preview: PruneReport) -> bool:
    if not preview.events:
        note("nothing to remove")
        return False
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"cannot ask whether to remove {plural(preview.events, 'event')}: there is no terminal; add --yes, or look "
            "first with --dry-run"
        )
    _describe(preview, is_done=False)
    return click.confirm("Remove that for good?", err=True)


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Ctrl-C ends the work between two transactions, so that it can be said what went."""
    stop = threading.Event()

    def stopped(number: int, frame: object) -> None:
        stop.set()

    previous = signal.signal(signal.SIGINT, stopped)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


def _say(report: PruneReport, url: str, *, as_json: bool, is_done: bool) -> None:
    if not as_json:
        _describe(report, is_done=is_done)
        return
    print_json(
        PruneDocument(
            db=url,
            dry_run=not is_done,
            events=report.events,
            sessions=report.sessions,
            removals=[_removal(removal) for removal in report.removals],
            running=report.running,
            bytes_before=report.bytes_before,
            bytes_after=report.bytes_after,
            complete=report.is_complete,
            over=report.is_over,
        )
    )


def _removal(removal: Removal) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(removal)
    return {**fields, "events": removal.events}


def _describe(report: PruneReport, *, is_done: bool) -> None:
    parts = len(report.removals) - report.sessions
    whole = f"{plural(report.sessions, 'session')}" + (f" and the beginning of {parts:,} more" if parts else "")
    freed = bytes_text(max(0, report.bytes_before - report.bytes_after))
    of = f"of {bytes_text(report.bytes_before)}"
    if not report.events:
        note("nothing was removed" if is_done else "nothing would go")
    elif is_done:
        note(f"removed {plural(report.events, 'event')}: {whole}, {freed} {of}")
    else:
        note(f"{plural(report.events, 'event')} would go: {whole}, about {freed} {of}")
    for removal in report.removals[:_LISTED]:
        what = "all" if removal.is_whole else "the first"
        note(f"  {printable(removal.stream_id)}  {what} {plural(removal.events, 'event')} ({_WHY[removal.reason]})")
    if len(report.removals) > _LISTED:
        note(f"  … and {len(report.removals) - _LISTED:,} more; all with --json")
    if report.running:
        names = ", ".join(printable(name) for name in report.running[:_LISTED])
        note(f"still running, and left as they are: {names}")
    if report.is_over:
        note("the file is still larger than that: what runs, what is to be kept, and the empty file itself stay")


_WHY = {"session": "named", "age": "old enough", "count": "past the number", "bytes": "for the size"}
