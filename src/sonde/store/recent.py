"""Recent: what was used last, within a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by a number or the like, those used last, of so many bytes in all. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self.size_bytes = 0

    def get(self, number: Hashable) -> Value | None:
        """The value, if it is still there."""
        with self._lock:
            found = self._values.get(number)
            if found is None:
                return None
            self._values.move_to_end(number)
            return found[0]

    def put(self, number: Hashable, value: Value, size_bytes: int) -> None:
        """Keep it, unless it is there; let go of what was not used for longest. The last one always stays."""
        with self._lock:
            if number not in self._values:
                self._values[number] = value, size_bytes
                self.size_bytes += size_bytes
            while self.size_bytes > self._max_bytes and len(self._values) > 1:
                _, (_, gone) = self._values.popitem(last=False)
                self.size_bytes -= gone
