"""Options that the commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def db_option(function: F) -> F:
    """``--db``: the store; without it ``SONDE_DB``, else the user's own file."""
    return click.option(
        "--db",
        metavar="FILE",
        default=None,
        help="The store. Without it $SONDE_DB, else a file of your own in your data folder.",
    )(function)


def json_option(function: F) -> F:
    """``--json``: one JSON object a line, for programs."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line (NDJSON), for programs.")(
        function
    )
