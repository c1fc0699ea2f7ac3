"""Whatever names, labels and values there are: the page is valid, and gives back exactly what the metrics hold."""

import sys
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sonde.errors import ConfigError, MetricTypeError
from sonde.metrics import Counter, Family, Gauge, Registry

Reading = dict[tuple[str, tuple[tuple[str, str], ...]], float]
Shown = Callable[[Any], Reading]

# Few letters, so that names clash; and the suffixes that mean something.
NAMES = st.builds(str.__add__, st.from_regex(r"[ab_:][ab0_:]{0,2}", fullmatch=True), st.sampled_from(
    ["", "_total", "_sum", "_count", "_bucket", "_created", "_seconds", "_seconds_total", "_info"]
))  # fmt: skip
TEXT = st.text(max_size=8) | st.text(st.sampled_from('\\"\n{}=,# \udc80'), max_size=8)
LABELS = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9]{0,2}", fullmatch=True), TEXT, max_size=3)
AMOUNTS = st.lists(st.floats() | st.integers(-3, 10**30), max_size=4)
METRICS = st.lists(st.tuples(st.sampled_from(["counter", "gauge", "histogram"]), NAMES, LABELS, AMOUNTS), max_size=8)
DESCRIPTIONS = st.lists(st.tuples(NAMES, TEXT, st.sampled_from(["", "seconds"])), max_size=3)


def filled(metrics: list[tuple[str, str, dict[str, str], list[float]]]) -> Registry:
    registry = Registry()
    for kind, name, labels, amounts in metrics:
        try:
            metric = getattr(registry, kind)(name, labels)
        except (ConfigError, MetricTypeError):
            continue
        for amount in amounts:
            (metric.observe if kind == "histogram" else metric.add)(amount)
    return registry


@given(METRICS, METRICS, DESCRIPTIONS)
def test_every_page_is_valid_and_exact(
    shown: Shown, first: Any, second: Any, descriptions: list[tuple[str, str, str]]
) -> None:
    """Both formats parse and agree; each figure is a metric's, and a family with a name of its own is all there."""
    registries = [filled(first), filled(second)]
    for name, help_, unit in descriptions:
        try:
            registries[0].describe(name, help_, unit)
        except ConfigError:
            continue
    reading = shown(registries)
    families = [family for registry in registries for family in registry.families()]
    held = [figures(family) for family in families]
    for item in reading.items():
        assert any(item in each.items() for each in held)
    for index, family in enumerate(families):
        others = [names(other) for other in families[:index] + families[index + 1 :]]
        if not names(family) & set().union(*others):
            assert held[index].items() <= reading.items()


def names(family: Family) -> set[str]:
    """All that a family could clash by."""
    root = family.name.removesuffix("_total")
    return {root + suffix for suffix in ("", "_total", "_created", "_bucket", "_count", "_sum")} | {family.name}


def figures(family: Family) -> Reading:
    """What a family should show, said anew."""
    held: Reading = {}
    for metric in family.series:
        labels = dict(metric.labels)
        if isinstance(metric, Counter):
            name = family.name if len(family.name) > 6 and family.name.endswith("_total") else family.name + "_total"
            held[name, tuple(labels.items())] = float(min(metric.get(), sys.float_info.max))
        elif isinstance(metric, Gauge):
            held[family.name, tuple(labels.items())] = metric.get()
        else:
            now = metric.snapshot()
            for bound, count in now.buckets().items():
                le = "+Inf" if bound == float("inf") else str(bound)
                held[family.name + "_bucket", tuple(sorted({**labels, "le": le}.items()))] = count
            held[family.name + "_count", tuple(labels.items())] = now.count
            held[family.name + "_sum", tuple(labels.items())] = now.sum
    return held
