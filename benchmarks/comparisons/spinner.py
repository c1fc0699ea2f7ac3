"""Spinner: a thread that computes in pure Python, gives up the interpreter only when it must, and counts its turns."""

from __future__ import annotations

import time
from threading import Thread
from types import TracebackType
from typing import Self


class Spinner:
    """Computes from the beginning of the block to its end."""

    def __init__(self) -> None:
        self._turns = 0
        self._stops = False
        self._thread = Thread(target=self._spin)
        self._began_s = self._ended_s = 0.0

    @property
    def rate(self) -> float:
        """Turns a second, once the block is left."""
        return self._turns / (self._ended_s - self._began_s)

    def _spin(self) -> None:
        turns = 0
        while not self._stops:
            for number in range(100):
                _ = number * number
            turns += 1
        self._turns = turns

    def __enter__(self) -> Self:
        self._began_s = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended_s = time.perf_counter()
        self._stops = True
        self._thread.join()
