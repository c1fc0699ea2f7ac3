"""``sonde show``: one session: what it did, inside what, how long, at what cost, and what failed."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from sonde.cli.documents import (
    EventDocument,
    OperationDocument,
    SessionDocument,
    event_document,
    fields_text,
    operation_document,
    session_document,
)
from sonde.cli.line import usage_text
from sonde.cli.opening import open_for_reading
from sonde.cli.options import db_option, json_option
from sonde.cli.output import data_console, print_json
from sonde.cli.sessions import status_word
from sonde.cli.tree import TreeView, error_line, print_session
from sonde.cli.wording import clock_text, duration_text, printable, type_text
from sonde.events import RecordedEvent
from sonde.query import Operation, Session, load_session
from sonde.store import EventStore


@click.command(epilog=fields_text(SessionDocument, OperationDocument, EventDocument))
@click.argument("session")
@click.option("--depth", metavar="N", type=click.IntRange(min=0), help="No deeper than N levels.")
@click.option(
    "--kind", multiple=True, metavar="KIND", help="Only operations of this kind, as tool or model; may be repeated."
)
@click.option("--failures", is_flag=True, help="Only what failed or was interrupted.")
@click.option("--events", is_flag=True, help="The other events too, each in its place.")
@click.option("--full", is_flag=True, help="Leave nothing out; with --json, the data of each operation too.")
@click.option("--span", metavar="ID", help="One operation with all its data; ID is a span id or its beginning.")
@json_option
@db_option
def command(
    session: str,
    *,
    depth: int | None,
    kind: tuple[str, ...],
    failures: bool,
    events: bool,
    full: bool,
    span: str | None,
    as_json: bool,
    db: str | None,
) -> None:
    """Show one session: a header, then its operations as a tree.

    SESSION is an id, the beginning of one, or "last". What has not ended is shown as running, as interrupted if its
    process is dead, or as stale if nobody knows. Where events are missing, a line says how many and why.

    \b
    Examples:
      sonde show last
      sonde show fix-42 --failures
      sonde show fix-42 --span 1f3a9c20
      sonde show fix-42 --kind model --json | jq .cost_usd
    """
    view = TreeView(depth, frozenset(kind), failures, events, full)
    with open_for_reading(db) as store:
        if kind:
            _check_kinds(load_session(store, session), kind)
        if span is not None:
            _show_span(store, session, span, as_json=as_json)
        elif as_json:
            _print_documents(load_session(store, session), store, view)
        else:
            print_session(store, session, data_console(), view)


_KINDS = ("session", "plan", "task", "tool", "model", "shell")


def _check_kinds(session: Session, kinds: tuple[str, ...]) -> None:
    found = dict.fromkeys(operation.kind for operation in session.tree.operations)
    for kind in kinds:
        if kind not in found and kind not in _KINDS:
            known = f"it has {', '.join(map(printable, found))}" if found else "it has no operations"
            raise click.BadParameter(
                f"session {session.summary.stream_id!r} has no operation of kind {kind!r}; {known}.",
                param_hint="--kind",
            )


def _print_documents(session: Session, store: EventStore, view: TreeView) -> None:
    print_json(session_document(session.summary))
    for depth, operation in session.tree.walk():
        if view.has(operation) and (view.depth is None or depth <= view.depth):
            print_json(operation_document(operation, depth, with_data=view.full))
    if view.events:
        for event in store.read(session.summary.stream_id):
            print_json(event_document(event))


def _show_span(store: EventStore, session_id: str, span: str, *, as_json: bool) -> None:
    session = load_session(store, session_id)
    found = [(depth, operation) for depth, operation in session.tree.walk() if operation.span_id.startswith(span)]
    exact = [(depth, operation) for depth, operation in found if operation.span_id == span]
    found = exact or found
    name = session.summary.stream_id
    if not span or not found:
        raise click.BadParameter(
            f"session {name!r} has no operation {span!r}; sonde show --full {name} lists all.", param_hint="--span"
        )
    if len({operation.span_id for _, operation in found}) > 1:
        raise click.BadParameter(
            f"{len(found)} operations begin with {span!r}; give more of the id: "
            + ", ".join(operation.span_id for _, operation in found[:5]),
            param_hint="--span",
        )
    own = [event for event in store.read(name) if found[0][1].span_id in (event.span_id, event.parent_id)]
    for depth, operation in found:
        if as_json:
            print_json(operation_document(operation, depth, with_data=True))
        else:
            print_operation(operation, own, data_console())


def print_operation(operation: Operation, events: list[RecordedEvent], console: Console) -> None:
    """Print all that is known of an operation."""
    head = Text.assemble((f"{printable(operation.kind)}  ", "dim"))
    head.append(printable(operation.name), "bold")
    head.append("  ")
    head.append_text(status_word(operation.status))
    if operation.duration_s is not None:
        head.append(f"  {duration_text(operation.duration_s)}", "dim")
    usage = usage_text({**operation.data, **operation.tokens})
    if usage:
        head.append(f"  {usage}", "dim")
    console.print(head)
    path = []
    above = operation.parent
    while above is not None:
        path.append(f"{above.kind} {above.name}".strip())
        above = above.parent
    if path:
        console.print(Text(f"  in       {printable(' / '.join(reversed(path)))}", "dim"))
    console.print(Text(f"  span     {printable(operation.span_id)}", "dim"))
    if operation.error or operation.error_type:
        console.print()
        console.print(Text(error_line(operation), "bold red"), overflow="fold")
        for line in operation.error.strip().splitlines()[1:]:
            console.print(Text(printable(line), "red"), overflow="fold")
    for label, data in (("began with", operation.start_data), ("ended with", operation.end_data)):
        if data:
            console.print()
            console.print(Text(label, "dim"))
            _print_data(data, console)
    others = [event for event in events if event.data not in (operation.start_data, operation.end_data)]
    for event in others[:200]:
        console.print()
        console.print(Text(f"{clock_text(event.time_ns)}  {type_text(event.type, 200)}", "dim"))
        _print_data(event.data, console)


def _print_data(data: dict[str, Any], console: Console) -> None:
    """Data, indented; long texts with their own line ends, as a person would write them."""
    for key, value in data.items():
        line = Text.assemble((f"  {printable(str(key))}: ", "cyan"))
        if isinstance(value, str) and "\n" in value:
            console.print(line)
            for part in value.splitlines():
                console.print(Text(f"    {printable(part)}"), overflow="fold")
            continue
        shown = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        lines = shown.splitlines() or [""]
        line.append(printable(lines[0]))
        console.print(line, overflow="fold")
        for part in lines[1:]:
            console.print(Text(f"  {printable(part)}"), overflow="fold")
