"""A lint for pages, in the manner of ``promtool check metrics``, and a reading of a page by every parser there is."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sonde.exporters.prometheus import render_prometheus

Series = tuple[str, tuple[tuple[str, str], ...]]
Reading = dict[Series, float]

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SAMPLE = re.compile(r'([^\s{]+)(?:\{((?:[^"}]|"(?:\\.|[^"\\])*")*)\})? (\S+)')
LABEL = re.compile(r'([^=,]+)="((?:\\.|[^"\\])*)"(?:,|$)')
SUFFIXES = {"counter": {""}, "gauge": {""}, "histogram": {"_bucket", "_count", "_sum"}}
ODD_UNITS = ("milliseconds", "microseconds", "nanoseconds", "ms", "minutes", "hours", "kb", "kilobytes", "megabytes")


def lint(page: bytes, *, openmetrics: bool) -> list[str]:
    """What is wrong with a page: each family one block with HELP and TYPE in front, and samples that fit its type."""
    problems: list[str] = []
    name = kind = ""
    told: set[str] = set()
    seen: set[tuple[str, str]] = set()
    families: set[str] = set()
    histograms: dict[str, list[tuple[float, float]]] = {}
    counts: dict[str, float] = {}
    *lines, rest = page.decode().split("\n")
    if rest:
        problems.append("no newline at the end")
    if openmetrics and (not lines or lines.pop() != "# EOF"):
        problems.append("no EOF")
    for line in lines:
        if line.startswith("# "):
            _, what, who, *text = line.split(" ", 3)
            if what == "HELP":
                if who in families:
                    problems.append(f"second block of {who}")
                families.add(who)
                name, kind, told = who, "", {"HELP"}
                if not text or not text[0].strip():
                    problems.append(f"no help for {who}")
            elif who != name or what in told or "sample" in told:
                problems.append(f"{what} out of place: {who}")
            told.add(what)
            if what == "TYPE":
                kind = text[0]
                problems += _names(name, kind, openmetrics=openmetrics)
            if what == "UNIT" and not name.endswith(f"_{text[0]}"):
                problems.append(f"unit of {name} is not in its name")
            continue
        match = SAMPLE.fullmatch(line)
        if match is None:
            problems.append(f"no sample: {line!r}")
            continue
        sample, labels, value = match[1], match[2] or "", match[3]
        if not told >= {"HELP", "TYPE"}:
            problems.append(f"no HELP or TYPE before {sample}")
        total = "_total" if openmetrics and kind == "counter" else ""
        if sample not in {name + suffix + total for suffix in SUFFIXES.get(kind, {""})}:
            problems.append(f"{sample} is not of family {name}")
        if (sample, labels) in seen:
            problems.append(f"duplicate {sample}{{{labels}}}")
        seen.add((sample, labels))
        told.add("sample")
        pairs = LABEL.findall(labels)
        if ",".join(f'{key}="{text}"' for key, text in pairs) != labels:
            problems.append(f"labels of {sample} are not readable: {labels}")
        problems += [f"label {key} of {sample}" for key, _ in pairs if not NAME.fullmatch(key) or ":" in key]
        if kind == "histogram":
            group = name + ",".join(f"{key}={text}" for key, text in pairs if key != "le")
            if sample.endswith("_bucket"):
                histograms.setdefault(group, []).append((float(dict(pairs)["le"]), float(value)))
            elif sample.endswith("_count"):
                counts[group] = float(value)
    for group, buckets in histograms.items():
        if [bound for bound, _ in buckets] != sorted({bound for bound, _ in buckets}):
            problems.append(f"buckets of {group} do not ascend")
        if [count for _, count in buckets] != sorted(count for _, count in buckets):
            problems.append(f"buckets of {group} are not cumulative")
        if buckets[-1] != (float("inf"), counts.get(group)):
            problems.append(f"+Inf of {group} is not its count")
    return problems


def _names(name: str, kind: str, *, openmetrics: bool) -> list[str]:
    problems = []
    if kind not in SUFFIXES:
        problems.append(f"type {kind} of {name}")
    if not NAME.fullmatch(name):
        problems.append(f"name {name}")
    if kind == "counter" and not openmetrics and not name.endswith("_total"):
        problems.append(f"counter {name} does not end in _total")
    if name.removesuffix("_total").rpartition("_")[2] in ODD_UNITS:
        problems.append(f"{name} is not in a base unit")
    return problems


def read(page: bytes, *, openmetrics: bool) -> Reading:
    """Every sample of a page, as prometheus_client reads it."""
    parse: Callable[[str], Any] = parse_openmetrics if openmetrics else parse_text
    reading: Reading = {}
    for family in parse(page.decode()):
        assert family.type in SUFFIXES, family
        for sample in family.samples:
            series = (sample.name, tuple(sorted(sample.labels.items())))
            assert series not in reading
            reading[series] = sample.value
    return reading


@pytest.fixture(scope="session", name="lint")
def give_lint() -> Callable[..., list[str]]:
    return lint


@pytest.fixture(scope="session")
def shown() -> Callable[[Any], Reading]:
    """What a page of the sources shows: the same in both formats, each without fault and readable by its parser."""

    def show(sources: Any) -> Reading:
        text = render_prometheus(sources)
        openmetrics = render_prometheus(sources, openmetrics=True)
        assert lint(text, openmetrics=False) == []
        assert lint(openmetrics, openmetrics=True) == []
        reading = read(text, openmetrics=False)
        assert read(openmetrics, openmetrics=True) == reading
        return reading

    return show
