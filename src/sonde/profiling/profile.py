"""Profile: stacks with values and labels, as pprof understands the word; what every writer here takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

import msgspec

from sonde.errors import ConfigError

Labels = tuple[tuple[str, str | int], ...]
"""Keys and values, sorted by key, each key once: equal label sets are equal tuples."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One line of a function that was being executed. Immutable and hashable.

    ``first_line`` is where the function begins; 0 stands for a line that is not known.
    """

    function: str
    file: str = ""
    line: int = 0
    first_line: int = 0


class ValueType(msgspec.Struct, frozen=True, gc=False):
    """What a number means, as ``ValueType("cpu", "nanoseconds")`` or ``ValueType("inuse_space", "bytes")``.

    pprof scales the units ``count``, ``bytes``, ``nanoseconds``, ``microseconds``, ``milliseconds`` and ``seconds``.
    """

    type: str
    unit: str


class Sample(msgspec.Struct, frozen=True):
    """A stack, its labels, and one value for each sample type of the profile.

    The stack begins with the *innermost* frame, as in pprof. Labels are sorted pairs: use :func:`labels_of`.
    """

    stack: tuple[Frame, ...]
    values: tuple[int, ...]
    labels: Labels = ()


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A finished profile. Immutable, safe to share between threads.

    ``time_ns`` is the Unix time of its beginning, ``duration_ns`` how long it took (0: a picture of one moment).
    ``period`` is the mean distance between samples in units of ``period_type``. ``default_sample_type`` is the one
    that viewers show first (empty: the last). ``label_units`` has the units of numeric labels, by key.

    >>> work = Frame("work", "agent.py", 12, 10)
    >>> profile = Profile(
    ...     sample_types=(ValueType("samples", "count"), ValueType("wall", "nanoseconds")),
    ...     samples=(Sample((work,), (3, 60_000_000), labels_of({"tool": "read_file"})),),
    ... )
    >>> profile.total("wall"), profile.total("wall", tool="grep")
    (60000000, 0)
    """

    sample_types: tuple[ValueType, ...]
    samples: tuple[Sample, ...] = ()
    period_type: ValueType | None = None
    period: int = 0
    time_ns: int = 0
    duration_ns: int = 0
    default_sample_type: str = ""
    comments: tuple[str, ...] = ()
    label_units: dict[str, str] = {}

    def index(self, sample_type: str = "") -> int:
        """Which of the values belongs to ``sample_type``; without one, to the default.

        Raises:
            ConfigError: the profile has no such type.
        """
        wanted = sample_type or self.default_sample_type
        if not wanted:
            return len(self.sample_types) - 1
        for index, one in enumerate(self.sample_types):
            if one.type == wanted:
                return index
        known = ", ".join(one.type for one in self.sample_types)
        raise ConfigError(f"cannot read values of type {wanted!r} from the profile: expected one of {known}")

    def total(self, sample_type: str = "", **labels: str | int) -> int:
        """The sum of the values of one type, over the samples that carry all these labels."""
        index = self.index(sample_type)
        wanted = set(labels.items())
        return sum(sample.values[index] for sample in self.samples if wanted <= set(sample.labels))

    @classmethod
    def merge(cls, profiles: Iterable[Profile]) -> Self:
        """One profile of several that have the same sample types: equal stacks with equal labels are added up.

        It begins with the earliest; durations are added up, as ``go tool pprof`` does; comments are kept once each; the
        period is the longest. One profile, merged with nothing, has its equal stacks added up.

        Raises:
            ConfigError: there is none, or their sample types differ.
        """
        parts = list(profiles)
        if not parts:
            raise ConfigError("cannot merge no profiles: expected at least one")
        first = parts[0]
        for part in parts:
            if part.sample_types != first.sample_types:
                raise ConfigError(
                    f"cannot merge a profile of {_types(part)} into one of {_types(first)}: expected the same "
                    "sample types in the same order; merge those of one kind"
                )
        sums: dict[tuple[tuple[Frame, ...], Labels], tuple[int, ...]] = {}
        for part in parts:
            for sample in part.samples:
                key = (sample.stack, sample.labels)
                found = sums.get(key)
                sums[key] = (
                    sample.values
                    if found is None
                    else tuple(one + other for one, other in zip(found, sample.values, strict=True))
                )
        return cls(
            sample_types=first.sample_types,
            samples=tuple(Sample(stack, values, labels) for (stack, labels), values in sums.items()),
            period_type=first.period_type,
            period=max(part.period for part in parts),
            time_ns=min((part.time_ns for part in parts if part.time_ns), default=0),
            duration_ns=sum(part.duration_ns for part in parts),
            default_sample_type=first.default_sample_type,
            comments=tuple(dict.fromkeys(comment for part in parts for comment in part.comments)),
            label_units={key: unit for part in parts for key, unit in part.label_units.items()},
        )


def labels_of(labels: Mapping[str, str | int]) -> Labels:
    """A mapping as labels: sorted by key, so that equal sets are equal tuples.

    >>> labels_of({"tool": "grep", "session": "s-1"})
    (('session', 's-1'), ('tool', 'grep'))
    """
    return tuple(sorted(labels.items()))


def _types(profile: Profile) -> str:
    return "/".join(one.type for one in profile.sample_types) or "nothing"
