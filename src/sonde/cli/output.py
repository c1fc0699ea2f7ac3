"""Output: data on stdout, all else on stderr; colours only where a person looks."""

from __future__ import annotations

from functools import cache
from typing import Any

import click
import msgspec
from rich.console import Console

_encode = msgspec.json.Encoder().encode


@cache
def data_console() -> Console:
    """The terminal, for tables and trees. Plain where stdout is no terminal, or ``NO_COLOR`` is set."""
    return Console(highlight=False)


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
