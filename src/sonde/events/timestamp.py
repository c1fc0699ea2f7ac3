"""Unix nanoseconds to RFC 3339 text and back, as Go writes it: nanoseconds, trailing zeros trimmed, ``Z`` for UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

from sonde.errors import EventDecodeError

NS_PER_S = 1_000_000_000

# Go's RFC 3339 and ``time.Time.String()``, SQL's form and what lies between: a date, a time, up to nanoseconds, an
# offset (or none: UTC), perhaps a zone name and Go's monotonic reading.
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?"
    r"\s*(?:Z|([+-])(\d\d):?(\d\d))?(?:\s+[A-Za-z]+|\s+[+-]\d\d(?:\d\d)?)?(?:\s+m=[+-]\d+(?:\.\d+)?)?",
    re.IGNORECASE | re.ASCII,
)


@lru_cache(maxsize=64)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def format_timestamp(time_ns: int) -> str:
    """Unix nanoseconds as RFC 3339 in UTC.

    >>> format_timestamp(1_770_802_200_630_343_310)
    '2026-02-11T09:30:00.63034331Z'
    """
    second, fraction = divmod(time_ns, NS_PER_S)
    if not fraction:
        return _second_text(second) + "Z"
    return f"{_second_text(second)}.{fraction:09d}".rstrip("0") + "Z"


def parse_timestamp(text: str) -> int:
    """Read a time in any form that the Go original or its drivers leave behind, as Unix nanoseconds.

    Go's zero time (year 1) becomes 0. A text without an offset is UTC.

    Raises:
        EventDecodeError: the text is no time.

    >>> parse_timestamp("2026-02-11 09:30:00.630343314 +0000 UTC m=+0.0123")
    1770802200630343314
    >>> parse_timestamp("2026-02-11T10:30:00+01:00")
    1770802200000000000
    """
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        raise EventDecodeError(
            f"cannot read timestamp {text[:80]!r}: expected RFC 3339, such as 2026-02-11T09:30:00.63Z"
        )
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    if year == 1:
        return 0
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError as error:
        raise EventDecodeError(f"cannot read timestamp {text[:80]!r}: {error}") from None
    sign, offset_hours, offset_minutes = match.group(8, 9, 10)
    offset_s = 0 if sign is None else (int(offset_hours) * 3600 + int(offset_minutes) * 60) * (-1 if sign == "-" else 1)
    whole_s = int(moment.timestamp()) + (1 if second == 60 else 0) - offset_s
    return whole_s * NS_PER_S + int((match.group(7) or "0").ljust(9, "0"))
