"""Profiles as formats: what is written is what is read, and sums survive."""

from __future__ import annotations

import json
import string

from hypothesis import given
from hypothesis import strategies as st

from sonde.profiling import Frame, Profile, Sample, ValueType, from_pprof, labels_of, to_collapsed, to_pprof
from sonde.profiling.speedscope import to_speedscope
from sonde.profiling.wire import fields_of, integers_in, signed, varint

int64 = st.integers(-(2**63), 2**63 - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
lines = st.integers(0, 10**6)
frames = st.builds(Frame, names.filter(bool), names, lines, lines)
# pprof cannot tell a label that is empty or 0 from one without a value.
labels = st.dictionaries(
    st.text(string.ascii_lowercase, min_size=1, max_size=4), names.filter(bool) | int64.filter(bool), max_size=4
).map(labels_of)
types = st.builds(
    ValueType, st.text(string.ascii_lowercase, min_size=1, max_size=5), st.sampled_from(["count", "bytes"])
)


@st.composite
def profiles(draw: st.DrawFn, values: st.SearchStrategy[int] = int64) -> Profile:
    """Profiles of any shape, with a few distinct frames, so that stacks repeat."""
    kinds = tuple(draw(st.lists(types, min_size=1, max_size=3)))
    pool = draw(st.lists(frames, min_size=1, max_size=5))
    sample = st.builds(
        Sample,
        st.lists(st.sampled_from(pool), max_size=6).map(tuple),
        st.tuples(*[values] * len(kinds)),
        labels,
    )
    return Profile(
        sample_types=kinds,
        samples=tuple(draw(st.lists(sample, max_size=6))),
        period_type=draw(st.none() | types),
        period=draw(int64),
        time_ns=draw(st.integers(0, 2**62)),
        duration_ns=draw(st.integers(0, 2**62)),
        default_sample_type=draw(st.sampled_from(kinds)).type,
        comments=tuple(draw(st.lists(names, max_size=3))),
    )


@given(int64)
def test_integers_survive_the_wire(value: int) -> None:
    """A varint is read back as the number that was written, in at most ten bytes, negative ones too."""
    digits = varint(value)
    assert len(digits) <= 10
    assert integers_in(digits) == [value]
    ((field, read),) = fields_of(b"\x08" + digits)
    assert isinstance(read, int)
    assert (field, signed(read)) == (1, value)


@given(profiles())
def test_pprof_is_read_back_as_it_was_written(profile: Profile) -> None:
    """Nothing is lost or changed by writing a profile as pprof and reading it; equal profiles give equal bytes."""
    assert from_pprof(to_pprof(profile)) == profile
    assert to_pprof(profile) == to_pprof(from_pprof(to_pprof(profile)))


@given(st.lists(profiles(st.integers(0, 1000)), min_size=1, max_size=4))
def test_merging_keeps_every_sum(parts: list[Profile]) -> None:
    """The total of a merge is the sum of the totals, its stacks are distinct, and merging it again changes nothing."""
    alike = [part for part in parts if part.sample_types == parts[0].sample_types]
    merged = Profile.merge(alike)
    for place in range(len(merged.sample_types)):
        assert sum(sample.values[place] for sample in merged.samples) == sum(
            sample.values[place] for part in alike for sample in part.samples
        )
    keys = [(sample.stack, sample.labels) for sample in merged.samples]
    assert len(keys) == len(set(keys))
    assert Profile.merge([merged]) == merged


@given(profiles(st.integers(0, 1000)))
def test_text_formats_keep_the_total(profile: Profile) -> None:
    """Collapsed stacks and speedscope's weights add up to the profile's total of the type that they show."""
    total = sum(sample.values[profile.index()] for sample in profile.samples if sample.stack)
    collapsed = to_collapsed(profile).decode().split("\n")[:-1]
    assert sum(int(line.rpartition(" ")[2]) for line in collapsed) == total
    document = json.loads(to_speedscope(profile))
    shown = [
        weight
        for part in document["profiles"]
        for stack, weight in zip(part["samples"], part["weights"], strict=True)
        if stack
    ]
    assert sum(shown) == total
