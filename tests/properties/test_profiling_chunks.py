"""Chunks of profiles: what is written is read, within so many bytes, whatever the stacks."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.errors import ConfigError, EventDecodeError
from sonde.profiling import Frame, Profile, Sample, ValueType, labels_of
from sonde.profiling.chunk import LOST_STACK, MORE_STACKS
from sonde.profiling.chunk_reader import ChunkReader
from sonde.profiling.chunk_writer import LEAST_CHUNK_BYTES, ChunkWriter

TYPES = (ValueType("samples", "count"), ValueType("wall", "nanoseconds"))
SECOND = 1_000_000_000

frames = st.builds(
    Frame,
    function=st.sampled_from(["main", "work", "é<&>\u2028", 'a"b\\c', "x" * 150]),
    file=st.sampled_from(["agent.py", "/lib/" + "d" * 120 + ".py", ""]),
    line=st.integers(0, 2000),
    first_line=st.integers(0, 5),
)
samples = st.builds(
    Sample,
    stack=st.lists(frames, max_size=12).map(tuple),
    values=st.tuples(st.integers(0, 10_000), st.integers(0, 10**12)),
    labels=st.dictionaries(
        st.sampled_from(["session", "tool", "span", "thread"]), st.text(st.characters(codec="utf-8"), max_size=30)
    ).map(labels_of),
)
profiles = st.lists(samples, max_size=40).map(lambda found: profile_of(*found))


def profile_of(*found: Sample, time_ns: int = 1) -> Profile:
    return Profile(
        sample_types=TYPES,
        samples=found,
        period_type=ValueType("wall", "nanoseconds"),
        period=20_000_000,
        time_ns=time_ns,
        duration_ns=10 * SECOND,
        default_sample_type="wall",
    )


def sums(profile: Profile) -> Counter[object]:
    found: Counter[object] = Counter()
    for sample in profile.samples:
        for place, value in enumerate(sample.values):
            found[sample.stack, sample.labels, place] += value
    return +found


def totals(profile: Profile, **labels: str) -> list[int]:
    return [profile.total(one.type, **labels) for one in TYPES]


def written_and_read(data: object) -> object:
    """As it comes back from a store."""
    return msgspec.json.decode(msgspec.json.encode(data))


@given(st.lists(profiles, min_size=1, max_size=4))
def test_a_stream_of_chunks_gives_back_every_stack_label_and_value(stream):
    """With room enough nothing is changed, and each profile may refer to what earlier ones defined."""
    writer, reader = ChunkWriter(), ChunkReader()
    for profile in stream:
        found = reader.read(written_and_read(writer.write(profile, max_bytes=10**7)))
        assert sums(found) == sums(clean(profile))
        assert msgspec.structs.replace(found, samples=()) == msgspec.structs.replace(profile, samples=())
    assert reader.lost == reader.omitted == 0


def clean(profile: Profile) -> Profile:
    """NULs are written as escapes: no store takes them."""
    return msgspec.structs.replace(
        profile,
        samples=tuple(
            msgspec.structs.replace(
                one, labels=tuple((key, value.replace("\0", "\\u0000")) for key, value in one.labels)
            )
            for one in profile.samples
        ),
    )


@given(st.lists(profiles, min_size=1, max_size=3), st.integers(LEAST_CHUNK_BYTES, 9_000))
def test_no_chunk_is_larger_than_it_may_be_and_no_value_is_left_out(stream, max_bytes):
    """Where room is short stacks lose their frames, not their values; what was omitted is counted."""
    writer, reader = ChunkWriter(), ChunkReader()
    for profile in stream:
        data = writer.write(profile, max_bytes=max_bytes)
        assert len(msgspec.json.encode(data)) <= max_bytes
        found = reader.read(written_and_read(data))
        assert totals(found) == totals(profile)
        more = sum(one.values[0] for one in found.samples if one.stack == (MORE_STACKS,))
        assert data["omitted"] == more
    assert reader.lost == 0


@given(profiles, profiles)
def test_what_lost_its_definitions_keeps_labels_and_values(first, second):
    """A chunk without the one that defined its stacks is read as far as it goes, and says how much is not known."""
    writer, reader = ChunkWriter(), ChunkReader()
    writer.write(first, max_bytes=10**7)
    found = reader.read(written_and_read(writer.write(second, max_bytes=10**7)))
    assert totals(found) == totals(second)
    lost = [one for one in found.samples if LOST_STACK in one.stack]
    assert reader.lost == sum(one.values[0] for one in lost)
    assert {one.labels for one in found.samples} == {one.labels for one in clean(second).samples}


@given(
    st.recursive(
        st.none() | st.integers(-5, 5) | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(
        [
            "known",
            "files",
            "functions",
            "nodes",
            "labels",
            "label_keys",
            "label_texts",
            "rows",
            "sample_types",
            "definitions",
            "comments",
        ]
    ),
)
def test_data_that_no_writer_made_is_refused_or_read_and_never_anything_else(value, key):
    """An event is somebody's text: bad data raises EventDecodeError, and circular nodes do not hang."""
    data = ChunkWriter().write(profile_of(Sample((Frame("work", "a.py", 1),), (1, 2))), max_bytes=LEAST_CHUNK_BYTES)
    data[key] = value
    try:
        ChunkReader().read(data)
    except EventDecodeError:
        return


def test_nodes_that_call_each_other_end():
    """A node that is its own caller gives a stack of bounded depth."""
    data = ChunkWriter().write(profile_of(Sample((Frame("work", "a.py", 1),), (1, 2))), max_bytes=LEAST_CHUNK_BYTES)
    data["nodes"] = [1, 0, 1]
    assert len(ChunkReader().read(data).samples[0].stack) <= 1_001


def test_definitions_are_stated_once_and_again_after_five_minutes():
    """Later chunks are small; none needs what is more than five minutes older."""
    writer = ChunkWriter()
    stack = tuple(Frame(f"function_{number}", f"/path/to/module_{number}.py", number) for number in range(30))
    sizes = []
    for second in range(0, 601, 10):
        profile = profile_of(Sample(stack, (3, 4)), time_ns=1 + second * SECOND)
        data = writer.write(profile, max_bytes=100_000)
        sizes.append(len(msgspec.json.encode(data)))
        if second % 300 == 0:
            assert ChunkReader().read(data).samples[0].stack == stack
    large = [second for second, size in zip(range(0, 601, 10), sizes, strict=True) if size > 800]
    assert large == [0, 300, 600]
    assert max(size for size in sizes if size <= 800) < 500


def test_the_rarest_stacks_go_first_and_each_tool_keeps_its_share():
    """A flood of stacks that are there once does not push out what is there often, nor blur the labels."""
    often = Sample((Frame("often", "a.py", 1),), (500, 500), labels_of({"tool": "grep"}))
    flood = [
        Sample((Frame(f"rare_{number}", "b.py", number),), (1, 1), labels_of({"tool": "flood"}))
        for number in range(5_000)
    ]
    data = ChunkWriter().write(profile_of(*flood, often), max_bytes=LEAST_CHUNK_BYTES)
    assert len(msgspec.json.encode(data)) <= LEAST_CHUNK_BYTES
    found = ChunkReader().read(data)
    assert often in found.samples
    assert found.total("samples", tool="flood") == 5_000
    assert 4_000 < data["omitted"] < 5_000


def test_spans_go_before_stacks():
    """Each operation has a span of its own; where they would fill the chunk they are left out, and tools stay."""
    found = ChunkReader().read(
        ChunkWriter().write(
            profile_of(
                *(
                    Sample((Frame("work", "a.py", 1),), (1, 1), labels_of({"tool": "grep", "span": f"{number:016x}"}))
                    for number in range(1_000)
                )
            ),
            max_bytes=LEAST_CHUNK_BYTES,
        )
    )
    assert found.samples == (Sample((Frame("work", "a.py", 1),), (1_000, 1_000), labels_of({"tool": "grep"})),)


def test_a_chunk_that_may_hold_next_to_nothing_is_refused():
    """Less than 4 KiB is a mistake of the caller."""
    with pytest.raises(ConfigError, match="4096 or more"):
        ChunkWriter().write(profile_of(), max_bytes=100)
