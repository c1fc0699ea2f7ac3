"""The model of a profile, and what its writers and readers refuse."""

from __future__ import annotations

import gzip

import pytest

from sonde.errors import ConfigError, ProfileError
from sonde.profiling import Frame, Profile, Sample, ValueType, from_pprof, labels_of, to_collapsed, to_pprof
from sonde.profiling.wire import Message

COUNT = ValueType("samples", "count")
WORK, MAIN = Frame("work", "agent.py", 12, 10), Frame("main", "agent.py", 30, 28)


def profile_of(*samples: Sample) -> Profile:
    return Profile(sample_types=(COUNT,), samples=samples)


def test_merging_adds_equal_stacks_with_equal_labels() -> None:
    """Equal stacks are added up, other labels stay apart, times and durations are joined."""
    grep = labels_of({"tool": "grep"})
    first = Profile(
        sample_types=(COUNT,), samples=(Sample((WORK,), (1,), grep),), time_ns=20, duration_ns=5, comments=("a",)
    )
    second = Profile(
        sample_types=(COUNT,),
        samples=(Sample((WORK,), (2,), grep), Sample((WORK,), (4,))),
        time_ns=10,
        duration_ns=7,
        comments=("a", "b"),
    )
    merged = Profile.merge([first, second])
    assert merged.samples == (Sample((WORK,), (3,), grep), Sample((WORK,), (4,)))
    assert (merged.time_ns, merged.duration_ns, merged.comments) == (10, 12, ("a", "b"))


def test_profiles_of_different_types_do_not_merge() -> None:
    """The message names both kinds."""
    other = Profile(sample_types=(ValueType("inuse_space", "bytes"),))
    with pytest.raises(ConfigError, match="cannot merge a profile of inuse_space into one of samples"):
        Profile.merge([profile_of(), other])
    with pytest.raises(ConfigError, match="cannot merge no profiles"):
        Profile.merge([])


def test_an_unknown_sample_type_is_refused() -> None:
    """The message names the types that there are."""
    with pytest.raises(ConfigError, match="'cpu' from the profile: expected one of samples"):
        to_collapsed(profile_of(), sample_type="cpu")


def test_pprof_holds_each_string_function_and_location_once() -> None:
    """A stack that repeats a thousand times adds samples only, and no header says when it was zipped."""
    one = gzip.decompress(to_pprof(profile_of(Sample((WORK, MAIN), (1,)))))
    many = gzip.decompress(to_pprof(profile_of(*[Sample((WORK, MAIN), (1,))] * 1000)))
    assert many.count(b"agent.py") == one.count(b"agent.py") == 1
    assert len(many) == len(one) + 999 * 9
    assert to_pprof(profile_of())[4:8] == bytes(4)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no profile",
        b"\x1f\x8bno gzip",
        gzip.compress(b"\xff" * 20),
        to_pprof(profile_of(Sample((WORK,), (1,))))[:-20],
    ],
)
def test_what_is_no_profile_is_refused(content: bytes) -> None:
    """Anything else gives a ProfileError, not whatever the parser stumbles over."""
    with pytest.raises(ProfileError, match="cannot read a profile"):
        from_pprof(content)


def test_a_sample_of_an_unknown_location_is_refused() -> None:
    """A file whose tables do not fit together is damaged."""
    kind, sample, message = Message(), Message(), Message()
    kind.integer(1, 1)
    sample.integers(1, [77])
    sample.integers(2, [1])
    message.block(1, kind.encode())
    message.block(2, sample.encode())
    for text in (b"", b"samples"):
        message.block(6, text)
    with pytest.raises(ProfileError, match="KeyError: 77"):
        from_pprof(message.encode())


def test_frames_that_would_split_a_collapsed_line_are_mended() -> None:
    """A semicolon or line break in a name stays within its frame."""
    odd = Frame("a;b\nc", "")
    assert to_collapsed(profile_of(Sample((odd, MAIN), (1,)))) == b"main (agent.py);a,b c 1\n"


def test_lone_surrogates_are_written_as_question_marks() -> None:
    """File names that are not UTF-8 reach Python with them."""
    assert (
        from_pprof(to_pprof(profile_of(Sample((Frame("f", "a\udcff.py"),), (1,))))).samples[0].stack[0].file == "a?.py"
    )
