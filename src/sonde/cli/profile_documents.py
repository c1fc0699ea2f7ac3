"""The documents of ``profile``; see :mod:`sonde.cli.documents`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from sonde.events import format_timestamp
from sonde.profiling import Profile, Sample
from sonde.query import RecordedProfile

_NS_PER_S = 1_000_000_000
NOTHING = frozenset({"", "none", "unknown"})
"""Values of a label that name nothing."""


class ProfileDocument(msgspec.Struct, frozen=True):
    """A profile, the first line of ``profile``."""

    record: str
    session_id: str
    started: str
    started_ns: int
    duration_s: float
    events: int
    samples: int
    rate_hz: float | None
    cpu_s: float | None
    wall_s: float | None
    time: str
    tool_ratio: float | None
    omitted_samples: int
    lost_samples: int


class ProfileGroupDocument(msgspec.Struct, frozen=True):
    """The samples of one tool, task, operation or thread, of ``profile``."""

    record: str
    by: str
    name: str
    samples: int
    cpu_s: float | None
    wall_s: float | None
    time_ratio: float | None


class ProfileFunctionDocument(msgspec.Struct, frozen=True):
    """One function, of ``profile``."""

    record: str
    function: str
    file: str
    line: int
    self_s: float
    self_ratio: float
    cumulative_s: float
    cumulative_ratio: float


class Measure(NamedTuple):
    """One sample type of a profile."""

    place: int
    unit: str

    def of(self, samples: Sequence[Sample]) -> float:
        """The sum of its values; seconds for what is a time."""
        return self.scaled(sum(sample.values[self.place] for sample in samples))

    def scaled(self, value: int) -> float:
        """A value of the profile, in seconds if it is a time."""
        return value / _NS_PER_S if self.unit == "nanoseconds" else float(value)


def measure_of(profile: Profile, sample_type: str) -> Measure | None:
    """Where the values of a type are; ``None`` if the profile has none."""
    for index, one in enumerate(profile.sample_types):
        if one.type == sample_type:
            return Measure(index, one.unit)
    return None


def profile_document(session_id: str, found: RecordedProfile, time: str) -> ProfileDocument:
    """What is true of a profile as a whole."""
    profile = found.profile
    chosen = profile.index(time)
    total = sum(sample.values[chosen] for sample in profile.samples)
    in_tools = sum(sample.values[chosen] for sample in profile.samples if names_something(sample, "tool"))
    return ProfileDocument(
        record="profile",
        session_id=session_id,
        started=format_timestamp(profile.time_ns),
        started_ns=profile.time_ns,
        duration_s=profile.duration_ns / _NS_PER_S,
        events=found.events,
        samples=profile.total("samples"),
        rate_hz=_NS_PER_S / profile.period if profile.period else None,
        cpu_s=_seconds(profile, "cpu", profile.samples),
        wall_s=_seconds(profile, "wall", profile.samples),
        time=time,
        tool_ratio=in_tools / total if total else None,
        omitted_samples=found.omitted,
        lost_samples=found.lost,
    )


def names_something(sample: Sample, label: str) -> bool:
    """Whether a sample's label says more than that there is none or that nobody knows."""
    return dict(sample.labels).get(label, "") not in NOTHING


def group_documents(profile: Profile, by: str, time: str, *, titles: Mapping[str, str]) -> list[ProfileGroupDocument]:
    """The samples by the values of a label, the largest first; ``titles`` has the names of ids."""
    groups: dict[str, list[Sample]] = {}
    for sample in profile.samples:
        groups.setdefault(str(dict(sample.labels).get(by) or "unknown"), []).append(sample)
    measure = Measure(profile.index(time), "")
    total = measure.of(profile.samples)
    documents = [
        ProfileGroupDocument(
            record="group",
            by=by,
            name=titles.get(name, name),
            samples=sum(sample.values[profile.index("samples")] for sample in samples),
            cpu_s=_seconds(profile, "cpu", samples),
            wall_s=_seconds(profile, "wall", samples),
            time_ratio=measure.of(samples) / total if total else None,
        )
        for name, samples in groups.items()
    ]
    return sorted(documents, key=lambda one: (-(one.time_ratio or 0), -one.samples, one.name))


def function_documents(profile: Profile, time: str) -> list[ProfileFunctionDocument]:
    """All functions with their own time, and that of what they called too; by their own."""
    measure = Measure(profile.index(time), profile.sample_types[profile.index(time)].unit)
    own: dict[tuple[str, str, int], int] = {}
    cumulative: dict[tuple[str, str, int], int] = {}
    total = 0
    for sample in profile.samples:
        value = sample.values[measure.place]
        if value <= 0:
            continue
        total += value
        keys = [(frame.function, frame.file, frame.first_line) for frame in sample.stack]
        if keys:
            own[keys[0]] = own.get(keys[0], 0) + value
        for key in dict.fromkeys(keys):  # a recursive function counts once
            cumulative[key] = cumulative.get(key, 0) + value
    documents = [
        ProfileFunctionDocument(
            record="function",
            function=key[0],
            file=key[1],
            line=key[2],
            self_s=measure.scaled(own.get(key, 0)),
            self_ratio=own.get(key, 0) / total,
            cumulative_s=measure.scaled(value),
            cumulative_ratio=value / total,
        )
        for key, value in cumulative.items()
    ]
    return sorted(documents, key=lambda one: (-one.self_s, -one.cumulative_s, one.function, one.file))


def _seconds(profile: Profile, sample_type: str, samples: Sequence[Sample]) -> float | None:
    measure = measure_of(profile, sample_type)
    return None if measure is None else measure.of(samples)
