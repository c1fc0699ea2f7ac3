"""Outcome: how an operation ended, told from the exception that left it."""

from __future__ import annotations

import signal
import sys
from typing import Any, NamedTuple

MAX_ERROR_CHARS = 8_000

COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"


class Outcome(NamedTuple):
    """A status and what explains it: ``error_type`` and ``error`` of a failure, ``cancelled_by`` of a cancellation."""

    status: str
    facts: dict[str, Any]


SUCCESS = Outcome(COMPLETED, {})


class Terminated(SystemExit):
    """A signal ends the program, in order: exit status 128 + n, as a shell says it.

    >>> outcome_of(Terminated(signal.SIGTERM)).facts
    {'cancelled_by': 'SIGTERM'}
    """

    def __init__(self, number: int) -> None:
        """By signal ``number``."""
        super().__init__(128 + number)
        self.name = signal.Signals(number).name

    def __str__(self) -> str:
        return f"terminated by {self.name}"


def outcome_of(error: BaseException | None) -> Outcome:
    """What an exception says about the operation that it leaves.

    ``CancelledError``, ``GeneratorExit``, ``KeyboardInterrupt`` and :class:`Terminated` cancel; ``SystemExit`` with
    status 0 or none completes; all else fails. Never raises, whatever the exception's own methods do.

    >>> outcome_of(ValueError("no such file")).facts
    {'error_type': 'ValueError', 'error': 'no such file'}
    >>> outcome_of(KeyboardInterrupt()).facts
    {'cancelled_by': 'KeyboardInterrupt'}
    """
    if error is None:
        return SUCCESS
    if isinstance(error, Terminated):
        return Outcome(CANCELLED, {"cancelled_by": error.name})
    if isinstance(error, SystemExit):
        code = error.code
        if code is None or code == 0:
            return SUCCESS
        return failure("SystemExit", f"exit status {code}" if isinstance(code, int) else _text(code))
    if isinstance(error, GeneratorExit | KeyboardInterrupt) or _is_cancellation(error):
        return Outcome(CANCELLED, {"cancelled_by": type(error).__name__})
    return failure(_type_name(error), _text(error))


def outcome_of_exit(code: Any) -> Outcome:
    """What a process's exit code says: 0 and ``None`` complete, negative ones are signals.

    >>> outcome_of_exit(-9).facts["error"]
    'killed by SIGKILL'
    """
    if not isinstance(code, int) or code == 0:
        return SUCCESS
    if code > 0:
        return failure("exit_status", f"exit status {int(code)}")
    try:
        return failure("signal", f"killed by {signal.Signals(-code).name}")
    except ValueError:
        return failure("signal", f"killed by signal {-code}")


def outcome_of_report(error: object) -> Outcome:
    """What ``op.fail(error)`` says: always a failure; anything but an exception has the type ``failure``."""
    if isinstance(error, BaseException):
        return failure(_type_name(error), _text(error))
    return failure("failure", _text(error))


def failure(error_type: str, error: str) -> Outcome:
    """A failure, its text bounded to 8,000 characters and the true size said."""
    if len(error) > MAX_ERROR_CHARS:
        error = f"{error[:MAX_ERROR_CHARS]}… ({len(error):,} characters in all)"
    return Outcome(FAILED, {"error_type": error_type, "error": error})


def _is_cancellation(error: BaseException) -> bool:
    # asyncio is some 50 ms of import: if nobody loaded it, nobody raised its CancelledError.
    exceptions = sys.modules.get("asyncio.exceptions")
    return exceptions is not None and isinstance(error, exceptions.CancelledError)


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _text(error: object) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - the agent's own __str__
        return f"<{type(error).__name__} without a text: its str() raised {type(broken).__name__}>"
