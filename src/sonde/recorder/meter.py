"""Meter: the metrics of what this process has committed."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence

from sonde.metrics import DerivedMetrics, Registry
from sonde.store import Record


class Meter:
    """Feeds the records that a persister announces into a registry of its own.

    A forked child begins with an empty registry: each process counts what it committed itself, so figures of several
    processes may be added up. :meth:`announced` is for the persister's thread; the registry may be read by any.
    """

    def __init__(self) -> None:
        self._begin()
        _METERS.add(self)

    def _begin(self) -> None:
        self.registry = Registry()
        self._derived = DerivedMetrics(self.registry)

    def announced(self, records: Sequence[Record]) -> None:
        """Take records that the store took. Their events hold the very data that is stored."""
        self._derived.add_all([record.event for record in records])

    def close(self) -> None:
        """Count the sessions no more that nothing ended: nothing will, once the recorder is closed. Idempotent.

        Not while records may still be announced.
        """
        for session in self._derived.open_sessions:
            self._derived.close_session(session)


_METERS: weakref.WeakSet[Meter] = weakref.WeakSet()


def _begin_anew() -> None:
    for meter in list(_METERS):
        meter._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
