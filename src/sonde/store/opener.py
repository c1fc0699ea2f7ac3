"""Opener: the one way from a path or URL to a store."""

from __future__ import annotations

import os
import re

from sonde.errors import ConfigError
from sonde.store.contract import Durability, EventStore
from sonde.store.location import Mode
from sonde.store.sqlite import SQLiteStore

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)


def open(
    url_or_path: str | os.PathLike[str],
    *,
    mode: Mode = "create",
    busy_timeout_s: float = 5.0,
    durability: Durability | str = Durability.COMMIT,
) -> EventStore:
    """Open the store at a path, ``sqlite:///path`` or ``":memory:"``.

    ``mode``: ``"create"`` reads and writes and makes what is missing, folders included; ``"rw"`` reads and writes what
    must exist; ``"ro"`` never writes. A file that the Go original wrote is opened for reading only, whatever the mode.
    ``durability``: ``"commit"`` survives the death of the process, ``"power"`` also a power cut, and waits for the disk
    at each commit.

    Raises:
        ConfigError: a URL scheme, mode or durability that sonde doesn't know.
        StoreError: whatever kind of it fits; see :mod:`sonde.errors`.

    >>> with open(":memory:") as store:
    ...     store.streams()
    []
    """
    path = os.fspath(url_or_path)
    match = _SCHEME.fullmatch(path)
    if match is not None:
        if match[1].lower() != "sqlite":
            raise ConfigError(
                f"cannot open event store '{match[1]}://…': unknown scheme; expected a path, sqlite:///path or "
                "':memory:'"
            )
        path = match[2].removeprefix("/") if match[2] == "/:memory:" else match[2]
    return SQLiteStore(path, mode=mode, busy_timeout_s=busy_timeout_s, durability=durability)
