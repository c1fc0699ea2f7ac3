"""``sonde metrics``: the metrics of what was recorded, from its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import click
from rich.console import Console
from rich.text import Text

from sonde.cli.documents import fields_text
from sonde.cli.metric_documents import MetricDocument, metric_document
from sonde.cli.metric_sheets import print_families
from sonde.cli.opening import open_for_reading
from sonde.cli.options import db_option, json_option
from sonde.cli.output import data_console, note, print_json
from sonde.cli.plots import Glyphs, glyphs_for
from sonde.cli.progress import Advance, progress
from sonde.cli.wording import plural
from sonde.errors import SessionNotFoundError
from sonde.events import EventType, Position, RecordedEvent
from sonde.exporters.prometheus import render_prometheus
from sonde.metrics import Family, Registry
from sonde.query import derive_metrics, read_metrics, resolve_session
from sonde.store import EventStore

_EVENTS_A_STEP = 2_000


@click.command(epilog=fields_text(MetricDocument))
@click.argument("session", required=False)
@click.option("--session", "named", metavar="SESSION", help="The same as the argument, for scripts.")
@click.option("--prometheus", is_flag=True, help="A page in Prometheus' text format 0.0.4.")
@click.option("--openmetrics", is_flag=True, help="A page in OpenMetrics 1.0, with units.")
@click.option("--full", is_flag=True, help="All series of each metric, not only the first 10.")
@click.option("--plots/--no-plots", default=True, show_default=True, help="Draw distributions and shares.")
@json_option
@db_option
def command(
    session: str | None,
    *,
    named: str | None,
    prometheus: bool,
    openmetrics: bool,
    full: bool,
    plots: bool,
    as_json: bool,
    db: str | None,
) -> None:
    """Show the metrics of a session or of all, also of one that was killed.

    SESSION is an id, the beginning of one, or "last". Derived metrics (calls, durations, tokens, cost, failures) are
    made of the recorded events, as a live recorder makes them. The program's own (sonde.counter(...) and the like) are
    those that the recorder wrote down at its intervals and its end. Percentiles are within 1 %.

    --prometheus and --openmetrics print a page, as a recorder's metrics server does; they need sonde[prometheus]. On it
    a derived metric takes the place of an own one of the same name.

    \b
    Examples:
      sonde metrics
      sonde metrics last --full
      sonde metrics fix-42 --json | jq 'select(.name == "model_latency_seconds") | .p99'
      sonde metrics --prometheus > /var/lib/node_exporter/textfile/agents.prom
    """
    options = {"--prometheus": prometheus, "--openmetrics": openmetrics, "--json": as_json}
    formats = [name for name, is_given in options.items() if is_given]
    if len(formats) > 1:
        raise click.UsageError(f"{' and '.join(formats)} contradict each other; give one of them.")
    if session is not None and named is not None:
        raise click.UsageError("SESSION and --session contradict each other; give one of them.")
    is_page = prometheus or openmetrics
    if is_page:
        render_prometheus([], openmetrics=openmetrics)  # is the extra there? Before a long reading.
    with open_for_reading(db) as store:
        stream_id = _stream(store, session if named is None else named)
        with progress("deriving metrics", _total(store, stream_id)) as advance:
            derived = derive_metrics(cast(EventStore, _Watched(store, advance)), stream_id)
        own = Registry.from_snapshot(read_metrics(_metric_events(store, stream_id)))
    if is_page:
        _write_page(derived, own, openmetrics=openmetrics)
    elif as_json:
        _print_documents(derived, own)
    else:
        console = data_console()
        _print_tables(derived, own, console, glyphs=glyphs_for(console) if plots else None, full=full)
    if not is_page and not derived.families() and not own.families():
        note("(no metrics: nothing of what was recorded is a call, a duration or a metric of the program's own)")


class _Watched:
    """A store that says how far the reading of its events is."""

    def __init__(self, store: EventStore, advance: Advance) -> None:
        self._store = store
        self._advance = advance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, stream_id: str, from_version: int = 0, *, limit: int | None = None) -> Iterator[RecordedEvent]:
        return self._watched(self._store.read(stream_id, from_version, limit=limit))

    def read_all(
        self, after: Position | None = None, *, types: Iterable[str] | None = None, limit: int | None = None
    ) -> Iterator[RecordedEvent]:
        return self._watched(self._store.read_all(after, types=types, limit=limit))

    def _watched(self, events: Iterator[RecordedEvent]) -> Iterator[RecordedEvent]:
        for number, event in enumerate(events):
            if number % _EVENTS_A_STEP == 0:
                self._advance(number)
            yield event


def _total(store: EventStore, stream_id: str | None) -> int:
    infos = [info for info in store.streams() if info.first_version and stream_id in (None, info.stream_id)]
    return sum(info.last_version - info.first_version + 1 for info in infos)


def _metric_events(store: EventStore, stream_id: str | None) -> Iterator[RecordedEvent]:
    if stream_id is None:
        return store.read_all(types=[EventType.METRICS])
    return store.read_by_type(stream_id, EventType.METRICS)


def _stream(store: EventStore, session: str | None) -> str | None:
    if session is not None:
        return resolve_session(store, session)
    if not any(info.first_version for info in store.streams()):
        raise SessionNotFoundError(f"cannot show metrics of '{store.url}': the store is empty; record a session first")
    return None


class _Families:
    """Some families of a registry, as a source of a page."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def families(self) -> list[Family]:
        return self._families


def _write_page(derived: Registry, own: Registry, *, openmetrics: bool) -> None:
    taken = {family.name for family in derived.families()}
    hidden = [family.name for family in own.families() if family.name in taken]
    others = _Families([family for family in own.families() if family.name not in taken])
    click.echo(render_prometheus([derived, others], openmetrics=openmetrics), nl=False)
    if hidden:
        note(f"(left out, since there are derived metrics of that name: the program's own {', '.join(hidden)})")


def _print_documents(derived: Registry, own: Registry) -> None:
    for origin, registry in (("derived", derived), ("own", own)):
        for family in registry.families():
            for series in family.series:
                print_json(metric_document(family, series, origin=origin))


def _print_tables(derived: Registry, own: Registry, console: Console, *, glyphs: Glyphs | None, full: bool) -> None:
    groups = [("derived from events", derived.families()), ("the program's own", own.families())]
    groups = [(title, families) for title, families in groups if families]
    has_distributions = False
    for place, (title, families) in enumerate(groups):
        if place:
            console.print()
        count = f" · {plural(len(families), 'metric')}, {sum(len(family.series) for family in families):,} series"
        console.print(Text.assemble((title, "bold"), (count, "dim")))
        has_distributions = print_families(families, console, glyphs=glyphs, full=full) or has_distributions
    if has_distributions:
        console.print()
        console.print(Text("distributions: from a metric's lowest to its highest value, on a log axis", "dim"))
