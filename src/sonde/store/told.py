"""Told: versions of a stream that a repair could not save, and that a gap which it put into the stream tells of."""

from __future__ import annotations

from collections.abc import Sequence

from sonde.errors import StoreCorruptError
from sonde.events import RecordedEvent
from sonde.store.identities import Run
from sonde.store.losses import without


def told_by(gap: RecordedEvent) -> Run | None:
    """The versions that a gap tells of; ``None``: it is no repair's."""
    first, last = gap.data.get("first_version"), gap.data.get("last_version")
    if type(first) is int and type(last) is int and first <= last <= gap.version:
        return first, last
    return None


def refuse_untold(url: str, stream_id: str, missing: Sequence[Run], told: Sequence[Run]) -> None:
    """Do nothing where gaps tell of all that is missing.

    Raises:
        StoreCorruptError: with the first versions that nobody tells of.
    """
    if untold := without(missing, told):
        raise StoreCorruptError(
            f"cannot read events {untold[0][0]} to {untold[0][1]} of stream {stream_id!r} in '{url}': they are not "
            "found, though nothing removed them; check the store with sonde doctor, restore a backup"
        )
