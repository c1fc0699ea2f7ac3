"""Parquet: events in columns, for DuckDB, Polars, pandas and Spark. Needs the extra ``sonde[parquet]``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sonde.errors import MissingExtraError
from sonde.events import RecordedEvent, encode_data, sanitize
from sonde.exporters.batch import Progress, batches
from sonde.exporters.destination import Out, open_destination
from sonde.exporters.table import COLUMNS
from sonde.redaction import Redactor

ROW_GROUP = 20_000
"""Events in a row group: what is in memory at once."""


def write(
    events: Iterable[RecordedEvent],
    out: Out,
    *,
    overwrite: bool = False,
    redactor: Redactor | None = None,
    progress: Progress | None = None,
) -> int:
    """Write events as a Parquet file with the columns of the CSV export, zstd; says how many.

    ``id`` and ``version`` are 64-bit integers, ``timestamp`` a UTC timestamp in nanoseconds, ``data`` canonical JSON,
    all else text. Streams by row groups of 20,000 events. A path is written atomically, with mode 0600 (see
    :func:`~sonde.exporters.destination.open_destination`, also for the errors).

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(f"cannot write Parquet: {error}; pip install 'sonde[parquet]'") from error
    types = {"id": pyarrow.int64(), "version": pyarrow.int64(), "timestamp": pyarrow.timestamp("ns", tz="UTC")}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in COLUMNS])
    written = 0
    with (
        open_destination(out, overwrite=overwrite) as file,
        parquet.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for batch in batches(events, ROW_GROUP, redactor=redactor, progress=progress):
            columns: list[Any] = [list(column) for column in zip(*(_row(event) for event in batch), strict=True)]
            writer.write_table(pyarrow.table(columns, schema=schema), row_group_size=ROW_GROUP)
            written += len(batch)
    return written


def _row(event: RecordedEvent) -> tuple[object, ...]:
    return (
        event.position.value,
        event.stream_id,
        str(event.type),
        event.version,
        event.session_id,
        event.plan_id,
        event.task_id,
        event.time_ns,
        event.trace_id,
        event.span_id,
        event.parent_id,
        encode_data(sanitize(event.data)).decode(),
    )
