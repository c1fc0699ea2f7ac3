"""``sonde import``: events of other files into the store, each once however often it is imported."""

from __future__ import annotations

import os
import sys

import click

from sonde.cli.documents import ImportDocument, fields_text
from sonde.cli.opening import store_path
from sonde.cli.options import db_option, json_option
from sonde.cli.output import note, print_json
from sonde.cli.progress import Advance, progress
from sonde.cli.wording import plural, printable
from sonde.errors import ConfigError, EventDecodeError, StoreNotFoundError
from sonde.receivers import ImportReport, import_jsonl, import_original, import_store
from sonde.recorder import recover_or_log
from sonde.redaction import NoRedactor, Redactor, SecretRedactor
from sonde.store import EventStore
from sonde.store import open as open_store

_SQLITE_MAGIC = b"SQLite format 3\0"
_LISTED = 10


@click.command(epilog=fields_text(ImportDocument))
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--session", metavar="ID", help="Put all events into this session's stream, not each into its own.")
@click.option("--skip-bad", is_flag=True, help="Pass over lines that are no events, and say which.")
@click.option("--no-redact", is_flag=True, help="Keep the files as they are; secrets are taken out otherwise.")
@json_option
@db_option
def command(
    files: tuple[str, ...], *, session: str | None, skip_bad: bool, no_redact: bool, as_json: bool, db: str | None
) -> None:
    """Import JSONL, a database of the Go original, or another store of sonde.

    What FILE holds is told from its content; "-" is JSONL on stdin, a name that ends in .gz is decompressed. Importing
    twice adds nothing, what retention removed stays removed, and a file that has grown adds what is new. Events of
    another store of sonde, and of the JSONL that it exports, keep writer and number, by which they are known: copies
    that went on separately on several machines become one again. An import that was interrupted is gone on with by the
    same command. Exit code 0 with --skip-bad, however many lines were skipped; without it the first bad line ends the
    import with exit code 2, and what came before it is kept. So does, with and without it, a file that can't be read to
    its end, such as a cut .gz.

    \b
    Examples:
      sonde import events.jsonl --skip-bad
      sonde import telemetry.db other-machine.db --db all.db
      ssh host sonde export --all | sonde import -
    """
    if session == "":
        raise click.BadParameter("the name is empty; name a session, or leave it out.", param_hint="--session")
    for file in files:  # before anything is written
        if file != "-" and not os.path.exists(file):
            raise StoreNotFoundError(f"cannot import '{file}': no such file; check the path")
        if os.path.isdir(file):
            raise click.BadParameter(f"'{file}' is a folder; name the files in it.", param_hint="FILE")
    target = store_path(db)
    redactor: Redactor = NoRedactor() if no_redact else SecretRedactor()
    with open_store(target) as store:
        recover_or_log(store)
        for file in files:
            if file != "-" and os.path.samefile(file, store.url):
                raise click.BadParameter(f"'{file}' is the store itself; name another with --db.", param_hint="FILE")
            with progress(f"importing {os.path.basename(file)}") as advance:
                report = _import(store, file, session, redactor=redactor, skip_bad=skip_bad, tell=advance)
            if as_json:
                print_json(_document(file, report, store.url))
            else:
                _print_report(file, report, target)


def _import(
    store: EventStore, file: str, session: str | None, *, redactor: Redactor, skip_bad: bool, tell: Advance
) -> ImportReport:
    try:
        if file == "-":
            stdin = sys.stdin.buffer
            return import_jsonl(store, stdin, stream_id=session, redactor=redactor, skip_bad=skip_bad, progress=tell)
        if not _is_sqlite(file):
            return import_jsonl(store, file, stream_id=session, redactor=redactor, skip_bad=skip_bad, progress=tell)
    except EventDecodeError as error:
        raise EventDecodeError(str(error).replace("skip bad lines", "skip it: --skip-bad")) from None
    if _has_identities(file):
        return import_store(store, file, stream_id=session, redactor=redactor, progress=tell)
    return import_original(store, file, stream_id=session, redactor=redactor, progress=tell)


def _is_sqlite(file: str) -> bool:
    """By content. The database of a process that was just killed may be all in its log, and itself empty."""
    try:
        with open(file, "rb") as opened:
            head = opened.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise ConfigError(f"cannot import '{file}': {error.strerror}; expected a file that can be read") from error
    return head == _SQLITE_MAGIC or (not head and os.path.exists(f"{file}-wal"))


def _has_identities(file: str) -> bool:
    """Whether the events have a writer and a number, as those of sonde do, and those of the original don't."""
    with open_store(file, mode="ro") as source:
        return any(event.writer_id for event in source.read_all(limit=1))


def _document(file: str, report: ImportReport, db: str) -> ImportDocument:
    return ImportDocument(
        path=file,
        db=db,
        read=report.read,
        imported=report.imported,
        duplicates=report.duplicates,
        skipped=report.skipped_count,
        skipped_lines=[{"line": number, "reason": reason} for number, reason in report.skipped],
        sessions=len(report.streams),
    )


def _print_report(file: str, report: ImportReport, target: str) -> None:
    parts = [f"{report.read:,} read", f"{report.imported:,} imported"]
    if report.duplicates:
        parts.append(f"{report.duplicates:,} already there, or removed before")
    if report.skipped_count:
        parts.append(f"{plural(report.skipped_count, 'line')} skipped")
    sessions = f", {plural(len(report.streams), 'session')}" if report.streams else ""
    note(f"'{file}': {', '.join(parts)}{sessions} → '{target}'")
    for number, reason in report.skipped[:_LISTED]:
        note(f"  line {number}: {printable(reason)}")
    if report.skipped_count > _LISTED:
        note(f"  … and {report.skipped_count - _LISTED:,} more")
