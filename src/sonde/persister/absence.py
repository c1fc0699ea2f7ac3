"""Absence: what of a writer's events was committed, and is not in the file that is there now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sonde.events import PublishedEvent
from sonde.hub import Missed
from sonde.store import EventStore
from sonde.store.open_file import Change, FileState, Replaceable

_LOSSES_KEPT = 1_000  # each by itself; of those before them their sums


class _Loss(NamedTuple):
    """Events that were not written, and the gaps that say so: one, or one more in each file since."""

    said_by: frozenset[int]
    session_id: str
    reason: str
    number: int


class _Departure(NamedTuple):
    """What a gap said of events that went with a file."""

    said_by: int
    change: Change
    number: int


class Absence:
    """Counts, for one writer, and finds out what is missing whenever the store has stepped over to another file.

    By arithmetic: the file that is there now has some of this writer's events (it may be a backup), and says which; all
    others that were committed are in a file that is gone. No list of them is kept. For one thread at a time.
    """

    def __init__(self, store: EventStore, *, session_id: str) -> None:
        """Now, before anything is committed. ``session_id``: whose gap it is."""
        self._store = store if isinstance(store, Replaceable) else None
        self._session_id = session_id
        self._state = FileState(0, None)  # the first look tells
        self._committed = 0
        self._losses: list[_Loss] = []
        self._departures: list[_Departure] = []
        self._pending: _Pending | None = None
        self.missing: Mapping[str, int] = {}
        """How many committed events are not in the file that is there, with the reason."""

    def committed(self, events: int) -> None:
        """So many events of the writer were committed."""
        self._committed += events

    def noted(self, gaps: Sequence[PublishedEvent]) -> None:
        """Gaps were committed, under the writer of gaps."""
        for gap in gaps:
            said_by = frozenset((gap.seq,))
            self._losses += [_Loss(said_by, gap.session_id, *loss) for loss in gap.data["reasons"].items()]
        if len(self._losses) > 2 * _LOSSES_KEPT:
            self._losses = [*self._folded(self._losses[:_LOSSES_KEPT]), *self._losses[_LOSSES_KEPT:]]

    def _folded(self, losses: Sequence[_Loss]) -> list[_Loss]:
        """One for each reason. It is taken to be said where the last one is: never too little is said again."""
        sums: dict[str, int] = {}
        for loss in losses:
            sums[loss.reason] = sums.get(loss.reason, 0) + loss.number
        return [_Loss(losses[-1].said_by, self._session_id, reason, number) for reason, number in sums.items()]

    def look(
        self,
        writer_id: str,
        gap_writer_id: str,
        *,
        gaps_for: Callable[[Sequence[Missed]], Sequence[PublishedEvent]],
        found: Callable[[Change, int], object],
    ) -> Sequence[PublishedEvent] | None:
        """The gaps that are to be committed now, perhaps none; ``None`` if the file is the one of the last look.

        Call :meth:`told` once they are. Until then they are the same, so that they are there once however often it is
        tried. ``found`` is told once of each change, with the number of events that are not there. A ``stat`` or two.

        Raises:
            StoreError: what is at the path cannot be used.
        """
        if self._store is None:
            return None
        state = self._store.file_state()
        if not self._state.number:
            self._state = state
        if state == self._state or state.change is None:
            return None
        if self._pending is None or self._pending.state != state:
            absent = max(0, self._committed - _number(self._store.seen(writer_id)))
            unsaid, missed = self._missed(state.change, absent, self._store.seen(gap_writer_id))
            self._pending = _Pending(state, gaps_for(missed), absent, unsaid)
            found(state.change, absent)
        return self._pending.gaps

    def is_behind(self) -> bool:
        """Whether the store has stepped over since the last look. No call of the file system."""
        return self._store is not None and self._store.file_state(look=False) != self._state

    def told(self) -> None:
        """What :meth:`look` gave is committed."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        self._state = pending.state
        change, absent = pending.state.change, pending.absent
        self.missing = {change.value: absent} if change is not None and absent else {}
        said = {gap.session_id: frozenset((gap.seq,)) for gap in pending.gaps}
        self._losses = [
            loss._replace(said_by=loss.said_by | said[loss.session_id]) if loss in pending.unsaid else loss
            for loss in self._losses
        ]
        for gap in pending.gaps:
            if change is not None and (number := gap.data["reasons"].get(change.value)):
                self._departures.append(_Departure(gap.seq, change, number))

    def _missed(
        self, change: Change, absent: int, gaps_here: Sequence[tuple[int, int]]
    ) -> tuple[frozenset[_Loss], tuple[Missed, ...]]:
        """The losses that no gap of the file tells of, and what is to be said: those, and events that aren't there."""

        def is_here(seq: int) -> bool:
            return any(first <= seq <= last for first, last in gaps_here)

        unsaid = frozenset(loss for loss in self._losses if not any(map(is_here, loss.said_by)))
        missed: dict[tuple[str, str], int] = {}
        for loss in unsaid:
            missed[loss.session_id, loss.reason] = missed.get((loss.session_id, loss.reason), 0) + loss.number
        # What one says that is gone itself is counted anew.
        absent -= sum(departure.number for departure in self._departures if is_here(departure.said_by))
        if absent > 0:
            missed[self._session_id, change.value] = absent
        return unsaid, tuple(Missed(session_id, reason, number) for (session_id, reason), number in missed.items())


class _Pending(NamedTuple):
    """What is to be committed for a step to another file."""

    state: FileState
    gaps: Sequence[PublishedEvent]
    absent: int
    unsaid: frozenset[_Loss]


def _number(ranges: Sequence[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)
