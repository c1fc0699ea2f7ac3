"""File: made so that no interrupt leaves it open, and removed without ado."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from io import FileIO

# ``files.extend(map(new_file, (path,)))`` makes and keeps it in one call into C. Between two steps of Python a signal's
# exception loses the number of an open file for good; an object closes it when it goes.
new_file: Callable[[str], FileIO] = partial(FileIO, mode="x+", opener=partial(os.open, mode=0o600))
"""Make a file that only its owner may read, and that is not there yet."""


def open_carefully(path: str, mode: int) -> int:
    """Open a file where anybody may make files, a pipe, say, of that name: waits for nothing, and follows no link.

    Raises:
        OSError: as ``os.open``.
    """
    return os.open(path, mode | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def remove_file(path: str) -> None:
    """Remove a file, which may be gone with its folder."""
    try:
        os.unlink(path)
    except OSError:
        return
