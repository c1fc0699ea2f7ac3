"""Family: all series of one name."""

from __future__ import annotations

from typing import NamedTuple

from sonde.metrics.counter import Counter
from sonde.metrics.description import Description
from sonde.metrics.gauge import Gauge
from sonde.metrics.histogram import Histogram
from sonde.metrics.metric import MetricType


class Family(NamedTuple):
    """What a registry has under one name: a list made at the call, of metrics that live on.

    Attributes:
        name: what is measured.
        type: the kind that all series have.
        description: what the registry was told about the name; ``None`` if nothing.
        series: at least one, sorted by labels.
    """

    name: str
    type: MetricType
    description: Description | None
    series: list[Counter | Gauge | Histogram]
