"""Series of values and their ratios; loops that are timed."""

from __future__ import annotations

import linecache
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from textwrap import indent
from typing import Any

Loop = Callable[[int, int], None]
"""Makes calls ``first`` to ``first + count``."""

BLOCK_S = 0.1
LARGEST_BLOCK = 100_000
"""Less than any queue in the comparison holds."""

_loops = count(1)


@dataclass(frozen=True, slots=True)
class Series:
    """What one candidate measured, a value a round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value: it forgives a round in which the machine did something else."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest."""
        return max(self.values)

    def over(self, other: Series) -> Series:
        """Ratios round by round, so that their spread is that of the comparison and not that of the machine."""
        return Series(tuple(a / b if b else float("inf") for a, b in zip(self.values, other.values, strict=True)))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` of the ordered values do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def compile_loop(statement: str, names: Mapping[str, Any], *, timed: bool = False) -> Loop:
    """A loop around ``statement``, which sees ``n`` and, as local variables, ``names``.

    Each candidate's call is compiled into a loop of its own, as ``timeit`` does it: one more function call around it
    would cost all the same, and the cheapest the most. A ``timed`` loop appends each call's nanoseconds to ``took``.
    """
    if timed:
        names = {**names, "clock": time.perf_counter_ns}
        statement = f"began = clock()\n{statement}\ntook.append(clock() - began)"
    defaults = ", ".join(f"{name}={name}" for name in names)
    source = f"def loop(first, count, {defaults}):\n for n in range(first, first + count):\n{indent(statement, '  ')}\n"
    # Logfire reads the source of its caller: without it, it would be slower than it is in a file.
    name = f"<loop {next(_loops)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope = dict(names)
    exec(compile(source, name, "exec"), scope)  # made of this package's own constants
    return scope["loop"]  # type: ignore[no-any-return]


def call_costs(
    loop: Loop, *, settle: Callable[[], object], seconds: float, largest_block: int = LARGEST_BLOCK
) -> dict[str, float]:
    """Nanoseconds a call, in blocks of a tenth of a second; between blocks everybody's queues run empty.

    ``wall``: what the caller waits, the competition of the library's own threads for the interpreter included.
    ``cpu``: what it takes on the calling thread alone. ``total``: until all that the calls left behind is done with.
    """
    block = _calibrated(loop, settle, largest_block)
    wall_ns = cpu_ns = total_ns = calls = 0
    while wall_ns < seconds * 1e9:
        began_ns, began_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        loop(calls, block)
        cpu_ns += time.thread_time_ns() - began_cpu_ns
        wall_ns += time.perf_counter_ns() - began_ns
        settle()
        total_ns += time.perf_counter_ns() - began_ns
        calls += block
    return {"wall": wall_ns / calls, "cpu": cpu_ns / calls, "total": total_ns / calls}


def _calibrated(loop: Loop, settle: Callable[[], object], largest: int) -> int:
    loop(0, 200)
    began_s = time.perf_counter()
    loop(0, 1000)
    block = int(1000 * BLOCK_S / (time.perf_counter() - began_s))
    settle()
    return max(100, min(largest, block))
