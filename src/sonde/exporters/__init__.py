"""Exporters: events out into files that other tools read, and metrics (:mod:`sonde.exporters.prometheus`).

Each format of events is a module with one function: ``write(events, out, *, overwrite, redactor, progress) -> int``.
Like every door, they redact: with :class:`~sonde.redaction.SecretRedactor`, unless another redactor is given, such as
:class:`~sonde.redaction.NoRedactor`.
"""

from collections.abc import Callable

from sonde.exporters import jsonl, parquet, table

FORMATS: dict[str, Callable[..., int]] = {"jsonl": jsonl.write, "csv": table.write, "parquet": parquet.write}
"""Name of a format, which is also its usual suffix, to its ``write``."""

__all__ = ["FORMATS", "jsonl", "parquet", "table"]
