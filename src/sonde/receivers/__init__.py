"""Receivers: events of others come into a store."""

from sonde.receivers.intake import ImportReport
from sonde.receivers.jsonl import import_jsonl
from sonde.receivers.original import import_original
from sonde.receivers.store import import_store

__all__ = ["ImportReport", "import_jsonl", "import_original", "import_store"]
