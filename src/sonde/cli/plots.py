"""Plots: distributions, shares and time, each as a few characters of a line; ASCII where no more can be shown."""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from rich.console import Console

CELLS = 12
"""Of a distribution. JSON has the same ones, so that they do not depend on a terminal."""

_BAR_CELLS = 8
_NARROWEST = 2.0  # from the lowest to the highest value of an axis: one value alone lies in its middle
_LEAST_S = 1e-6  # where nothing took any time
_ABOVE = 1 + 1e-9  # a value that makes a bound lies below it, whatever rounding does to the bound

# Terminals whose fonts lack the eighths of a block.
_POOR_TERMINALS = frozenset({"linux", "dumb"})


class Glyphs(NamedTuple):
    """What a plot is drawn with: ``levels`` from low to high, ``parts`` of a bar's last cell, ``empty`` for nothing."""

    levels: str
    parts: str
    empty: str
    rest: str


UNICODE = Glyphs("▁▂▃▄▅▆▇█", "▏▎▍▌▋▊▉█", "·", " ")
ASCII = Glyphs(":-=+*#%@", "#", ".", ".")


def glyphs_for(console: Console) -> Glyphs:
    """Blocks on a terminal that has them. What is piped gets ASCII, which survives each tool that it passes through."""
    is_poor = os.environ.get("TERM") in _POOR_TERMINALS or console.legacy_windows
    can_show = console.is_terminal and not is_poor and console.encoding.startswith("utf")
    return UNICODE if can_show else ASCII


def sparkline(counts: Sequence[int], glyphs: Glyphs) -> str:
    """One character a count, by its share of the largest; what is not 0 never looks like 0.

    >>> sparkline([0, 1, 50, 100, 0], UNICODE), sparkline([0, 1, 50, 100, 0], ASCII)
    ('·▁▄█·', '.:+@.')
    """
    most = max(counts, default=0)
    highest = len(glyphs.levels)
    return "".join(
        glyphs.levels[max(1, math.ceil(count * highest / most)) - 1] if count else glyphs.empty for count in counts
    )


def bar(ratio: float, glyphs: Glyphs, *, cells: int = _BAR_CELLS) -> str:
    """A bar of ``cells`` characters; a ratio above 1 fills it.

    >>> bar(0.5, UNICODE), bar(0.3, UNICODE), bar(0.3, ASCII), bar(7.0, ASCII)
    ('████    ', '██▍     ', '##......', '########')
    """
    fineness = len(glyphs.parts)
    units = round(min(1.0, max(0.0, ratio)) * cells * fineness)
    if ratio > 0:
        units = max(1, units)
    full, part = divmod(units, fineness)
    drawn = glyphs.parts[-1] * full + (glyphs.parts[part - 1] if part else "")
    return drawn.ljust(cells, glyphs.rest)


def share(ratio: float | None, glyphs: Glyphs) -> str:
    """A bar with its figure; ``-`` where the ratio is unknown.

    >>> share(0.31, ASCII), share(0.001, ASCII), share(0.0, ASCII), share(20.0, ASCII), share(None, ASCII)
    ('##......  31 %', '#.......  <1 %', '........   0 %', '######## >999 %', '-')
    """
    if ratio is None:
        return "-"
    percent = "<1" if 0 < ratio < 0.005 else f"{ratio * 100:.0f}" if ratio < 9.995 else ">999"
    return f"{bar(ratio, glyphs)} {percent:>3} %"


class LogAxis:
    """Cells between two values, each as many times wider than the one before; all rows of a table share one.

    >>> axis = LogAxis.over([0.001, 0.01, 1.0, 10.0], cells=4)
    >>> [round(bound, 6) for bound in axis.bounds]
    [0.001, 0.01, 0.1, 1.0, 10.0]
    >>> axis.counts([0.0, 0.001, 0.01, 0.5, 10.0])
    [3, 0, 1, 1]
    """

    def __init__(self, lowest: float, highest: float, *, cells: int) -> None:
        """From ``lowest``, above 0, to ``highest``."""
        if highest / lowest < _NARROWEST:
            middle = math.sqrt(lowest) * math.sqrt(highest)
            lowest, highest = middle / math.sqrt(_NARROWEST), middle * math.sqrt(_NARROWEST)
        start, step = math.log(lowest), (math.log(highest) - math.log(lowest)) / cells
        self.bounds = (lowest, *(math.exp(start + step * cell) for cell in range(1, cells)), highest)

    @classmethod
    def over(cls, values: Iterable[float], *, cells: int = CELLS) -> LogAxis:
        """The axis on which all of ``values`` lie; the first cell has those that are not above 0, too."""
        lowest, highest = math.inf, 0.0
        for value in values:
            highest = max(highest, value)
            lowest = min(lowest, value) if value > 0 else lowest
        return cls(lowest, highest, cells=cells) if highest else cls(_LEAST_S, _LEAST_S, cells=cells)

    def counts(self, ordered: Sequence[float]) -> list[int]:
        """How many of ``ordered``, which ascend, lie in each cell; a cell has its upper bound, not its lower one."""
        # Rounding may put the ends of the axis beside the values they are made of, so they bound nothing here.
        inner = (bisect_left(ordered, bound * _ABOVE) for bound in self.bounds[1:-1])
        return [above - below for below, above in pairwise((0, *inner, len(ordered)))]

    def weighed(self, values: Iterable[tuple[float, int]]) -> list[int]:
        """The same of values, in any order, with how often each is there; what lies beside the axis is at its end.

        >>> LogAxis(1.0, 100.0, cells=2).weighed([(2.0, 5), (0.0, 1), (50.0, 2), (1000.0, 1)])
        [6, 3]
        """
        inner = [bound * _ABOVE for bound in self.bounds[1:-1]]
        counts = [0] * (len(inner) + 1)
        for value, number in values:
            counts[bisect_left(inner, value)] += number
        return counts
