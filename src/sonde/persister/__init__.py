"""The persister: from the hub into a store, losing nothing silently."""

from sonde.persister.announcement import OnCommit
from sonde.persister.fence import Fence, Keeper
from sonde.persister.persister import (
    DEFAULT_PERSIST_BATCH_SIZE,
    DEFAULT_PERSIST_FLUSH_INTERVAL_S,
    DEFAULT_STREAM,
    Persister,
)
from sonde.persister.preparation import Complete, Preparation
from sonde.persister.report import FlushReport

__all__ = [
    "DEFAULT_PERSIST_BATCH_SIZE",
    "DEFAULT_PERSIST_FLUSH_INTERVAL_S",
    "DEFAULT_STREAM",
    "Complete",
    "Fence",
    "FlushReport",
    "Keeper",
    "OnCommit",
    "Persister",
    "Preparation",
]
