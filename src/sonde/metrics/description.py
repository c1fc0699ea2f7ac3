"""Description: what a metric's name stands for, in words for people and in its unit."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, NamedTuple

from sonde.errors import ConfigError
from sonde.metrics.labels import valid_name
from sonde.metrics.names import (
    ACTIVE_SESSIONS,
    MEMORY_USAGE_BYTES,
    MODEL_LATENCY_SECONDS,
    MODEL_REQUESTS_TOTAL,
    STORAGE_ERRORS_TOTAL,
    STORAGE_OPERATIONS_TOTAL,
    TOOL_CALLS_TOTAL,
    TOOL_DURATION_SECONDS,
)

_UNIT = re.compile(r"[a-zA-Z0-9_:]*")


class Description(NamedTuple):
    """What all series of a name measure.

    Attributes:
        help: a sentence for people; any text.
        unit: as OpenMetrics has it, ``seconds`` or ``bytes``; empty for plain numbers.
    """

    help: str
    unit: str = ""


PREDEFINED = MappingProxyType(
    {
        TOOL_CALLS_TOTAL: Description("Calls of tools."),
        TOOL_DURATION_SECONDS: Description("How long calls of tools took.", "seconds"),
        MODEL_REQUESTS_TOTAL: Description("Requests to models."),
        MODEL_LATENCY_SECONDS: Description("How long models took to answer.", "seconds"),
        STORAGE_OPERATIONS_TOTAL: Description("Operations of storages."),
        STORAGE_ERRORS_TOTAL: Description("Operations of storages that failed."),
        ACTIVE_SESSIONS: Description("Sessions that are active now."),
        MEMORY_USAGE_BYTES: Description("Memory of the process: what it holds, and the most that it held.", "bytes"),
    }
)
"""What every registry knows without being told."""


def valid_description(name: Any, help: Any, unit: Any) -> Description:
    """The description, if a metric of that name may have it; :class:`~sonde.errors.ConfigError` otherwise."""
    valid_name(name)
    if not isinstance(help, str):
        raise ConfigError(f"cannot describe metric {name!r} as {help!r}: a sentence is expected; use str()")
    if not isinstance(unit, str) or not _UNIT.fullmatch(unit):
        raise ConfigError(
            f"cannot give metric {name!r} the unit {unit!r}: letters, digits, '_' and ':' are allowed; "
            "write it out, as in 'seconds' or 'bytes'"
        )
    # OpenMetrics' rule, whose parsers refuse the whole page otherwise.
    if unit and not name.removesuffix("_total").endswith(f"_{unit}"):
        raise ConfigError(
            f"cannot give metric {name!r} the unit {unit!r}: the name must end in '_{unit}', or '_{unit}_total' "
            "if it is a counter; rename the metric or leave the unit out"
        )
    return Description(help.encode("utf-8", "backslashreplace").decode(), unit)
