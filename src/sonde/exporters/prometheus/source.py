"""Source: whatever has metrics to show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from sonde.metrics import Family


@runtime_checkable
class Source(Protocol):
    """Something with families of metrics: a registry, or a recorder."""

    def families(self) -> list[Family]:
        """The families, in order of precedence: of two that share a name, the first is shown."""
        ...


def sources_of(sources: Source | Iterable[Source]) -> tuple[Source, ...]:
    """The one source given, or the several."""
    return (sources,) if isinstance(sources, Source) else tuple(sources)
