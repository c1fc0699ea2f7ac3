"""Catalogue: which comparisons there are, in the order of the report, and the module of each."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from benchmarks.bench import REGISTRY, Bench

MODULES: Mapping[str, str] = {
    "emit": "emitting",
    "emit, 4 kB": "emitting",
    "threads": "emitting",
    "delivery": "delivery",
    "asyncio": "delivery",
    "pieces of delivery": "pieces",
    "durable": "durable",
    "beside a busy thread": "busy",
    "latency": "latency",
    "8 threads, paced": "latency",
    "8 threads, flat out": "latency",
    "operations": "operations",
    "counter by name": "metering",
    "counter": "metering",
    "histogram": "metering",
    "size": "stored",
    "reading": "stored",
    "follow": "following",
    "import": "importing",
    "memory": "memory",
    "growth": "growth",
    "demo": "agents",
    "agent": "agents",
}


def load_bench(name: str) -> Bench:
    """The comparison of that name; only now are its peers imported."""
    importlib.import_module(f"benchmarks.comparisons.{MODULES[name]}")
    return REGISTRY[name]
