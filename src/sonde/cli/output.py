"""Output: data on stdout, all else on stderr; colours only where a person looks."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any, NoReturn

import click
import msgspec
from rich.console import Console

_encode = msgspec.json.Encoder().encode
_PIPE_WIDTH = 200


class _DataConsole(Console):
    """Rich ends the program when the reader of a pipe goes away; ``main`` does that, for all kinds of output alike."""

    def on_broken_pipe(self) -> NoReturn:
        raise  # noqa: PLE0704  # called while the BrokenPipeError is being handled


@cache
def data_console() -> Console:
    """The terminal, for tables and trees. Plain where stdout is no terminal, or ``NO_COLOR`` is set."""
    # A pipe has no width; Rich would cut at 80.
    is_open_ended = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return _DataConsole(highlight=False, width=_PIPE_WIDTH if is_open_ended else None)


@cache
def message_console() -> Console:
    """Stderr, for progress and notes."""
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One NDJSON line on stdout."""
    click.echo(_encode(value))


def note(text: str) -> None:
    """A line for the person, on stderr."""
    click.echo(text, err=True)
