"""Original: a database that the Go original wrote, or any other event store, copied into a store of sonde's."""

from __future__ import annotations

import os

from sonde.receivers.intake import ImportReport, Intake, Progress
from sonde.redaction import Redactor
from sonde.store import open as open_store
from sonde.store.contract import EventStore


def import_original(
    store: EventStore,
    path: str | os.PathLike[str],
    *,
    stream_id: str | None = None,
    redactor: Redactor | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Copy all events of the database at ``path`` into ``store``, in their order; the file itself is only read.

    Streams keep their names unless ``stream_id`` puts everything into one. Versions and positions are given anew. What
    the store has from an earlier import is not added again, be it from this file or from the JSON lines of the same
    events (see :mod:`sonde.receivers.intake`). Secrets are taken out by a ``SecretRedactor`` unless another redactor is
    given. Streams: what is in memory is a batch, and 100 bytes for each distinct event. Blocks.

    Raises:
        StoreError: the file is no event store, is damaged, or the store does not take a batch.
    """
    intake = Intake(store, redactor=redactor, progress=progress)
    source = open_store(path, mode="ro")
    try:
        for event in source.read_all():
            intake.add(event.stream_id if stream_id is None else stream_id, event)
        return intake.report()
    finally:
        source.close()
