"""What an import costs at the start of a program: time of a fresh interpreter, less that of an idle one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

from benchmarks.bench import Bench, Candidate, Load
from benchmarks.children.child import call

IMPORT = Bench(
    "import",
    "wall time of `python -c`, less that of `python -c pass` run right before, files cached;"
    " unwanted: modules of command line, web, asyncio and OpenTelemetry that are loaded",
    {"time": "ms", "unwanted": "modules", "modules": "modules"},
    reference="import opentelemetry.sdk.trace",
)


def _wall_ms(statement: str) -> float:
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return (time.perf_counter() - began_s) * 1000


def _cost(statement: str) -> Candidate:
    def measure(_load: Load) -> Mapping[str, float]:
        return {"time": -_wall_ms("pass") + _wall_ms(statement), **call("importing", statement)}

    return measure


for _name, _statement in {
    "import sonde": "import sonde",
    "import sonde, record()": "import sonde; sonde.record(':memory:').emit('note.taken')",
    "import opentelemetry.sdk.trace": "import opentelemetry.sdk.trace",
    "import logfire": "import logfire",
}.items():
    IMPORT.add(_name, _cost(_statement), f"`{_statement}`")
