"""``sonde sessions``: what was recorded, newest first."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sonde.cli.documents import SessionDocument, fields_text, session_document
from sonde.cli.line import STATUS_STYLE
from sonde.cli.opening import open_for_reading
from sonde.cli.options import db_option, json_option
from sonde.cli.output import data_console, note, print_json
from sonde.cli.progress import progress
from sonde.cli.sheet import Sheet
from sonde.cli.wording import NO_TIME, amount_text, dollars, duration_text, middle_cut, moment_text, plural, shortened
from sonde.query import CostTotal, Pulse, SessionSummary, Status, session_from_events
from sonde.store import RETENTION_STREAM, EventStore, StreamInfo

_WIDE = 84
_NAME_CHARS = 26
"""Of a name that is made up: ``run-20261122-143005-1f3a9c``."""
_DEFAULT_LIMIT = 20


@click.command(epilog=fields_text(SessionDocument))
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help=f"At most so many.  [default: {_DEFAULT_LIMIT}]")
@click.option("--status", multiple=True, type=click.Choice([status.value for status in Status]), help="Only these.")
@click.option("--tag", multiple=True, metavar="TAG", help="Only those with this tag; several: with all of them.")
@click.option("--all", "show_all", is_flag=True, help="All, however many there are.")
@json_option
@db_option
def command(
    limit: int | None, *, status: tuple[str, ...], tag: tuple[str, ...], show_all: bool, as_json: bool, db: str | None
) -> None:
    """List the recorded sessions, newest first.

    A cost of "unknown" isn't zero: nobody reported it and no price was known; "≥ $0.12" is known in part.

    \b
    Examples:
      sonde sessions
      sonde sessions --status failed --limit 5
      sonde sessions --all --json | jq -r .session_id
    """
    if show_all and limit is not None:
        raise click.UsageError("--all and --limit contradict each other; give one of them.")
    wanted = None if show_all else limit or _DEFAULT_LIMIT
    with open_for_reading(db) as store:
        streams = newest_first(store)
        table = SessionTable(data_console().width)
        shown = looked_at = 0
        with progress("reading sessions", len(streams) if wanted is None else min(wanted, len(streams))) as advance:
            for summary in summaries(store, streams):
                looked_at += 1
                if (not status or summary.status.value in status) and set(tag) <= set(summary.tags):
                    shown += 1
                    if as_json:
                        print_json(session_document(summary))
                    else:
                        table.add(summary)
                advance(looked_at if wanted is None else shown)
                if shown == wanted:
                    break
        if not as_json and shown:
            table.print(data_console())
        _say_the_rest(len(streams) - looked_at, shown=shown, is_filtered=bool(status or tag))


def newest_first(store: EventStore) -> list[StreamInfo]:
    """The streams of a store, the one that began last first; without those that retention emptied."""
    streams = [
        stream for stream in reversed(store.streams()) if stream.first_version and stream.stream_id != RETENTION_STREAM
    ]
    return sorted(streams, key=lambda stream: -stream.first_time_ns)


def summaries(store: EventStore, streams: list[StreamInfo]) -> Iterator[SessionSummary]:
    """One session after the other, summed up when it is asked for."""
    pulse = Pulse(store.liveness)
    for stream in streams:
        yield session_from_events(stream.stream_id, store.read(stream.stream_id), pulse=pulse).summary


def cost_text(cost: CostTotal) -> str:
    """A cost, with what is not known of it.

    >>> [cost_text(CostTotal(*parts)) for parts in ((0.12, None, 0), (0.1, 0.02, 3), (None, None, 3), (None, None, 0))]
    ['$0.12', '≥ $0.12', 'unknown', '-']
    """
    if cost.usd is None:
        return "unknown" if cost.unknown_calls else "-"
    return f"≥ {dollars(cost.usd)}" if cost.unknown_calls else dollars(cost.usd)


class SessionTable:
    """The table of sessions; on a narrow terminal the columns that matter most, on a very narrow one the name alone."""

    def __init__(self, width: int) -> None:
        self._wide = width >= _WIDE
        self._now_ns = time.time_ns()
        self._sheet = Sheet("SESSION", width=width, first_cells=_NAME_CHARS)
        for head, rank in (("STATUS", 1), ("STARTED", 4), ("TOOK", 3), ("✗", 5), ("COST", 2)):
            self._sheet.column(head, rank=rank, is_left=head.startswith("ST"))
        self._table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        self._table.add_column("SESSION", no_wrap=True, overflow="ellipsis", style="bold")
        self._table.add_column("STATUS", no_wrap=True)
        self._table.add_column("STARTED", no_wrap=True)
        self._table.add_column("TOOK", no_wrap=True, justify="right")
        for head in ("OPS", "FAILED", "TOKENS", "COST"):
            self._table.add_column(head, no_wrap=True, justify="right")
        self._table.add_column("TAGS", no_wrap=True, overflow="ellipsis", style="dim")

    def add(self, summary: SessionSummary) -> None:
        """Add a row."""
        # A session that runs has taken as long as it is old; its last event may be a while ago.
        is_running = summary.status is Status.RUNNING and summary.started_ns > 0
        took_s = (
            max(summary.duration_s, (self._now_ns - summary.started_ns) / 1e9) if is_running else summary.duration_s
        )
        tokens = sum(summary.tokens.values())
        cells: list[Text | str] = [
            Text(middle_cut(summary.stream_id, 32 if self._wide else _NAME_CHARS), "bold"),
            status_word(summary.status),
            moment_text(summary.started_ns, self._now_ns),
            duration_text(took_s) if summary.started_ns else NO_TIME,
        ]
        failures = Text(f"{summary.failures:,}", "red") if summary.failures else Text("-", "dim")
        cost = cost_text(summary.cost)
        cost_cell = Text(cost, "dim" if cost in ("-", "unknown") else "")
        if self._wide:
            tags = Text(shortened(", ".join(summary.tags), 40))
            cells += [
                f"{summary.operations:,}",
                failures,
                amount_text(tokens) if tokens else Text("-", "dim"),
                cost_cell,
                tags,
            ]
            self._table.add_row(*cells)
        else:
            self._sheet.row(*cells, failures, cost_cell)

    def print(self, console: Console) -> None:
        """Print the rows so far."""
        if self._wide:
            console.print(self._table)
            return
        for line in self._sheet.lines():
            console.print(line)


def status_word(status: Status) -> Text:
    """The status as a word, coloured."""
    return Text(status.value, STATUS_STYLE[status])


def _say_the_rest(left: int, *, shown: int, is_filtered: bool) -> None:
    if left and is_filtered:
        note(f"({plural(left, 'older session')} not looked at; --all looks at all)")
    elif left:
        note(f"({left:,} more; --all lists them, --limit {shown + min(left, 80)} some of them)")
    elif not shown:
        note("no session fits" if is_filtered else "no session is recorded yet; record a program: sonde run -- CMD")
