"""Plot: the soak over time, for the documentation."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

NAME = "soak"
_SHORTEST_S = 1.0  # the last sample is taken when the agents have ended, and says nothing of their rate
_COLOUR, _LIMIT = "#0b7285", "#868e96"


def draw(document: dict[str, Any], folder: Path) -> None:
    """Write ``soak.png`` and ``soak.svg``."""
    samples = document["samples"]
    minutes = [one["s"] / 60 for one in samples]
    figure = Figure(figsize=(13, 6.7), layout="constrained")
    grid = figure.subplots(2, 2)
    rates = [
        (after["committed"] - before["committed"]) / (after["s"] - before["s"])
        for before, after in pairwise(samples)
        if after["s"] > before["s"] + _SHORTEST_S
    ]
    panels = (
        (grid[0, 0], "Resident memory of the agent's process, MB", minutes, _millions(samples, "rss_bytes")),
        (grid[0, 1], "The store's file, and its log, MB", minutes, _millions(samples, "db_bytes")),
        (grid[1, 0], "Committed events a second", minutes[1 : len(rates) + 1], rates),
        (grid[1, 1], "Events removed by retention, millions", minutes, _millions(samples, "removed_events")),
    )
    for axes, title, x, y in panels:
        axes.plot(x, y, color=_COLOUR, linewidth=1.2)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("minutes", fontsize=8)
        axes.set_ylim(0, 1.1 * max(y, default=1))
        axes.grid(alpha=0.3)
    grid[0, 1].axhline(document["max_bytes"] / 1e6, color=_LIMIT, linewidth=0.8, linestyle="--")
    grid[0, 1].plot(minutes, _millions(samples, "wal_bytes"), color=_LIMIT, linewidth=0.8)
    figure.suptitle(
        f"{document['minutes']:g} minutes at {document['rate']:,} events/s, "
        f"max_bytes {document['max_bytes'] / 1e6:.0f} MB, {document['when'][:10]}, Python {document['python']}"
    )
    with mpl.rc_context({"svg.hashsalt": NAME}):
        figure.savefig(folder / f"{NAME}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{NAME}.png", dpi=110, metadata={"Software": None})


def _millions(samples: list[dict[str, Any]], key: str) -> list[float]:
    return [one[key] / 1e6 for one in samples]
