"""Journal: amounts appended by anyone, folded into one immutable state. No lock, exact, bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

State = TypeVar("State")

CHUNK = 512
"""Amounts that are folded at once: enough to share the fold's cost, few enough to copy in some microseconds."""

_HEAD_AND_CHUNK = slice(0, CHUNK + 1)


class _Head(Generic[State]):
    """The state, and the right to replace it, which the first to take it has."""

    __slots__ = ("right", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.right = [_HEAD_AND_CHUNK]


class Journal(Generic[State]):
    """A list whose first item is a state that nobody changes, and the others are amounts not yet folded into it.

    An update is one ``append``. Readers copy the list in one step and fold the copy, so they see each amount once.
    Whoever finds the list long folds its first ``CHUNK`` amounts and replaces them, together with the state, in one
    step. Several may do so at a time, threads or a signal handler above the code that it interrupted: they all compute
    the same, the first one's result stays, and the others' is thrown away. A lock instead would deadlock in a signal
    handler and in forked children, and would make the others' amounts pile up while its holder sleeps.

    On builds without the GIL each of these is an operation of one built-in list, which locks it, and the two of the
    replacement need not be one there: only who has the right replaces, and until then all others see the old state
    with all amounts. No test has run on such a build.

    Each thread that appends to a long list folds, too; so there are at most ``CHUNK`` amounts, and a few for each
    thread that is in the middle of it.
    """

    __slots__ = ("_fold", "entries")

    def __init__(self, state: State, fold: Callable[[State, list[Any]], State]) -> None:
        """``fold(state, amounts)`` gives the new state, changes no old one, and may reorder its list of amounts."""
        self._fold = fold
        self.entries: list[Any] = [_Head(state)]

    def shorten(self) -> None:
        """Fold the first ``CHUNK`` amounts, unless there are fewer."""
        entries = self.entries
        head, *amounts = entries[_HEAD_AND_CHUNK]
        if len(amounts) < CHUNK:
            return
        folded = (_Head(self._fold(head.state, amounts)),)
        try:
            # One call into C: nothing, neither a thread nor an interrupt, comes between taking the right and using it.
            next(map(entries.__setitem__, map(list.pop, (head.right,)), (folded,)))
        except IndexError:
            return  # someone else has folded the same amounts

    def read(self) -> State:
        """The state with every amount whose ``append`` is done. Costs a fold of at most some ``CHUNK`` amounts."""
        head, *amounts = self.entries[:]
        state: State = head.state
        return self._fold(state, amounts) if amounts else state
