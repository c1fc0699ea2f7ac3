"""Document: what a run found, as JSON in ``benchmarks/results``."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, Load
from benchmarks.measure import Series

RESULTS = Path(__file__).parent / "results"
LATEST = "latest.json"
_PACKAGES = (
    "sonde",
    "apsw",
    "msgspec",
    "opentelemetry-sdk",
    "logfire",
    "structlog",
    "loguru",
    "orjson",
    "eventsourcing",
)


def begin_document(load: Load) -> dict[str, Any]:
    """A document without any figures yet: where and with what they are measured."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": "quick" if load.quick else "full" if load.full else "normal",
        "python": sys.version,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in _PACKAGES},
        "benches": {},
        "failed": [],
    }


def bench_document(bench: Bench, found: dict[str, dict[str, Series]]) -> dict[str, Any]:
    """One comparison: its configuration, and every value that was measured."""
    return {
        "about": bench.about,
        "units": dict(bench.units),
        "reference": bench.reference,
        "configurations": bench.configurations,
        "values": {name: {key: row.values for key, row in rows.items()} for name, rows in found.items()},
    }


def series(document: dict[str, Any], bench: str, candidate: str, measure: str) -> Series | None:
    """What a run found; ``None`` if it didn't measure that."""
    values = document["benches"].get(bench, {}).get("values", {}).get(candidate, {}).get(measure)
    return None if values is None else Series(tuple(values))


def save(document: dict[str, Any], *, is_whole: bool) -> Path:
    """Keep a run; a whole one, nothing left out and no quick look, is what the budgets are checked against."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(document, indent=1) + "\n"
    path = RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{document['load']}.json"
    path.write_text(text, encoding="utf-8")
    if is_whole:
        (RESULTS / LATEST).write_text(text, encoding="utf-8")
    return path


def load_document(path: Path) -> dict[str, Any]:
    """A run that was kept."""
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
