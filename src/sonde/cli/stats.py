"""``sonde stats``: what a session, or all of a store, adds up to."""

from __future__ import annotations

import importlib.util

import click
from rich.console import Console
from rich.text import Text

from sonde.cli.documents import fields_text
from sonde.cli.opening import open_for_reading
from sonde.cli.options import db_option, json_option
from sonde.cli.output import data_console, note, print_json
from sonde.cli.plots import Glyphs, LogAxis, glyphs_for, share, sparkline
from sonde.cli.progress import progress
from sonde.cli.sessions import cost_text, newest_first
from sonde.cli.sheet import Sheet
from sonde.cli.stats_documents import (
    EventTypeDocument,
    ModelDocument,
    OperationKindDocument,
    TotalDocument,
    stats_documents,
)
from sonde.cli.sums import ModelSum, OperationSum, Sums
from sonde.cli.timeline import Timeline
from sonde.cli.wording import amount_text, dollars, duration_text, missed_text, plural, shortened, type_text
from sonde.query import TOKEN_KEYS, CostTotal, Durations, Pulse, resolve_session, session_from_events

_ROWS = 20
_MOST_TIME_CELLS = 60
_LEAST_TIME_CELLS = 10


@click.command(epilog=fields_text(TotalDocument, EventTypeDocument, OperationKindDocument, ModelDocument))
@click.argument("session", required=False)
@click.option("--full", is_flag=True, help=f"All rows of each table, not only the first {_ROWS}.")
@click.option("--plots/--no-plots", default=True, show_default=True, help="Draw distributions, shares and time.")
@json_option
@db_option
def command(session: str | None, *, full: bool, plots: bool, as_json: bool, db: str | None) -> None:
    """Add up events, operations, durations, tokens and cost, of one session or of all.

    SESSION is an id, the beginning of one, or "last". Durations are exact percentiles over what ended; beside them lies
    their distribution, each cell as many times longer than the one before, from the shortest to the longest duration in
    all rows. A share of time is of the sessions' time: what lies in one another counts in each, and what runs in
    parallel may come to more than 100 %. TTFT is the time to the first token. A cost is what was reported, or computed
    from a price table; where neither is known it is unknown, not zero.

    \b
    Examples:
      sonde stats
      sonde stats last
      sonde stats --no-plots > stats.txt
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
        for document in stats_documents(sums):
            print_json(document)
    else:
        console = data_console()
        print_sums(sums, console, rows=None if full else _ROWS, glyphs=glyphs_for(console) if plots else None)
    if sums.cost.unknown_calls:
        _hint_at_prices(sums.cost.unknown_calls)


def print_sums(sums: Sums, console: Console, *, rows: int | None, glyphs: Glyphs | None) -> None:
    """Print the sums as tables; without ``glyphs`` there are no plots."""
    operations, models = sums.by_operation(), sums.by_model()
    runs = sum(one.total.count for one in operations if one.total.kind == "session")
    sessions = plural(sums.sessions, "session") + (
        f" ({plural(runs, 'run')})" if runs not in (0, sums.sessions) else ""
    )
    line = Text(f"{sessions} · {plural(sums.events, 'event')} · {plural(sums.operations, 'operation')} in them")
    if sums.failures:
        line.append(f" · {sums.failures:,} failed", "red")
    if sums.removed:
        line.append(f" · {sums.removed:,} removed by retention", "dim")
    if sums.missed:
        line.append(f" · {missed_text(sums.missed, sums.missed_bound)} missed", "bold yellow")
    console.print(line)
    if glyphs is not None:
        _print_timeline(sums.timeline, console, glyphs)
    has_distributions = False
    if operations:
        has_distributions = _print_operations(operations[:rows], console, glyphs)
        _say_the_rest(console, len(operations), rows)
    if models:
        _print_usage(sums, models, console, glyphs)
    if any(one.latency.count or one.ttft.count for one in models):
        has_distributions = _print_latency(models, console, glyphs) or has_distributions
    if has_distributions and any(one.total.durations.count for one in operations):
        _explain_durations(sums.axis(), console)
    if sums.types:
        sheet = Sheet("EVENT", width=console.width)
        sheet.column("COUNT")
        for kind, count in sums.types.most_common(rows):
            sheet.row(type_text(kind, 60), f"{count:,}")
        sheet.print(console)
        _say_the_rest(console, len(sums.types), rows)


def _print_timeline(timeline: Timeline, console: Console, glyphs: Glyphs) -> None:
    """When the events came. Beside it what a cell is, or nothing where there is no room for both."""
    stretches = timeline.stretches(min(_MOST_TIME_CELLS, console.width))
    while stretches:
        cell_text = duration_text((stretches[0].to_ns - stretches[0].from_ns) / 1e9)
        fullest = plural(max(part.events for part in stretches), "event")
        words = f"  over {duration_text(timeline.span_ns / 1e9)}, {cell_text} a cell, at most {fullest}"
        room = min(_MOST_TIME_CELLS, console.width - len(words))
        if room >= len(stretches) or room < _LEAST_TIME_CELLS:
            drawn = sparkline([part.events for part in stretches], glyphs)
            console.print(Text.assemble((drawn, "cyan"), (words if room >= len(stretches) else "", "dim")))
            return
        stretches = timeline.stretches(room)


def _print_operations(sums: list[OperationSum], console: Console, glyphs: Glyphs | None) -> bool:
    """Print them; whether their distributions had room."""
    sheet = Sheet("OPERATION", width=console.width)
    sheet.column("COUNT")
    sheet.column("FAILED")
    _add_percentiles(sheet, "MAX")
    if glyphs is not None:
        sheet.column("DURATIONS", rank=2, is_left=True)
        sheet.column("SHARE OF TIME", rank=6, is_left=True)
    for one in sums:
        total = one.total
        what = Text.assemble((f"{shortened(total.kind, 30)} ", "dim"))
        what.append(shortened(total.name, 60), "bold")
        cells = [what, Text(f"{total.count:,}"), Text(f"{total.failures:,}", "red") if total.failures else _NONE]
        cells += _percentiles(total.durations, total.durations.max_s)
        if glyphs is not None:
            cells += [_distribution(one.counts, glyphs), _share(one.time_ratio, glyphs)]
        sheet.row(*cells)
    sheet.print(console)
    return sheet.shows("DURATIONS")


_TOKEN_HEADS = dict(zip(TOKEN_KEYS, ("IN", "OUT", "CACHE READ", "CACHE WRITE", "REASONING"), strict=True))


def _print_usage(sums: Sums, models: list[ModelSum], console: Console, glyphs: Glyphs | None) -> None:
    keys = [key for key in TOKEN_KEYS if sums.tokens.get(key) or key in TOKEN_KEYS[:2]]
    has_sources = sums.cost.usd is not None
    has_shares = glyphs is not None and len(models) > 1
    sheet = Sheet("MODEL", width=console.width)
    for place, key in enumerate(keys):
        sheet.column(_TOKEN_HEADS[key], rank=3 if place > 1 else 0)
    sheet.column("COST")
    if has_sources:
        sheet.column("OF WHICH", rank=4, is_left=True)
    if has_shares:
        sheet.column("SHARE OF TOKENS", rank=2, is_left=True)
        sheet.column("SHARE OF COST", rank=1, is_left=True)
    for one in models:
        cells = [_model_cell(one.model)]
        cells += [Text(amount_text(one.tokens[key])) if key in one.tokens else _NONE for key in keys]
        cells.append(Text(cost_text(one.cost)))
        if has_sources:
            cells.append(Text(_sources_text(one.cost), "dim"))
        if glyphs is not None and has_shares:
            cells += [_share(one.tokens_ratio, glyphs), _share(one.cost_ratio, glyphs)]
        sheet.row(*cells)
    sheet.print(console)


def _print_latency(models: list[ModelSum], console: Console, glyphs: Glyphs | None) -> bool:
    """Print them; whether their distributions had room."""
    has_ttft = any(one.ttft.count for one in models)
    sheet = Sheet("MODEL", width=console.width)
    sheet.column("CALLS")
    _add_percentiles(sheet)
    if has_ttft:
        for percent, rank in ((50, 1), (90, 5), (99, 6)):
            sheet.column(f"TTFT P{percent}", rank=rank)
    sheet.column("TOKENS/S", rank=1)
    if glyphs is not None:
        sheet.column("LATENCY", rank=2, is_left=True)
    for one in models:
        cells = [_model_cell(one.model), Text(f"{one.calls:,}"), *_percentiles(one.latency)]
        if has_ttft:
            cells += _percentiles(one.ttft)
        cells.append(_NONE if one.tokens_per_s is None else Text(f"{one.tokens_per_s:,.0f}"))
        if glyphs is not None:
            cells.append(_distribution(one.counts, glyphs))
        sheet.row(*cells)
    sheet.print(console)
    return sheet.shows("LATENCY")


_NONE = Text("-", "dim")


def _add_percentiles(sheet: Sheet, *more: str) -> None:
    for head, rank in (("P50", 1), ("P90", 4), ("P99", 3), *((head, 1) for head in more)):
        sheet.column(head, rank=rank)


def _percentiles(durations: Durations, *more: float) -> list[Text]:
    figures_s = (durations.p50_s, durations.p90_s, durations.p99_s, *more)
    return [Text(duration_text(figure_s)) if durations.count else _NONE for figure_s in figures_s]


def _distribution(counts: list[int], glyphs: Glyphs) -> Text:
    return Text(sparkline(counts, glyphs), "cyan") if any(counts) else _NONE


def _share(ratio: float | None, glyphs: Glyphs) -> Text:
    return _NONE if ratio is None else Text(share(ratio, glyphs), "cyan")


def _model_cell(model: str) -> Text:
    return Text(shortened(model, 60), "bold") if model else Text("(not named)", "dim")


def _explain_durations(axis: LogAxis, console: Console) -> None:
    shortest, longest = duration_text(axis.bounds[0]), duration_text(axis.bounds[-1])
    factor = axis.bounds[1] / axis.bounds[0]
    console.print()
    console.print(Text(f"distributions: {shortest} to {longest}, each cell ×{factor:.1f} the one before", "dim"))


def _sources_text(cost: CostTotal) -> str:
    parts = []
    if cost.reported_usd is not None:
        parts.append(f"{dollars(cost.reported_usd)} reported")
    if cost.computed_usd is not None:
        parts.append(f"{dollars(cost.computed_usd)} computed")
    if cost.unknown_calls:
        parts.append(f"{plural(cost.unknown_calls, 'call')} unknown")
    return ", ".join(parts)


def _say_the_rest(console: Console, total: int, rows: int | None) -> None:
    if rows is not None and total > rows:
        console.print(Text(f"⋯ {total - rows:,} more; all with --full", "dim"))


def _hint_at_prices(unknown: int) -> None:
    calls = f"the cost of {plural(unknown, 'model call')} is unknown"
    if importlib.util.find_spec("genai_prices") is None:
        note(f"({calls}; with a price table it is computed while recording: pip install 'sonde[prices]')")
    else:
        note(f"({calls}: neither reported, nor has the price table its model)")
