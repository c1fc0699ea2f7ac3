"""``sonde export``: events out into files that other tools read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import chain

import click

from sonde.cli.documents import ExportDocument, fields_text
from sonde.cli.opening import open_for_reading, require_folder, require_other_file
from sonde.cli.options import db_option, json_option
from sonde.cli.output import note, print_json
from sonde.cli.progress import progress
from sonde.cli.wording import plural
from sonde.events import RecordedEvent
from sonde.exporters import FORMATS
from sonde.query import resolve_session
from sonde.redaction import NoRedactor, SecretRedactor
from sonde.store import EventStore


@click.command(epilog=fields_text(ExportDocument))
@click.argument("sessions", nargs=-1, metavar="[SESSION]...")
@click.option("--all", "export_all", is_flag=True, help="All sessions, in the order of their commits.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    help="Without it the suffix of FILE; jsonl if it has none.",
)
@click.option(
    "-o", "--output", metavar="FILE", help="Write a file, whole or not at all; .gz compresses. Without it: stdout."
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--redact/--no-redact", default=True, show_default=True, help="Take out secrets on the way, or export as stored."
)
@json_option
@db_option
def command(
    sessions: tuple[str, ...],
    *,
    export_all: bool,
    format_name: str | None,
    output: str | None,
    force: bool,
    redact: bool,
    as_json: bool,
    db: str | None,
) -> None:
    """Export events as JSONL, CSV or Parquet.

    SESSION is an id, the beginning of one, or "last". JSONL is the wire form, one event a line: type, timestamp,
    sessionId, planId, taskId, data, traceId, spanId, parentId, empty ones left out, then the event's identity, writerId
    and seq; sonde import reads it back and knows each event again. CSV and Parquet have the columns id, stream_id,
    event_type, version, session_id, plan_id, task_id, timestamp, trace_id, span_id, parent_id, data.

    \b
    Examples:
      sonde export last | jq 'select(.type == "tool.failed")'
      sonde export --all -o runs.parquet
      sonde export fix-42 --format csv -o fix-42.csv.gz
    """
    if bool(sessions) == export_all:
        raise click.UsageError(
            "--all and a SESSION contradict each other; give one of them."
            if export_all
            else "name what to export: a SESSION (such as last), or --all."
        )
    output = None if output == "-" else output
    if output is not None:
        require_other_file(db, output, "-o")
    format_name = format_name or _format_of(output or "")
    if output is None and format_name == "parquet":
        raise click.UsageError("Parquet is no text; name a file with -o FILE.")
    if output is None and as_json and format_name != "jsonl":
        raise click.UsageError(f"--json and --format {format_name} both want stdout; name a file with -o FILE.")
    if output is not None:
        require_folder(output, "export to")
    if output is not None and os.path.isfile(output) and not force:
        raise click.BadParameter(f"'{output}' exists; name another file, or replace it with --force.", param_hint="-o")
    with open_for_reading(db) as store:
        streams = [resolve_session(store, name) for name in sessions]
        total = _total(store, streams)
        redactor = SecretRedactor() if redact else NoRedactor()
        with progress("exporting", total) as advance:
            written = FORMATS[format_name](
                _events(store, streams),
                sys.stdout.buffer if output is None else output,
                overwrite=force,
                redactor=redactor,
                progress=advance,
            )
    if output is not None and as_json:
        print_json(ExportDocument(format=format_name, events=written, path=os.path.abspath(output)))
    elif output is not None:
        note(f"exported {plural(written, 'event')} to '{output}'")


def _events(store: EventStore, streams: list[str]) -> Iterator[RecordedEvent]:
    return chain.from_iterable(map(store.read, dict.fromkeys(streams))) if streams else store.read_all()


def _total(store: EventStore, streams: list[str]) -> int:
    infos = [info for info in store.streams() if not streams or info.stream_id in streams]
    return sum(info.last_version - info.first_version + 1 for info in infos if info.first_version)


def _format_of(output: str) -> str:
    ending = os.path.splitext(output.removesuffix(".gz"))[1].lower()
    if ending and ending[1:] not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise click.BadParameter(
            f"'{output}' names no format; expected an ending of {endings}, or --format.", param_hint="-o"
        )
    return ending[1:] or "jsonl"
