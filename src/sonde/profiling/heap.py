"""Heap profiles: who holds the memory of Python objects, and who took more of it between two moments."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sonde.errors import ConfigError, ProfileError
from sonde.profiling.encoding import encode_profile
from sonde.profiling.heap_names import HeapNames
from sonde.profiling.profile import Frame, Labels, Profile, Sample, ValueType
from sonde.profiling.target import Target, Where

DEFAULT_NFRAME = 25

SONDE_OWN = Frame("[sonde]")
"""Stands for all that sonde itself holds, tracemalloc included: so sums are right, and stacks are about the program."""

_TYPES = (ValueType("inuse_objects", "count"), ValueType("inuse_space", "bytes"))
_SONDE = str(Path(__file__).parents[1]) + os.sep
_TRACEMALLOC = tracemalloc.__file__


def write_heap_profile(target: Where, *, format: str | None = None) -> None:
    """Write which lines of code hold how many Python objects and bytes, at this moment.

    It has what was allocated since tracing began and is not freed yet, by stack: start the program with
    ``PYTHONTRACEMALLOC=25``, or look for a while with :func:`heap_window`. Memory that extension modules take past
    Python's allocators is not in it; ``memray`` sees that.

    Any thread may call it. It blocks, some 10 µs for each distinct stack and 1 ms for each file of code, and needs some
    200 bytes for each living allocation meanwhile.

    Args:
        target: a path, which is replaced whole, or a binary file.
        format: ``"pprof"`` (for ``go tool pprof``), ``"speedscope"`` or ``"collapsed"``; by default what the name of
            the path says, else pprof.

    Raises:
        ProfileError: tracing is off, or the target cannot be written.

    >>> import tempfile, sonde
    >>> with tempfile.NamedTemporaryFile(suffix=".pb.gz") as file, sonde.heap_window(60):
    ...     held = [bytearray(1000) for _ in range(1000)]
    ...     write_heap_profile(file.name)
    """
    where = Target(target, format=format)
    if not tracemalloc.is_tracing():
        raise ProfileError(
            f"cannot write a heap profile to {where.name!r}: tracemalloc does not trace allocations; start the program "
            f"with PYTHONTRACEMALLOC={DEFAULT_NFRAME}, or open a sonde.heap_window(seconds) around what is to be seen"
        )
    where.write(encode_profile(heap_profile(), where.format))


def heap_profile() -> Profile:
    """What :func:`write_heap_profile` writes, as a profile.

    Raises:
        ProfileError: tracing is off.
    """
    return profile_of(take_snapshot())


class Snapshot(NamedTuple):
    """What was traced at one moment; reading names into it may be done after tracing."""

    time_ns: int
    nframe: int
    traced: tracemalloc.Snapshot


def take_snapshot() -> Snapshot:
    """What is held now.

    Raises:
        ProfileError: tracing is off.
    """
    try:
        return Snapshot(time.time_ns(), tracemalloc.get_traceback_limit(), tracemalloc.take_snapshot())
    except RuntimeError as error:
        raise ProfileError(
            f"cannot take a heap profile: {error}; start the program with PYTHONTRACEMALLOC={DEFAULT_NFRAME}, or open "
            "a sonde.heap_window(seconds)"
        ) from None


def profile_of(snapshot: Snapshot) -> Profile:
    """A snapshot with the names of functions. Dear while allocations are traced: see :class:`HeapNames`."""
    names = HeapNames()
    sums: dict[tuple[Frame, ...], tuple[int, int]] = {}
    for statistic in snapshot.traced.statistics("traceback"):
        stack = _stack(statistic.traceback, names)
        objects, size_bytes = sums.get(stack, (0, 0))
        sums[stack] = (objects + statistic.count, size_bytes + statistic.size)
    return _profile(
        (Sample(stack, values) for stack, values in sums.items()),
        time_ns=snapshot.time_ns,
        comments=(f"allocations since tracing began (tracemalloc, nframe={snapshot.nframe})",),
    )


def diff(before: Profile, after: Profile) -> Profile:
    """What grew from one heap profile to a later one, and what shrank as negative values; what stayed is left out.

    Raises:
        ConfigError: their sample types differ.

    >>> frame = Frame("read", "agent.py", 3)
    >>> before, after = (Profile(sample_types=_TYPES, samples=(Sample((frame,), held),)) for held in ((2, 64), (5, 96)))
    >>> diff(before, after).samples[0].values
    (3, 32)
    """
    if before.sample_types != after.sample_types:
        raise ConfigError(
            "cannot compare profiles of different kinds: "
            f"{'/'.join(one.type for one in before.sample_types)} and "
            f"{'/'.join(one.type for one in after.sample_types)}; take both in the same way"
        )
    sums: dict[tuple[tuple[Frame, ...], Labels], list[int]] = {}
    for profile, sign in ((after, 1), (before, -1)):
        for sample in profile.samples:
            values = sums.setdefault((sample.stack, sample.labels), [0] * len(sample.values))
            for place, value in enumerate(sample.values):
                values[place] += sign * value
    samples = tuple(Sample(stack, tuple(values), labels) for (stack, labels), values in sums.items() if any(values))
    return Profile(
        sample_types=after.sample_types,
        samples=samples,
        time_ns=before.time_ns,
        duration_ns=max(0, after.time_ns - before.time_ns),
        default_sample_type=after.default_sample_type,
        comments=(*after.comments, "growth between two moments; what shrank is negative"),
        label_units=after.label_units,
    )


def _stack(traceback: Iterable[tracemalloc.Frame], names: HeapNames) -> tuple[Frame, ...]:
    """Innermost first. Frames of sonde go, and what sonde or tracemalloc itself allocated is one frame for all."""
    lines = [(frame.filename, frame.lineno) for frame in traceback]
    if lines and _is_own(lines[-1][0]):
        return (SONDE_OWN,)
    return names.stack((file, line) for file, line in reversed(lines) if not _is_own(file))


def _is_own(file: str) -> bool:
    return file.startswith(_SONDE) or file == _TRACEMALLOC


def _profile(samples: Iterable[Sample], *, time_ns: int, comments: tuple[str, ...]) -> Profile:
    return Profile(
        sample_types=_TYPES,
        samples=tuple(sorted(samples, key=lambda sample: -sample.values[1])),
        period_type=ValueType("space", "bytes"),
        period=1,
        time_ns=time_ns,
        default_sample_type="inuse_space",
        comments=comments,
    )
