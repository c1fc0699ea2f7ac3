"""Report: the tables in the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.budgets import BUDGETS, Standing, Verdict
from benchmarks.document import series
from benchmarks.measure import Series

_CONSOLE = Console(width=max(Console().width, 120))


def print_bench(name: str, found: dict[str, Any]) -> None:
    """One comparison: each candidate's median and spread, and its ratio to the reference, round by round."""
    reference = found["values"].get(found["reference"], {})
    table = Table(
        title=f"{name}: {found['about']} ({found['took_s']:.0f} s)",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        title_style="bold",
    )
    table.add_column("measure")
    table.add_column("candidate")
    for heading in ("median", "from–to", f"to {found['reference']}", "from–to"):
        table.add_column(heading, justify="right")
    for measure, unit in found["units"].items():
        for candidate, values in found["values"].items():
            if measure not in values:
                continue
            row = Series(tuple(values[measure]))
            cells = [f"{_number(row.median)} {unit}", _range(row)]
            if measure in reference:
                ratios = row.over(Series(tuple(reference[measure])))
                cells += [_number(ratios.median), _range(ratios)]
            table.add_row(measure, candidate, *cells)
        table.add_section()
    _CONSOLE.print(table)


def print_budgets(document: dict[str, Any]) -> list[Verdict]:
    """The budgets, and whether they are met; returns the verdicts."""
    verdicts = [budget.judge(lambda *where: series(document, *where)) for budget in BUDGETS]
    table = Table(title="Budgets", title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for heading in ("what", "found", "from–to", "budget", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for verdict in verdicts:
        style = "green" if verdict.standing is Standing.MET else "red"
        if verdict.found is None or verdict.value is None:
            continue
        table.add_row(
            verdict.budget.what,
            _number(verdict.value),
            _range(verdict.found),
            verdict.budget.bound_text,
            Text(verdict.standing.value, style),
        )
    if table.row_count:
        _CONSOLE.print(table)
    return verdicts


def _range(found: Series) -> str:
    return "" if len(found.values) == 1 else f"{_number(found.low)}–{_number(found.high)}"


def _number(value: float) -> str:
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 or value == int(value) else f"{value:.1f}" if size >= 10 else f"{value:.3g}"
