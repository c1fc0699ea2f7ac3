"""One operation, a tool call around nothing, beside a span."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.bench import Bench, Candidate, Load
from benchmarks.measure import call_costs
from benchmarks.peers import logfire, opentelemetry, sonde
from benchmarks.peers.subject import Open

_LARGEST_BLOCK = 50_000  # two events each

OPERATIONS = Bench(
    "operations",
    "a block around nothing with one attribute at each end; sonde records two events to disk, a span is one",
    {"wall": "ns", "cpu": "ns", "total": "ns"},
    reference="OpenTelemetry span",
)


def _cost(opened: Open) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        with opened() as subject:
            return call_costs(subject.loop(), settle=subject.settle, seconds=load.seconds, largest_block=_LARGEST_BLOCK)

    return measure


for _name, _opened in {
    "sonde, recording": sonde.operations,
    "OpenTelemetry span": opentelemetry.spans,
    "Logfire span": logfire.spans,
}.items():
    OPERATIONS.add(_name, _cost(_opened), _opened.__doc__ or "")
