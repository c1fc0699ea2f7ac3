"""Faults of sonde's own: logged once each, never raised into the agent."""

from __future__ import annotations

import logging

_log = logging.getLogger("sonde")
_seen: set[str] = set()


def report_fault(step: str) -> None:
    """Log the exception being handled, the first time that ``step`` fails in this process.

    To be called in an ``except`` block. A fault repeats with each operation, so it is said once, not a thousand times a
    second.
    """
    if step not in _seen:
        _seen.add(step)
        try:
            _log.exception("sonde could not %s; the program goes on, that detail is not recorded (said once)", step)
        except Exception:  # noqa: BLE001 - the agent's own log handler: then even this cannot be said
            _seen.discard(step)


def warn_once(subject: str, message: str) -> None:
    """Log a warning about how the agent uses sonde, the first time for ``subject``."""
    if subject not in _seen:
        _seen.add(subject)
        _log.warning(message)
