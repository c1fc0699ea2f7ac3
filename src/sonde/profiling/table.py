"""StackTable: what a sampler has counted, bounded."""

from __future__ import annotations

from sonde.profiling.profile import Labels
from sonde.profiling.walker import Stack

MAX_STACKS = 20_000
"""Distinct stacks with their labels that a profile holds, some 10 MB. What comes later is counted as one entry."""

Key = tuple[Stack, Labels, str, str]
"""A stack, the labels of its scope, the thread's name, the thread's state."""

MORE_STACKS: Key = ((), (), "", "")
"""The key of what no longer had room."""


class StackTable:
    """Sums by stack and labels. For one thread at a time.

    Span ids are the first to go: past half of the bound new entries come without, so that many short operations add up
    by tool; past the bound all goes to ``[more stacks]``. Both are counted.
    """

    def __init__(self, max_stacks: int = MAX_STACKS) -> None:
        self._max_stacks = max_stacks
        self._spanless: dict[Labels, Labels] = {}
        self.sums: dict[Key, list[int]] = {}
        self.without_span = 0
        self.without_stack = 0

    def entry(self, key: Key) -> list[int]:
        """The sums of this key (samples, wall ns, CPU ns), to be added to: one sample is counted here already."""
        sums = self.sums.get(key)
        if sums is None:
            sums = self._new(key)
        sums[0] += 1
        return sums

    def _new(self, key: Key) -> list[int]:
        if len(self.sums) >= self._max_stacks // 2:
            stack, labels, thread, state = key
            shorter = self._spanless.get(labels)
            if shorter is None:
                if len(self._spanless) >= self._max_stacks:
                    self._spanless.clear()
                shorter = self._spanless[labels] = tuple(pair for pair in labels if pair[0] != "span")
            if len(shorter) != len(labels):
                self.without_span += 1
            key = (stack, shorter, thread, state)
            if key not in self.sums and len(self.sums) >= self._max_stacks:
                self.without_stack += 1
                key = MORE_STACKS
        return self.sums.setdefault(key, [0, 0, 0])
