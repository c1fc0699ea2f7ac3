"""Output: data on stdout, all else on stderr; colours only where a person looks."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from typing import Any, NoReturn, TextIO

import click
import msgspec
from rich.console import Console

_encode = msgspec.json.Encoder().encode
_PIPE_WIDTH = 200
_LEAST_WIDTH = 30


class _DataConsole(Console):
    """Rich ends the program when the reader of a pipe goes away; ``main`` does that, for all kinds of output alike."""

    def on_broken_pipe(self) -> NoReturn:
        raise  # noqa: PLE0704  # called while the BrokenPipeError is being handled


@cache
def data_console() -> Console:
    """The terminal, for tables and trees. Plain where stdout is no terminal, or ``NO_COLOR`` is set."""
    return _DataConsole(highlight=False, width=_width(sys.stdout))


@cache
def message_console() -> Console:
    """Stderr, for progress and notes."""
    return Console(stderr=True, highlight=False, width=_width(sys.stderr))


def _width(stream: TextIO) -> int | None:
    """``COLUMNS`` if it is a number above 0, else the terminal's (``None``: Rich asks as it goes on); never too small.

    A pipe has no width; Rich would cut at 80.
    """
    stated = os.environ.get("COLUMNS", "")
    columns = int(stated) if stated.isascii() and stated.isdigit() else 0
    if not columns and not stream.isatty():
        return _PIPE_WIDTH
    if not columns and not stated and shutil.get_terminal_size().columns >= _LEAST_WIDTH:
        return None
    return max(_LEAST_WIDTH, columns or shutil.get_terminal_size().columns)


def print_json(value: Any) -> None:
    """One NDJSON line on stdout."""
    click.echo(_encode(value))


def note(text: str) -> None:
    """A line for the person, on stderr."""
    click.echo(text, err=True)
