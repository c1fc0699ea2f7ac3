"""What type checkers say about metrics in user code. Checked by mypy, never run."""

from typing import assert_type

import sonde
from sonde.metrics import Counter, Gauge, Histogram, Metric, Registry

registry = Registry()
assert_type(registry.counter("calls_total", {"tool": "a"}), Counter)
assert_type(registry.gauge("load_ratio"), Gauge)
assert_type(registry.histogram("x_seconds", buckets=[0.1, 1]), Histogram)
assert_type(registry.get_counter("calls_total"), Counter | None)
assert_type(sonde.histogram("x_seconds").buckets(), dict[float, int])

all_of_them: list[Metric] = [Counter("a"), Gauge("b"), Histogram("c")]
