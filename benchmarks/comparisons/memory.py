"""Resident memory while many events are recorded."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.bench import Bench, Load
from benchmarks.children.child import call

MEMORY = Bench(
    "memory",
    "resident memory of a process that records 300,000 events (bench-full: 10 M), flushed each 10,000:"
    " before the first, after a tenth, after all, and at the highest",
    {"before": "MB", "early": "MB", "after": "MB", "highest": "MB"},
    reference="sonde, recording",
    rounds=1,
    warm_up=False,
)


@MEMORY.candidate("sonde, recording")
def recording(load: Load) -> Mapping[str, float]:
    """``record()`` as it comes, in a process of its own."""
    return call("remembering", load.count(300_000, full=10_000_000))
