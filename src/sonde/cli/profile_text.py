"""What a ``sonde.profile`` event says, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sonde.cli.wording import duration_text, plural

_NS_PER_S = 1_000_000_000


def profile_text(data: Mapping[str, Any]) -> str:
    """How many samples of how long a time; ``sonde profile`` has the rest. Empty for what is no profile.

    >>> profile_text({"sample_types": [["samples", "count"]], "rows": [1, 0, 120, 2, 0, 80], "duration_ns": 10**10})
    '200 samples of 10.0 s'
    """
    types, rows, duration_ns = data.get("sample_types"), data.get("rows"), data.get("duration_ns")
    if not isinstance(types, list) or not isinstance(rows, list) or not types or not isinstance(duration_ns, int):
        return ""
    counts = rows[2 :: 2 + len(types)]  # the samples are the first values of a row, behind its stack and its labels
    if not all(isinstance(count, int) for count in counts):
        return ""
    return f"{plural(sum(counts), 'sample')} of {duration_text(duration_ns / _NS_PER_S)}"
