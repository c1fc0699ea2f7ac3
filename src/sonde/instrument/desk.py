"""Desk: what all operations of one recorder share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sonde.clock import Clock
from sonde.context import EMPTY_SCOPE
from sonde.events import Event
from sonde.instrument.capture import ContentCapture

if TYPE_CHECKING:
    from sonde.instrument.operation import Operation


class Desk:
    """Where operations read the clock, leave their events, and are found while they are open. Thread-safe."""

    __slots__ = ("capture", "complete", "monotonic_s", "open", "publish", "root", "session_id", "time_ns")

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

    def admit(self, data: dict[str, Any]) -> dict[str, Any]:
        """``data`` without the content that is switched off."""
        return data if self.complete else self.capture.withhold(data)
