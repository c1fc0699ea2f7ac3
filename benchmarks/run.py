"""``make bench``: everything side by side in one run, as a table and as JSON in ``benchmarks/results``.

Absolute times are this machine's at this moment; the ratios are what carries over.
"""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import durable
import emit
from measure import interleave, ratio
from rich.console import Console
from rich.table import Table

ROUNDS = 7
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, print, keep."""
    console = Console()
    with console.status("emit: sonde and OpenTelemetry in turn"):
        emits = interleave({"sonde": emit.sonde_emit, "OpenTelemetry log": emit.opentelemetry_emit()}, rounds=ROUNDS)
    with console.status("durable events: sonde and the original's schema in turn"):
        stores = interleave(
            {"sonde": durable.sonde_events_a_second, "original": durable.original_events_a_second}, rounds=ROUNDS
        )
    rows = [
        (
            "emit, 4 keys, one live subscription",
            "ns",
            emits["sonde"],
            "OpenTelemetry log emit",
            emits["OpenTelemetry log"],
        ),
        (
            "first emit to last commit",
            "events/s",
            stores["sonde"],
            "original's schema, executemany",
            stores["original"],
        ),
    ]
    budgets = ("≤ 0.083", "≥ 1.5")
    table = Table(title=f"Python {platform.python_version()}, {ROUNDS} interleaved rounds, medians")
    for heading in ("what", "sonde", "peer", "peer's figure", "ratio sonde/peer (min to max)", "budget"):
        table.add_column(heading)
    results = []
    for (what, unit, ours, peer, theirs), budget in zip(rows, budgets, strict=True):
        ratios = ratio(ours, theirs)
        table.add_row(
            what,
            f"{ours.median:,.0f} {unit}",
            peer,
            f"{theirs.median:,.0f} {unit}",
            f"{ratios.median:.3f} ({min(ratios.values):.3f} to {max(ratios.values):.3f})",
            budget,
        )
        results.append({"what": what, "unit": unit, "sonde": ours.values, "peer": peer, "values": theirs.values})
    console.print(table)
    RESULTS.mkdir(exist_ok=True)
    when = datetime.now(UTC)
    target = RESULTS / f"{when:%Y%m%d-%H%M%S}.json"
    document = {"when": when.isoformat(), "python": sys.version, "machine": platform.machine(), "results": results}
    target.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"kept in benchmarks/results/{target.name}")


if __name__ == "__main__":
    main()
