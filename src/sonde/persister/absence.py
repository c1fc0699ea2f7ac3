"""Absence: what of a writer's events was committed, and is not in the file that is there now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sonde.events import PublishedEvent
from sonde.hub import Missed
from sonde.store import EventStore
from sonde.store.open_file import Change, FileState, Replaceable

_GAPS_KEPT = 1_000  # each by itself; of those before them their sum


class _Gap(NamedTuple):
    """A gap that was committed, by its number, and what it said; ``change``: of what became of a file, if it told."""

    seq: int
    session_id: str
    reasons: Mapping[str, int]
    change: Change | None


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
        self._gaps: list[_Gap] = []
        self._pending: tuple[FileState, Sequence[PublishedEvent], int] | None = None
        self.missing: Mapping[str, int] = {}
        """How many committed events are not in the file that is there, with the reason."""

    def committed(self, events: int) -> None:
        """So many events of the writer were committed."""
        self._committed += events

    def noted(self, gaps: Sequence[PublishedEvent], *, change: Change | None = None) -> None:
        """Gaps were committed, under the writer of gaps."""
        self._gaps += [_Gap(gap.seq, gap.session_id, gap.data["reasons"], change) for gap in gaps]
        if len(self._gaps) > 2 * _GAPS_KEPT:
            self._gaps = [*self._folded(self._gaps[:_GAPS_KEPT]), *self._gaps[_GAPS_KEPT:]]

    def _folded(self, gaps: Sequence[_Gap]) -> list[_Gap]:
        """As few as say the same of all sessions together: where the last one is, the others are, too."""
        last = gaps[-1].seq
        sums: dict[str, int] = {}
        for gap in gaps:
            if gap.change is None:
                for reason, number in gap.reasons.items():
                    sums[reason] = sums.get(reason, 0) + number
        return [*(gap for gap in gaps if gap.change is not None), _Gap(last, self._session_id, sums, None)]

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
        if self._pending is None or self._pending[0] != state:
            absent = max(0, self._committed - _number(self._store.seen(writer_id)))
            missed = self._missed(state.change, absent, self._store.seen(gap_writer_id))
            self._pending = (state, gaps_for(missed), absent)
            found(state.change, absent)
        return self._pending[1]

    def is_behind(self) -> bool:
        """Whether the store has stepped over since the last look. No call of the file system."""
        return self._store is not None and self._store.file_state(look=False) != self._state

    def told(self) -> None:
        """What :meth:`look` gave is committed."""
        if self._pending is not None:
            self._state, gaps, absent = self._pending
            self._pending = None
            change = self._state.change
            self.missing = {change.value: absent} if change is not None and absent else {}
            self.noted(gaps, change=change)

    def _missed(self, change: Change, absent: int, gaps_here: Sequence[tuple[int, int]]) -> tuple[Missed, ...]:
        """What earlier gaps said and took along, and what none of those that are here has said."""
        missed: dict[tuple[str, str], int] = {}
        for gap in self._gaps:
            is_here = any(first <= gap.seq <= last for first, last in gaps_here)
            for reason, number in gap.reasons.items():
                if gap.change is not None and reason == gap.change.value:
                    absent -= number if is_here else 0  # what one says that is gone itself is counted anew
                elif not is_here:
                    missed[gap.session_id, reason] = missed.get((gap.session_id, reason), 0) + number
        if absent > 0:
            missed[self._session_id, change.value] = absent
        return tuple(Missed(session_id, reason, number) for (session_id, reason), number in missed.items())


def _number(ranges: Sequence[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)
