"""Collapsed stacks: one line a stack, as ``flamegraph.pl`` and most flame graph tools take them."""

from __future__ import annotations

from collections.abc import Sequence

from sonde.profiling.profile import Frame, Profile

# A semicolon would split a frame in two, and a line break a line.
_SAFE = str.maketrans({";": ",", "\n": " ", "\r": " "})


def to_collapsed(profile: Profile, *, roots: Sequence[str] = (), sample_type: str = "") -> bytes:
    """The profile as lines of ``root;...;leaf value``, sorted, in UTF-8.

    The format has no labels: ``roots`` names those that become frames at the root, ``-`` where one is missing. Lines of
    one function are added up, and so is what differs in other labels. Stacks whose value is 0 are left out.

    Raises:
        ConfigError: the profile has no values of ``sample_type``.

    >>> from sonde.profiling import Sample, ValueType, labels_of
    >>> main, work = Frame("main", "agent.py", 30), Frame("work", "agent.py", 12)
    >>> sample = Sample((work, main), (3,), labels_of({"tool": "read_file"}))
    >>> profile = Profile(sample_types=(ValueType("samples", "count"),), samples=(sample,))
    >>> to_collapsed(profile, roots=["tool"])
    b'read_file;main (agent.py);work (agent.py) 3\\n'
    """
    index = profile.index(sample_type)
    sums: dict[str, int] = {}
    for sample in profile.samples:
        labels = dict(sample.labels)
        parts = [str(labels.get(root, "-")) for root in roots]
        parts += [_name(frame) for frame in reversed(sample.stack)]
        line = ";".join(part.translate(_SAFE) for part in parts)
        sums[line] = sums.get(line, 0) + sample.values[index]
    lines = [f"{line} {value}\n" for line, value in sorted(sums.items()) if value and line]
    return "".join(lines).encode("utf-8", "replace")


def _name(frame: Frame) -> str:
    return f"{frame.function} ({frame.file})" if frame.file else frame.function
