"""ProfileReport: what a profile cost and holds."""

from __future__ import annotations

import time

import msgspec

from sonde.profiling.table import StackTable


class ProfileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What :func:`~sonde.stop_cpu_profile` wrote, and what it is worth. Immutable."""

    target: str
    """The path, or the name of the file object."""
    format: str
    """``pprof``, ``speedscope`` or ``collapsed``."""
    mode: str
    """``wall``, ``cpu`` or ``waiting``."""
    backend: str
    """``sonde``, or ``py-spy``, of which the figures below that end in ``None`` are not known."""
    duration_s: float
    hz_asked: float
    hz: float | None = None
    """Looks a second that were really taken."""
    ticks: int | None = None
    """Looks in all."""
    samples: int = 0
    """Stacks counted: several a look where there are several threads."""
    stacks: int = 0
    """Distinct stacks with their labels."""
    sampler_cpu_s: float | None = None
    """CPU seconds of the sampler's own thread."""
    sampler_cpu_ratio: float | None = None
    """The same as a ratio of one CPU."""
    samples_without_span: int = 0
    """Samples counted without their span id, since the profile was half full."""
    samples_without_stack: int = 0
    """Samples counted as ``[more stacks]``, since the profile was full."""
    failures: int = 0
    """Looks that failed; the log of sonde says why."""


class Window:
    """The figures of a sampler from one ``take`` to the next."""

    def __init__(self, cpu_s: float) -> None:
        self.time_ns = time.time_ns()
        self._began_s = time.monotonic()
        self._began_cpu_s = cpu_s
        self.duration_s = 0.0
        self.cpu_s = 0.0
        self.ticks = 0
        self.failures = 0
        self.samples = 0
        self.stacks = 0
        self.without_span = 0
        self.without_stack = 0

    @classmethod
    def begin(cls, cpu_s: float) -> Window:
        """A window that begins now; ``cpu_s`` is what the sampler has used before it."""
        return cls(cpu_s)

    def end(self, cpu_s: float, table: StackTable) -> None:
        """It ends now."""
        self.duration_s = time.monotonic() - self._began_s
        self.cpu_s = cpu_s - self._began_cpu_s
        self.samples = sum(sums[0] for sums in table.sums.values())
        self.stacks = len(table.sums)
        self.without_span = table.without_span
        self.without_stack = table.without_stack

    @property
    def hz(self) -> float:
        """Looks a second."""
        return self.ticks / self.duration_s if self.duration_s else 0.0

    @property
    def cpu_ratio(self) -> float:
        """The sampler's share of one CPU."""
        return self.cpu_s / self.duration_s if self.duration_s else 0.0

    def summary(self, hz_asked: float) -> str:
        """One line for the formats that take a comment or a name."""
        line = (
            f"{self.hz:.1f} Hz of {hz_asked:g} asked for ({self.ticks} looks in {self.duration_s:.1f} s), "
            f"sampler {self.cpu_ratio:.2%} of a CPU"
        )
        if self.without_stack:
            line += f", {self.without_stack} samples without room for their stack"
        return line
