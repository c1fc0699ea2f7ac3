"""Progress: a bar on stderr for long work, only where a person looks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from sonde.cli.output import message_console

if TYPE_CHECKING:
    from rich.progress import Progress

_PATIENCE_S = 0.4


class Advance(Protocol):
    """Moves the bar: ``done`` of ``total``, both in whatever unit the work has."""

    def __call__(self, done: float, total: float | None = None, /) -> None:
        """Say how far the work is."""
        ...


@contextmanager
def progress(label: str, total: float | None = None) -> Iterator[Advance]:
    """Show a bar while the block runs, if it runs for a while; it leaves nothing behind.

    Without a terminal on stderr it costs nothing.
    """
    if not message_console().is_terminal:
        yield _nothing
        return
    bar = _Bar(label, total)
    try:
        yield bar
    finally:
        bar.stop()


class _Bar:
    """A bar that appears once the work has taken some time: one that flashes up is only noise."""

    def __init__(self, label: str, total: float | None) -> None:
        self._label = label
        self._total = total
        self._due_s = time.monotonic() + _PATIENCE_S
        self._bar: Progress | None = None

    def __call__(self, done: float, total: float | None = None, /) -> None:
        if total is not None:
            self._total = total
        if self._bar is None:
            if time.monotonic() < self._due_s:
                return
            self._bar = self._started()
        self._bar.update(self._bar.task_ids[0], completed=done, total=self._total)

    def _started(self) -> Progress:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
        )
        bar = Progress(*columns, console=message_console(), transient=True)
        bar.add_task(self._label, total=self._total)
        bar.start()
        return bar

    def stop(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.stop()


def _nothing(done: float, total: float | None = None, /) -> None:
    """No terminal, no bar."""
