"""DisabledOperations: the same surface, and nothing is recorded."""

from __future__ import annotations

from typing import Any

from sonde.instrument.disabled_operation import DISABLED_OPERATION
from sonde.instrument.operation import Operation
from sonde.instrument.operations import Operations


class DisabledOperations(Operations):
    """What ``SONDE_DISABLED=1`` puts in place of :class:`Operations`: bare decorators give the function back unchanged.

    >>> rec = DisabledOperations()
    >>> with rec.tool("read_file", path="a.py") as op:
    ...     op.set(result="…")
    >>> @rec.tool
    ... def add(a, b):
    ...     return a + b
    >>> add.__name__
    'add'
    """

    def __init__(self) -> None:
        """Nothing to hand in, nothing to wire."""

    def current(self) -> Operation:
        """The handle that records nothing."""
        return DISABLED_OPERATION

    def adopt(self, operation: Operation, /) -> None:
        """Nothing."""

    def _answer(self, subject: Any = None, /, **data: Any) -> Any:
        """The function that a bare decorator was given, else the handle that records nothing."""
        if type(subject) is not str and (callable(subject) or issubclass(type(subject), staticmethod | classmethod)):
            return subject
        return DISABLED_OPERATION

    session = plan = task = tool = model = shell = _answer
