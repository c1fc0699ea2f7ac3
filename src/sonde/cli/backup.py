"""``sonde backup``: a consistent copy of a store, while others record into it."""

from __future__ import annotations

import os

import click

from sonde.cli.documents import BackupDocument, fields_text
from sonde.cli.opening import open_sqlite, require_folder, require_other_file, tell_what_waits
from sonde.cli.options import db_option, json_option
from sonde.cli.output import note, print_json
from sonde.cli.progress import progress
from sonde.cli.wording import bytes_text


@click.command(epilog=fields_text(BackupDocument))
@click.argument("target", type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Replace TARGET if it exists.")
@click.option("--plain", is_flag=True, help="For SQL: every event is a row with all of its data. Many times larger.")
@json_option
@db_option
def command(target: str, *, force: bool, plain: bool, as_json: bool, db: str | None) -> None:
    """Copy the store, as it is at this moment, into the file TARGET.

    Recording goes on meanwhile, undisturbed. The copy is one file, complete without a -wal beside it; it appears under
    its name when it is whole, or not at all. Copying the store's file by other means while it is in use isn't safe.

    \b
    Examples:
      sonde backup runs-backup.db
      sonde backup --force /mnt/stick/runs.db --db runs.db
      sonde backup --plain runs-sql.db && sqlite3 runs-sql.db "select event_type, data from telemetry_events"
    """
    require_folder(target, "back up to")
    require_other_file(db, target, "TARGET")
    with open_sqlite(db) as store:
        tell_what_waits(store)
        if os.path.exists(target) and not force:
            raise click.BadParameter(
                f"'{target}' exists; name another file, or replace it with --force.", param_hint="TARGET"
            )
        with progress("copying") as advance:
            store.backup(target, overwrite=force, progress=advance, is_plain=plain)
    size_bytes = os.path.getsize(target)
    if as_json:
        print_json(BackupDocument(db=store.url, path=os.path.abspath(target), size_bytes=size_bytes))
        return
    note(f"copied '{store.url}' to '{target}' ({bytes_text(size_bytes)})")
