"""FlushReport: what is safe, and what is not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FlushReport:
    """The outcome of ``flush`` or ``stop``. True in a condition if everything published before the call is committed.

    Attributes:
        complete: nothing is pending and nothing was dropped since the persister began.
        committed: events committed so far.
        pending: events that are not committed yet.
        dropped: events that the persister never got or had to give up, by reason; each is counted in a ``sonde.gap``
            event in the store as soon as that can be written.
        error: why the store does not take them, if it does not.

    >>> bool(FlushReport(committed=3, pending=0, dropped={}, error=None))
    True
    """

    committed: int
    pending: int
    dropped: dict[str, int]
    error: str | None

    @property
    def complete(self) -> bool:
        """Whether nothing is pending and nothing was dropped."""
        return self.pending == 0 and not self.dropped

    def __bool__(self) -> bool:
        return self.complete

    def __str__(self) -> str:
        parts = [f"{self.committed} events committed"]
        if self.pending:
            parts.append(f"{self.pending} not written" + (f" ({self.error})" if self.error else ""))
        parts += [f"{count} dropped ({reason})" for reason, count in self.dropped.items()]
        return ", ".join(parts)
