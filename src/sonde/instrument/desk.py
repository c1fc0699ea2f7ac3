"""Desk: what all operations of one recorder share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sonde.clock import Clock
from sonde.context import EMPTY_SCOPE, Place, announce_operations
from sonde.events import Event
from sonde.instrument.capture import ContentCapture

if TYPE_CHECKING:
    from sonde.instrument.operation import Operation


class Desk:
    """Where operations read the clock, leave their events, and are found while they are open. Thread-safe."""

    __slots__ = (
        "__weakref__",
        "capture",
        "complete",
        "monotonic_s",
        "open",
        "publish",
        "root",
        "session_id",
        "time_ns",
    )

    def __init__(
        self, publish: Callable[[Event], object], *, session_id: str, capture: ContentCapture, clock: Clock
    ) -> None:
        self.publish = publish
        self.root = EMPTY_SCOPE
        """The scope of what begins outside any operation."""
        self.session_id = session_id
        self.capture = capture
        self.complete = capture.complete
        self.time_ns = clock.time_ns
        self.monotonic_s = clock.monotonic_s
        self.open: dict[str, Operation] = {}
        """Span id → operation. A generator that is thrown away closes its own, so only what is never left leaks."""
        announce_operations(self)

    def places(self) -> list[Place]:
        """For profilers: where the open operations were entered, but for those of generators."""
        found = [(operation._mark, operation._mark and operation._token) for operation in list(self.open.values())]
        return [(mark, token) for mark, token in found if mark and token]

    def describe(self, span_id: str, /) -> tuple[str, object, str] | None:
        """For profilers: noun, subject and parent's span id of an open operation."""
        operation = self.open.get(span_id)
        if operation is None:
            return None
        kind = operation._kind
        return kind.noun, operation._echo.get(kind.subject, ""), operation._parent_id

    def admit(self, data: dict[str, Any]) -> dict[str, Any]:
        """``data`` without the content that is switched off."""
        return data if self.complete else self.capture.withhold(data)
