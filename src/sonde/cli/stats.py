"""``sonde stats``: what a session, or all of a store, adds up to."""

from __future__ import annotations

import importlib.util
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sonde.cli.documents import (
    EventTypeDocument,
    ModelDocument,
    OperationKindDocument,
    TotalDocument,
    fields_text,
    model_document,
    operation_kind_document,
)
from sonde.cli.opening import open_for_reading
from sonde.cli.options import db_option, json_option
from sonde.cli.output import data_console, note, print_json
from sonde.cli.progress import progress
from sonde.cli.sessions import cost_text, newest_first
from sonde.cli.wording import amount_text, dollars, duration_text, plural, shortened
from sonde.events import RecordedEvent
from sonde.query import (
    TOKEN_KEYS,
    CostTotal,
    Durations,
    OperationTotal,
    Pulse,
    Session,
    Status,
    resolve_session,
    session_from_events,
)

_ROWS = 20


@click.command(epilog=fields_text(TotalDocument, EventTypeDocument, OperationKindDocument, ModelDocument))
@click.argument("session", required=False)
@click.option("--full", is_flag=True, help=f"All rows of each table, not only the first {_ROWS}.")
@json_option
@db_option
def command(session: str | None, *, full: bool, as_json: bool, db: str | None) -> None:
    """Add up events, operations, durations, tokens and cost, of one session or of all.

    SESSION is an id, the beginning of one, or "last". Durations are exact percentiles over what ended. A cost is what
    was reported, or computed from a price table; where neither is known it is unknown, not zero.

    \b
    Examples:
      sonde stats
      sonde stats last
      sonde stats --json | jq 'select(.record == "operation" and .failures > 0)'
    """
    with open_for_reading(db) as store:
        sums = Sums()
        wanted = None if session is None else resolve_session(store, session)
        streams = [info for info in newest_first(store) if wanted in (None, info.stream_id)]
        total = sum(info.last_version - info.first_version + 1 for info in streams)
        pulse = Pulse(store.liveness)
        with progress("adding up", total) as advance:
            for info in streams:
                events = sums.counted(store.read(info.stream_id))
                sums.add(session_from_events(info.stream_id, events, pulse=pulse))
                advance(sums.events)
    if as_json:
        for document in sums.documents():
            print_json(document)
    else:
        print_sums(sums, data_console(), rows=None if full else _ROWS)
    if sums.cost.unknown_calls:
        _hint_at_prices(sums.cost.unknown_calls)


class Sums:
    """Adds up sessions, one after the other: of all that it holds only the durations grow with the store."""

    def __init__(self) -> None:
        self.sessions = self.events = self.operations = self.failures = self.missed = 0
        self.types: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.cost = CostTotal()
        self._tokens_by_model: dict[str, Counter[str]] = {}
        self._cost_by_model: dict[str, CostTotal] = {}
        self._statuses: dict[tuple[str, str], Counter[Status]] = {}
        self._durations_s: dict[tuple[str, str], array[float]] = {}

    def counted(self, events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent]:
        """The same events, counted by type on their way."""
        for event in events:
            self.types[event.type] += 1
            self.events += 1
            yield event

    def add(self, session: Session) -> None:
        """Add a session."""
        summary, totals = session.summary, session.totals
        self.sessions += 1
        self.operations += summary.operations
        self.failures += summary.failures
        self.missed += summary.missed
        self.tokens.update(totals.tokens)
        self.cost = _sum(self.cost, totals.cost)
        for model, tokens in totals.tokens_by_model.items():
            self._tokens_by_model.setdefault(model, Counter()).update(tokens)
        for model, cost in totals.cost_by_model.items():
            self._cost_by_model[model] = _sum(self._cost_by_model.get(model, CostTotal()), cost)
        for operation in session.tree.operations:
            key = (operation.kind, "" if operation.kind == "session" else operation.name)
            self._statuses.setdefault(key, Counter())[operation.status] += 1
            durations = self._durations_s.setdefault(key, array("d"))
            if operation.duration_s is not None:
                durations.append(operation.duration_s)

    def by_operation(self) -> list[OperationTotal]:
        """By kind and name, the most frequent first."""
        totals = [
            OperationTotal(kind, name, dict(statuses), Durations.of(self._durations_s[kind, name]))
            for (kind, name), statuses in self._statuses.items()
        ]
        return sorted(totals, key=lambda total: (-total.count, total.kind, total.name))

    def by_model(self) -> list[tuple[str, dict[str, int], CostTotal]]:
        """Tokens and cost by model, the most tokens first."""
        models = sorted(
            {*self._tokens_by_model, *self._cost_by_model},
            key=lambda model: (-sum(self._tokens_by_model.get(model, Counter()).values()), model),
        )
        return [
            (model, dict(self._tokens_by_model.get(model, {})), self._cost_by_model.get(model, CostTotal()))
            for model in models
        ]

    def documents(self) -> Iterator[TotalDocument | EventTypeDocument | OperationKindDocument | ModelDocument]:
        """What ``--json`` prints."""
        cost = self.cost
        yield TotalDocument(
            record="total",
            sessions=self.sessions,
            events=self.events,
            operations=self.operations,
            failures=self.failures,
            missed=self.missed,
            tokens=dict(self.tokens),
            cost_usd=cost.usd,
            cost_reported_usd=cost.reported_usd,
            cost_computed_usd=cost.computed_usd,
            cost_unknown_calls=cost.unknown_calls,
        )
        for kind, count in self.types.most_common():
            yield EventTypeDocument("event_type", kind, count)
        for total in self.by_operation():
            yield operation_kind_document(total)
        for model, tokens, model_cost in self.by_model():
            yield model_document(model, tokens, model_cost)


def _sum(one: CostTotal, other: CostTotal) -> CostTotal:
    def plus(a: float | None, b: float | None) -> float | None:
        return b if a is None else a if b is None else a + b

    return CostTotal(
        plus(one.reported_usd, other.reported_usd),
        plus(one.computed_usd, other.computed_usd),
        one.unknown_calls + other.unknown_calls,
    )


def print_sums(sums: Sums, console: Console, *, rows: int | None) -> None:
    """Print the sums as tables."""
    head = [plural(sums.sessions, "session"), plural(sums.events, "event"), plural(sums.operations, "operation")]
    line = Text(" · ".join(head))
    if sums.failures:
        line.append(f" · {sums.failures:,} failed", "red")
    if sums.missed:
        line.append(f" · {sums.missed:,} events missed", "bold yellow")
    console.print(line)
    is_wide = console.width >= 84
    if sums.operations or sums.by_operation():
        _print_operations(sums.by_operation(), console, rows=rows, is_wide=is_wide)
    if sums.by_model():
        _print_models(sums, console, is_wide=is_wide)
    if sums.types:
        table = _table("EVENT", "COUNT")
        for kind, count in sums.types.most_common(rows):
            table.add_row(Text(shortened(kind, 60)), f"{count:,}")
        _print(table, console, len(sums.types), rows)


def _print_operations(totals: list[OperationTotal], console: Console, *, rows: int | None, is_wide: bool) -> None:
    names = ("COUNT", "FAILED", "P50", "P90", "P99", "MAX") if is_wide else ("COUNT", "✗", "P50", "MAX")
    table = _table("OPERATION", *names)
    for total in totals[:rows]:
        what = Text.assemble((f"{shortened(total.kind, 30)} ", "dim"))
        what.append(shortened(total.name, 60), "bold")
        durations = total.durations
        figures = [durations.p50_s, durations.p90_s, durations.p99_s, durations.max_s]
        figures = figures if is_wide else [figures[0], figures[3]]
        failures = Text(f"{total.failures:,}", "red") if total.failures else Text("-", "dim")
        times = [duration_text(figure) if durations.count else "-" for figure in figures]
        table.add_row(what, f"{total.count:,}", failures, *times)
    _print(table, console, len(totals), rows)


_TOKEN_HEADS = dict(zip(TOKEN_KEYS, ("IN", "OUT", "CACHE READ", "CACHE WRITE", "REASONING"), strict=True))


def _print_models(sums: Sums, console: Console, *, is_wide: bool) -> None:
    keys = [key for key in TOKEN_KEYS if sums.tokens.get(key) or key in TOKEN_KEYS[:2]]
    keys = keys if is_wide else keys[:2]
    has_sources = is_wide and sums.cost.usd is not None
    table = _table("MODEL", *(_TOKEN_HEADS[key] for key in keys), "COST", *(["OF WHICH"] if has_sources else []))
    for model, tokens, cost in sums.by_model():
        figures = [amount_text(tokens[key]) if key in tokens else "-" for key in keys]
        row: list[Text | str] = [Text(shortened(model, 60) or "(not named)", "bold" if model else "dim")]
        row += [*figures, cost_text(cost)]
        table.add_row(*row, *([Text(_sources_text(cost), "dim")] if has_sources else []))
    _print(table, console, 0, None)


def _sources_text(cost: CostTotal) -> str:
    parts = []
    if cost.reported_usd is not None:
        parts.append(f"{dollars(cost.reported_usd)} reported")
    if cost.computed_usd is not None:
        parts.append(f"{dollars(cost.computed_usd)} computed")
    if cost.unknown_calls:
        parts.append(f"{plural(cost.unknown_calls, 'call')} unknown")
    return ", ".join(parts)


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True, overflow="ellipsis", min_width=20)
    for name in others:
        table.add_column(name, no_wrap=True, justify="left" if name == "OF WHICH" else "right")
    return table


def _print(table: Table, console: Console, total: int, rows: int | None) -> None:
    console.print()
    console.print(table)
    if rows is not None and total > rows:
        console.print(Text(f"⋯ {total - rows:,} more; all with --full", "dim"))


def _hint_at_prices(unknown: int) -> None:
    calls = f"the cost of {plural(unknown, 'model call')} is unknown"
    if importlib.util.find_spec("genai_prices") is None:
        note(f"({calls}; with a price table it is computed while recording: pip install 'sonde[prices]')")
    else:
        note(f"({calls}: neither reported, nor has the price table its model)")
