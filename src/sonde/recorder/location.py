"""Where a run is recorded when nobody says: environment first, then a per-user file."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.context import Scope

DB_VARIABLE = "SONDE_DB"
SESSION_VARIABLE = "SONDE_SESSION"
DISABLED_VARIABLE = "SONDE_DISABLED"
PROFILE_VARIABLE = "SONDE_PROFILE"
TRACEPARENT_VARIABLE = "TRACEPARENT"

_NO = ("", "0", "false", "no", "off")

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


def default_db() -> str:
    """The store of the CLI and of ``sonde.record()``: ``SONDE_DB``, else ``runs.db`` in the user's data folder."""
    named = os.environ.get(DB_VARIABLE)
    if named:
        return named
    import platformdirs  # on first use: most programs name their file

    return os.path.join(platformdirs.user_data_dir("sonde", appauthor=False), "runs.db")


def default_session_id(clock: Clock = SYSTEM_CLOCK) -> str:
    """``SONDE_SESSION`` (``sonde run`` sets it), else a new name that sorts by time: ``run-20261122-143005-1f3a9c``."""
    named = os.environ.get(SESSION_VARIABLE)
    if named:
        return named
    now = datetime.fromtimestamp(clock.time_ns() // 1_000_000_000, UTC)
    return f"run-{now:%Y%m%d-%H%M%S}-{os.urandom(3).hex()}"


def is_disabled() -> bool:
    """Whether ``SONDE_DISABLED`` turns recording off: set, and neither ``0``, ``false``, ``no`` nor ``off``."""
    return os.environ.get(DISABLED_VARIABLE, "").strip().lower() not in _NO


def is_profiled() -> bool:
    """Whether ``SONDE_PROFILE`` asks for a profile: set, and not to one of those words."""
    return os.environ.get(PROFILE_VARIABLE, "").strip().lower() not in _NO


def inherited_scope() -> Scope:
    """The operation of another process that started this one, from ``TRACEPARENT``; the empty scope without one.

    Source: W3C Trace Context, ``version-traceid-parentid-flags``; all-zero ids and version ``ff`` are invalid.
    """
    match = _TRACEPARENT.fullmatch(os.environ.get(TRACEPARENT_VARIABLE, "").strip().lower())
    if match is None or match[0].startswith("ff") or not match[1].strip("0") or not match[2].strip("0"):
        return Scope()
    return Scope(trace_id=match[1], span_id=match[2])


def traceparent(trace_id: str, span_id: str) -> str:
    """What :func:`inherited_scope` reads in a child process.

    >>> traceparent("a" * 32, "b" * 16)
    '00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01'
    """
    return f"00-{trace_id}-{span_id}-01"
