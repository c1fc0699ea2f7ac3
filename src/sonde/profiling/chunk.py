"""Chunk: what an event has of a profile. A stream of them defines each stack once in a while, and then refers to it."""

from __future__ import annotations

import msgspec

from sonde.profiling.profile import Frame

MORE_STACKS = Frame("[more stacks]")
"""Stands for the stacks that a chunk had no room for; their labels and values are there."""

LOST_STACK = Frame("[stack not recorded]")
"""Stands for frames whose definition is not in what was read: retention removed it, or it never reached the store."""


class ChunkData(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a ``sonde.profile`` event.

    Attributes:
        time_ns, duration_ns, sample_types, default_sample_type, period_type, period, comments, label_units: those of
            the profile.
        definitions: names the tables that the numbers refer to. They begin empty and only grow, until after some
            minutes others begin under another name: so what is cut off or lost leaves little unreadable.
        known: how many files, functions and nodes were defined before. Those below come after them.
        files: names of files, numbered from 0.
        functions: three entries each, numbered from 0: the name, the number of its file, its first line.
        nodes: three entries each, numbered from 1: the node that called it (0: none), its function, its line.
        label_keys, label_texts: the keys and the values of all labels of this chunk, each once.
        labels: label sets, numbered from 0 in each chunk: for each key the number of its value, -1 for none.
        rows: for each sample its innermost node (0: no stack), the number of its labels, its values.
        omitted: how much of the first sample type is in stacks that there was no room for.
    """

    time_ns: int
    duration_ns: int = 0
    sample_types: list[tuple[str, str]]
    default_sample_type: str = ""
    period_type: tuple[str, str] | None = None
    period: int = 0
    comments: list[str] = []
    label_units: dict[str, str] = {}
    definitions: str
    known: tuple[int, int, int]
    files: list[str] = []
    functions: list[str | int] = []
    nodes: list[int] = []
    label_keys: list[str] = []
    label_texts: list[str | int] = []
    labels: list[int] = []
    rows: list[int] = []
    omitted: int = 0
