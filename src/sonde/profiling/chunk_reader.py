"""ChunkReader: profiles again, from the data of the events that a ChunkWriter made."""

from __future__ import annotations

from typing import Any

import msgspec

from sonde.errors import EventDecodeError
from sonde.profiling.chunk import LOST_STACK, ChunkData
from sonde.profiling.profile import Frame, Labels, Profile, Sample, ValueType, labels_of

_MAX_FRAMES = 1_000  # of a stack; a chunk that nobody of ours wrote may claim a million


class ChunkReader:
    """Reads chunks in the order of their stream, of any number of writers. For one thread.

    What refers to definitions that were not read is ``[stack not recorded]``, with its labels and values.

    >>> from sonde.profiling.chunk_writer import ChunkWriter
    >>> sample = Sample((Frame("work", "agent.py", 12, 10),), (3,), labels_of({"tool": "grep"}))
    >>> profile = Profile(sample_types=(ValueType("samples", "count"),), samples=(sample,), time_ns=1)
    >>> ChunkReader().read(ChunkWriter().write(profile, max_bytes=4096)) == profile
    True
    """

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._tables: dict[str, _Tables] = {}
        self.lost = 0
        """Of the first sample type, how much is in stacks that were not read whole."""
        self.omitted = 0
        """Of the first sample type, how much is in stacks that there was no room for."""

    def read(self, data: Any) -> Profile:
        """The profile of one chunk.

        Raises:
            EventDecodeError: it is none.
        """
        try:
            chunk = msgspec.convert(data, ChunkData)
            tables = self._tables.setdefault(chunk.definitions, _Tables())
            tables.add(chunk)
            samples = self._samples(chunk, tables)
        except (msgspec.ValidationError, ValueError, IndexError, TypeError) as error:
            raise EventDecodeError(
                f"cannot read the profile in an event: {error}; expected what ChunkWriter makes of one"
            ) from None
        self.omitted += chunk.omitted
        return Profile(
            sample_types=tuple(ValueType(*one) for one in chunk.sample_types),
            samples=samples,
            period_type=None if chunk.period_type is None else ValueType(*chunk.period_type),
            period=chunk.period,
            time_ns=chunk.time_ns,
            duration_ns=chunk.duration_ns,
            default_sample_type=chunk.default_sample_type,
            comments=tuple(chunk.comments),
            label_units=chunk.label_units,
        )

    def _samples(self, chunk: ChunkData, tables: _Tables) -> tuple[Sample, ...]:
        types = len(chunk.sample_types)
        labels = _labels_in(chunk)
        if len(chunk.rows) % (2 + types):
            raise ValueError(f"{len(chunk.rows)} numbers are no rows of {2 + types}")
        if min(chunk.rows[1 :: 2 + types], default=0) < 0:
            raise ValueError("a negative number of labels")
        samples = []
        for place in range(0, len(chunk.rows), 2 + types):
            node, label, *values = chunk.rows[place : place + 2 + types]
            stack = tables.stack(node)
            if values and LOST_STACK in stack:
                self.lost += values[0]
            samples.append(Sample(stack, tuple(values), labels[label]))
        return tuple(samples)


class _Tables:
    """What is defined under one name, as far as it was read."""

    def __init__(self) -> None:
        self._files: dict[int, str] = {}
        self._functions: dict[int, tuple[str, str, int]] = {}
        self._nodes: dict[int, tuple[int, Frame]] = {}
        self._stacks: dict[int, tuple[Frame, ...]] = {}

    def add(self, chunk: ChunkData) -> None:
        files, functions, nodes = chunk.known
        self._files.update(enumerate(chunk.files, files))
        for place in range(0, len(chunk.functions), 3):
            name, file, line = chunk.functions[place : place + 3]
            if not isinstance(name, str) or not isinstance(file, int) or not isinstance(line, int):
                raise ValueError(
                    f"a function made of {type(name).__name__}, {type(file).__name__}, {type(line).__name__}"
                )
            self._functions[functions + place // 3] = name, self._files.get(file, ""), line
        for place in range(0, len(chunk.nodes), 3):
            caller, function, line = chunk.nodes[place : place + 3]
            known = self._functions.get(function)
            frame = LOST_STACK if known is None else Frame(known[0], known[1], line, known[2])
            self._nodes[nodes + place // 3 + 1] = caller, frame

    def stack(self, node: int) -> tuple[Frame, ...]:
        """The frames of a node and its callers, innermost first; ended by the mark where one is not known."""
        stack = self._stacks.get(node)
        if stack is None:
            stack = self._stacks[node] = self._followed(node)
        return stack

    def _followed(self, node: int) -> tuple[Frame, ...]:
        frames = []
        while node:
            caller, frame = self._nodes.get(node, (0, LOST_STACK))
            frames.append(frame)
            node = caller
            if len(frames) >= _MAX_FRAMES:
                frames.append(LOST_STACK)
                break
        return tuple(frames)


def _labels_in(chunk: ChunkData) -> list[Labels]:
    width, texts = len(chunk.label_keys), chunk.label_texts
    if not width:
        return [()] * len(chunk.rows)
    if len(chunk.labels) % width or min(chunk.labels, default=0) < -1:
        raise ValueError(f"{len(chunk.labels)} numbers are no labels of {width} keys")
    return [
        labels_of(
            {
                key: texts[number]
                for key, number in zip(chunk.label_keys, chunk.labels[place : place + width], strict=True)
                if number >= 0
            }
        )
        for place in range(0, len(chunk.labels), width)
    ]
