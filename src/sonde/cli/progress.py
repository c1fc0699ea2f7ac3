"""Progress: a bar on stderr for long work, only where a person looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from sonde.cli.output import message_console


class Advance(Protocol):
    """Moves the bar: ``done`` of ``total``, both in whatever unit the work has."""

    def __call__(self, done: float, total: float | None = None) -> None:
        """Say how far the work is."""
        ...


@contextmanager
def progress(label: str, total: float | None = None) -> Iterator[Advance]:
    """Show a bar while the block runs; it leaves nothing behind. Without a terminal on stderr it costs nothing."""
    console = message_console()
    if not console.is_terminal:
        yield _nothing
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)

        def advance(done: float, total: float | None = None) -> None:
            if total is None:
                bar.update(task, completed=done)
            else:
                bar.update(task, completed=done, total=total)

        yield advance


def _nothing(done: float, total: float | None = None) -> None:
    """No terminal, no bar."""
