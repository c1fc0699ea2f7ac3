"""Wording: numbers, times and recorded text as a person reads them."""

from __future__ import annotations

from datetime import datetime

_NS_PER_S = 1_000_000_000
# Below a limit in seconds: the factor, the digits behind the point, the unit.
_SHORT = (
    (0.0009995, 1e6, 0, "µs"),
    (0.00995, 1e3, 2, "ms"),
    (0.9995, 1e3, 0, "ms"),
    (9.995, 1, 2, "s"),
    (59.95, 1, 1, "s"),
)


NO_TIME = "–"
"""For a time of 0: an event without one."""


def printable(text: str) -> str:
    r"""Recorded text as one safe line: what an agent read from a web page must not steer the terminal.

    Line ends become ``⏎``; all else that isn't printable (escape sequences, bidirectional overrides) is shown escaped.

    >>> printable("red \x1b[31m\nline")
    'red \\x1b[31m⏎line'
    """
    if text.isprintable():
        return text
    text = text.replace("\r\n", "⏎").replace("\n", "⏎").replace("\t", " ")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shortened(text: str, limit: int) -> str:
    """The text as one safe line of at most ``limit`` characters, its end cut.

    >>> shortened("abcdefgh", 5)
    'abcd…'
    """
    text = printable(text[: limit + 1])
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"


def type_text(kind: str, limit: int) -> str:
    """The type of an event; one that is empty is still to be seen.

    >>> type_text("tool.started", 60), type_text("", 60)
    ('tool.started', '(no type)')
    """
    return shortened(kind, limit) or "(no type)"


def middle_cut(text: str, limit: int) -> str:
    """The same with its middle cut: of made-up names the end tells them apart.

    >>> middle_cut("run-20261122-143005-1f3a9c", 15)
    'run-202…-1f3a9c'
    """
    text = printable(text)
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}" if tail else text[:limit]


def duration_text(seconds: float) -> str:
    """A duration with three digits or two units.

    >>> [duration_text(s) for s in (4e-6, 0.00142, 0.0123, 1.239, 42.7, 125, 3725, 100_000)]
    ['4 µs', '1.42 ms', '12 ms', '1.24 s', '42.7 s', '2 m 05 s', '1 h 02 m', '1 d 03 h']
    """
    if seconds < 0:
        return f"-{duration_text(-seconds)}"
    for limit_s, factor, digits, unit in _SHORT:
        if seconds < limit_s:
            return f"{seconds * factor:.{digits}f} {unit}"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} m"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def amount_text(number: float) -> str:
    """A count in few characters, as of tokens.

    >>> [amount_text(n) for n in (0, 999, 1234, 88_268, 1_250_000)]
    ['0', '999', '1.2k', '88k', '1.2M']
    """
    for limit, unit in ((1e3, ""), (1e6, "k"), (1e9, "M")):
        if number < limit * 0.9995:
            value = number / (limit / 1e3)
            return f"{value:.0f}{unit}" if not unit or value >= 9.95 else f"{value:.1f}{unit}"
    return f"{number / 1e9:.1f}G"


def bytes_text(size_bytes: int) -> str:
    """A size in bytes, KiB, MiB, ….

    >>> bytes_text(532), bytes_text(5 * 1024**2)
    ('532 bytes', '5.0 MiB')
    """
    if size_bytes < 1024:
        return plural(size_bytes, "byte")
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def plural(number: int, noun: str) -> str:
    """A number with its noun.

    >>> plural(1, "event"), plural(1200, "event"), plural(2, "model call"), plural(3, "process")
    ('1 event', '1,200 events', '2 model calls', '3 processes')
    """
    if number == 1:
        return f"1 {noun}"
    nouns = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {nouns}"


def missed_text(missed: int, bound: str) -> str:
    """How many events never reached the store, and how sure that is.

    >>> missed_text(1200, "at most"), missed_text(1, "")
    ('at most 1,200 events', '1 event')
    """
    return f"{bound} {plural(missed, 'event')}".lstrip()


def dollars(usd: float) -> str:
    """An amount of money: cents, or more digits where it is little.

    >>> dollars(0), dollars(0.000123), dollars(0.123), dollars(1234.5)
    ('$0.00', '$0.0001', '$0.12', '$1,234.50')
    """
    if 0 < usd < 0.00005:
        return "<$0.0001"
    return f"${usd:,.4f}" if 0 < usd < 0.01 else f"${usd:,.2f}"


def local(time_ns: int) -> datetime:
    """A time in this machine's zone; one that the calendar doesn't hold becomes its nearest end."""
    try:
        return (
            datetime.fromtimestamp(time_ns // _NS_PER_S).astimezone().replace(microsecond=time_ns % _NS_PER_S // 1000)
        )
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0).astimezone()


def clock_text(time_ns: int) -> str:
    """Hour to millisecond, local; of a time that is not known (0) a dash as wide.

    >>> clock_text(0)
    '–           '
    """
    return f"{NO_TIME:<12}" if not time_ns else f"{local(time_ns):%H:%M:%S.%f}"[:-3]


def moment_text(time_ns: int, now_ns: int) -> str:
    """When something was, as short as it is clear: just now, 5 min ago, 14:30, Nov 21 14:30, 2025-11-21.

    >>> moment_text(10**18, 10**18 + 125 * 10**9)
    '2 min ago'
    """
    if not time_ns:
        return NO_TIME
    age_s = (now_ns - time_ns) / _NS_PER_S
    if 0 <= age_s < 3600:
        if age_s < 5:
            return "just now"
        return f"{age_s:.0f} s ago" if age_s < 60 else f"{age_s // 60:.0f} min ago"
    then, now = local(time_ns), local(now_ns)
    if then.date() == now.date():
        return f"{then:%H:%M}"
    if then.year == now.year:
        return f"{then:%b} {then.day:>2} {then:%H:%M}"
    return f"{then:%Y-%m-%d}"
