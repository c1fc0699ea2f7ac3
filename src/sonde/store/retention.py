"""Retention: how long events are kept, as a value; and the report of what was removed for it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from sonde.errors import ConfigError

RETENTION_STREAM = "sonde.retention"
"""The stream that says what was removed: one event for each time, the newest 1,000 of them."""

LEAST_BYTES = 100_000
"""The least ``max_bytes``: a file without events takes some 78,000, and a little more than the limit goes."""

Reason = Literal["session", "age", "count", "bytes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long a store keeps events. What is not given sets no limit; whole sessions go, the oldest first.

    Attributes:
        max_age_s: sessions whose last event is older than so many seconds go. Times are the events' own.
        max_bytes: the file is kept at about this size; its log, 4 to 16 MiB, comes on top. Of the oldest session only
            as much goes as must. Where that is not enough, sessions that still run lose their beginnings.
        max_sessions: no more sessions than this.
        keep: sessions (the names of their streams) that always stay.

    What still runs loses nothing to age and number: a session whose process lives and has not ended it. Immutable.

    Raises:
        ConfigError: a limit that is no number, or less than 1; ``max_bytes`` below 100,000, which a file without
            events nearly takes.

    >>> Retention(max_age_s=30 * 86_400, max_bytes=2_000_000_000, keep=["golden"]).keep
    ('golden',)
    """

    max_age_s: float | None = None
    max_bytes: int | None = None
    max_sessions: int | None = None
    keep: Iterable[str] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be meant: a limit of nothing would remove all."""
        if isinstance(self.keep, str):
            raise ConfigError(f"cannot keep sessions {self.keep!r}: expected several names; write keep=[{self.keep!r}]")
        object.__setattr__(self, "keep", tuple(map(str, self.keep)))
        for name, kinds in (("max_age_s", (int, float)), ("max_bytes", (int,)), ("max_sessions", (int,))):
            limit = getattr(self, name)
            if limit is not None and (type(limit) not in kinds or not 1 <= limit < math.inf):
                expected = "seconds" if name == "max_age_s" else "a whole number"
                raise ConfigError(
                    f"cannot keep events with {name}={limit!r}: expected {expected}, 1 or more; None sets no limit"
                )

        if self.max_bytes is not None and self.max_bytes < LEAST_BYTES:
            raise ConfigError(
                f"cannot keep events with max_bytes={self.max_bytes:,}: all of them would go; expected {LEAST_BYTES:,} "
                "or more, since a file without events takes some 78,000"
            )

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing would ever go."""
        return self.max_age_s is None and self.max_bytes is None and self.max_sessions is None


@dataclass(frozen=True, slots=True)
class Removal:
    """What went, or would go, of one session.

    Attributes:
        stream_id: the session's stream.
        from_version: its first event that went,
        to_version: and its last.
        is_whole: whether nothing is left of it.
        reason: ``session`` (asked for by name), ``age``, ``count`` or ``bytes``: the limit that it went for.
        size_bytes: what its events took in the file, estimated; 0 where nobody asked.
    """

    stream_id: str
    from_version: int
    to_version: int
    is_whole: bool
    reason: Reason
    size_bytes: int = 0

    @property
    def events(self) -> int:
        """How many events."""
        return self.to_version - self.from_version + 1


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What a prune removed, or would remove.

    Attributes:
        removals: by session, in the order in which they went.
        running: sessions that would have gone for their age or their number, were they not still running.
        bytes_before: what the events took in the file, free space not counted,
        bytes_after: and what they take now. Estimated where nothing was done.
        is_complete: false if it was stopped, or others are at it right now; the next time does the rest.
        is_over: whether the file is still larger than was asked for, with nothing left to remove.
    """

    removals: list[Removal] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    bytes_before: int = 0
    bytes_after: int = 0
    is_complete: bool = True
    is_over: bool = False

    @property
    def events(self) -> int:
        """How many events, of all sessions."""
        return sum(removal.events for removal in self.removals)

    @property
    def sessions(self) -> int:
        """How many sessions went entirely."""
        return sum(removal.is_whole for removal in self.removals)


def merged(removals: Iterable[Removal]) -> list[Removal]:
    """Removals with those of one session put together; the first one's reason counts."""
    found: dict[str, Removal] = {}
    for removal in removals:
        known = found.get(removal.stream_id)
        found[removal.stream_id] = (
            removal
            if known is None
            else Removal(
                removal.stream_id,
                known.from_version,
                removal.to_version,
                removal.is_whole,
                known.reason,
                known.size_bytes + removal.size_bytes,
            )
        )
    return list(found.values())
