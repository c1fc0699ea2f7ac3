"""One update of a counter or a histogram, beside prometheus_client and OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.bench import Bench, Candidate, Load
from benchmarks.measure import LARGEST_BLOCK, call_costs
from benchmarks.peers.meters import COUNTERS, COUNTERS_BY_NAME, HISTOGRAMS
from benchmarks.peers.subject import Open

_UNITS = {"wall": "ns", "cpu": "ns", "total": "ns"}


def _cost(opened: Open) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        with opened() as subject:
            return call_costs(subject.loop(), settle=subject.settle, seconds=load.seconds, largest_block=LARGEST_BLOCK)

    return measure


for _name, _what, _candidates in (
    ("counter by name", "one more on a counter that is found by the value of its label", COUNTERS_BY_NAME),
    ("counter", "one more on a counter in hand", COUNTERS),
    ("histogram", "one observation on a histogram in hand; total: until it is in the buckets", HISTOGRAMS),
):
    _bench = Bench(_name, _what, _UNITS, reference="prometheus_client")
    for _peer, _opened in _candidates.items():
        _bench.add(_peer, _cost(_opened), _opened.__doc__ or "")
