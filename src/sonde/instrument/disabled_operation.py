"""DisabledOperation: a handle that records nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sonde.context import EMPTY_SCOPE
from sonde.instrument.operation import Operation

F = TypeVar("F", bound=Callable[..., Any])


class DisabledOperation(Operation):
    """The handle that records nothing: everything is accepted, functions are given back as they are."""

    __slots__ = ()

    def __init__(self) -> None:
        self._scope = EMPTY_SCOPE

    def set(self, /, **data: Any) -> None:
        """Nothing."""

    def fail(self, error: BaseException | str, /) -> None:
        """Nothing."""

    def first_token(self) -> None:
        """Nothing."""

    def __call__(self, function: F, /) -> F:
        """The function, unchanged."""
        return function

    def __enter__(self) -> Operation:
        return self

    def __exit__(self, *error: object) -> None:
        pass


DISABLED_OPERATION = DisabledOperation()
