"""What users feel: agents at work, with nobody listening, with sonde, and with others."""

from __future__ import annotations

import os
from collections.abc import Mapping

from benchmarks.bench import Bench, Candidate, Load
from benchmarks.children.carrier import CARRIERS
from benchmarks.children.child import call

TURNS = 200

AGENT = Bench(
    "agent",
    f"4 asyncio tasks, {TURNS} turns of a model in all, each resending a prompt that grows to some 250 kB, 1,000 tool"
    " calls, 4,000 pieces of answers; a process each. own: CPU of the agent's thread; stored: bytes on disk over those"
    " of its text without repeats; compressed: over what zlib makes of that text at level 6, each once, in order, in"
    " one go; close: after half a second of rest",
    {
        "wall": "s",
        "cpu": "s",
        "own": "s",
        "rss": "MB",
        "close": "ms",
        "emit p50": "µs",
        "emit p99.9": "µs",
        "stored": "× the text",
        "stored, compressed": "× the compressed text",
    },
    reference="nobody listens",
    rounds=4,
    warm_up=False,
)
DEMO = Bench(
    "demo",
    "the agent of `sonde demo` without its model's pauses: it runs a test suite three times, as processes of its own",
    {"wall": "s", "cpu": "s", "rss": "MB", "close": "ms"},
    reference="SONDE_DISABLED=1",
    rounds=5,
)


def _working(carrier: str) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        found = call("working", carrier, load.count(TURNS))
        if carrier != "sonde":
            del found["stored"], found["stored, compressed"]  # the others write nothing
        return found

    return measure


def _demonstrating(disabled: str) -> Candidate:
    def measure(_load: Load) -> Mapping[str, float]:
        return call("demonstrating", environment={**os.environ, "SONDE_DISABLED": disabled})

    return measure


for _name, _carrier in {
    "nobody listens": "nobody",
    "sonde, recording": "sonde",
    "OpenTelemetry": "opentelemetry",
    "Logfire": "logfire",
}.items():
    AGENT.add(_name, _working(_carrier), CARRIERS[_carrier].__doc__ or "")
DEMO.add("SONDE_DISABLED=1", _demonstrating("1"), "sonde is there, and records nothing")
DEMO.add("sonde, recording", _demonstrating("0"), "record() as it comes, to disk")
