"""Plot: the run at a glance, for the documentation. Bars are medians, whiskers go from the least to the greatest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.document import series
from benchmarks.measure import Series

NAME = "benchmarks"
_OURS, _OTHERS, _LIMIT = "#0b7285", "#adb5bd", "#dee2e6"
_LIMITS = ("bare", "dict and deque", "nobody", "a call that does nothing")


@dataclass(frozen=True, slots=True)
class Panel:
    """One comparison, one measure."""

    title: str
    bench: str
    measure: str
    is_logarithmic: bool = False


PANELS = (
    Panel("One call on the calling thread, ns (less is better)", "emit", "wall", is_logarithmic=True),
    Panel("Events until committed, a second (more is better)", "durable", "rate", is_logarithmic=True),
    Panel("One operation or span, ns (less is better)", "operations", "wall", is_logarithmic=True),
    Panel("Events taken by subscribers, a second (more is better)", "delivery", "rate"),
    Panel("CPU time of an agent's run, s (less is better)", "agent", "cpu"),
    Panel("Read back, events a second (more is better)", "reading", "rate"),
)


def draw(document: dict[str, Any], folder: Path) -> None:
    """Write ``benchmarks.png`` and ``benchmarks.svg``; what was not measured is left out."""
    panels = [panel for panel in PANELS if panel.bench in document["benches"]]
    if not panels:
        return
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(13, 3.1 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw_panel(axes, panel, document)
    figure.suptitle(
        f"sonde {document['versions']['sonde']} beside its peers, one run of {document['when'][:10]}, "
        f"Python {document['python'].split()[0]}, {document['machine']}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    # Without dates and random ids, so that the same figures make the same files.
    with mpl.rc_context({"svg.hashsalt": NAME}):
        figure.savefig(folder / f"{NAME}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{NAME}.png", dpi=110, metadata={"Software": None})


def _draw_panel(axes: Axes, panel: Panel, document: dict[str, Any]) -> None:
    found: dict[str, Series] = {}
    for candidate in document["benches"][panel.bench]["values"]:
        row = series(document, panel.bench, candidate, panel.measure)
        if row is not None:
            found[candidate] = row
    names = list(found)
    medians = [row.median for row in found.values()]
    colours = [_OURS if name.startswith("sonde") else _LIMIT if name.startswith(_LIMITS) else _OTHERS for name in names]
    whiskers = [
        [row.median - row.low for row in found.values()],
        [row.high - row.median for row in found.values()],
    ]
    bars = axes.barh(names, medians, color=colours, xerr=whiskers, error_kw={"elinewidth": 0.8, "alpha": 0.6})
    labels = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in medians]
    axes.bar_label(bars, labels=labels, padding=6, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.is_logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(min(medians) / 2, max(row.high for row in found.values()) * 4)
    else:
        axes.set_xlim(0, max(row.high for row in found.values()) * 1.2)
