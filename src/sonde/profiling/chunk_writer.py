"""ChunkWriter: one profile after the other as data of events, each within so many bytes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

import msgspec

from sonde.errors import ConfigError
from sonde.events.text import clean_text
from sonde.profiling.chunk import MORE_STACKS, ChunkData
from sonde.profiling.profile import Frame, Labels, Profile, Sample

LEAST_CHUNK_BYTES = 4 * 1024
REDEFINE_NS = 300 * 1_000_000_000

_MAX_NODES = 50_000
_MAX_TEXT_CHARS = 200
_MAX_ENTRIES = 8  # comments, and units of labels
_SPAN_LABELS = frozenset({"span", "span_id"})  # the first to go: each operation has its own

K = TypeVar("K")

_Values = tuple[int, ...]
_Sums = dict[tuple[tuple[Frame, ...], Labels], _Values]

_MISSING = object()
_encode = msgspec.json.Encoder().encode


class ChunkWriter:
    """Turns profiles of consecutive stretches of time into data of ``sonde.profile`` events. For one thread.

    Stacks are defined once, and again when ``redefine_ns`` of the profiles' time have passed or 50,000 nodes are
    defined. Takes some 2 ms for a thousand stacks.

    >>> from sonde.profiling.profile import ValueType, labels_of
    >>> sample = Sample((Frame("work", "agent.py", 12, 10),), (3,), labels_of({"tool": "grep"}))
    >>> profile = Profile(sample_types=(ValueType("samples", "count"),), samples=(sample,), time_ns=1)
    >>> writer = ChunkWriter()
    >>> data = writer.write(profile, max_bytes=4096)
    >>> data["functions"], data["nodes"], data["label_keys"], data["label_texts"], data["labels"], data["rows"]
    (['work', 0, 10], [0, 0, 12], ['tool'], ['grep'], [0], [1, 0, 3])
    >>> data = writer.write(profile, max_bytes=4096)
    >>> data["functions"], data["nodes"], data["rows"]
    ([], [], [1, 0, 3])
    """

    def __init__(self, *, redefine_ns: int = REDEFINE_NS) -> None:
        """Begin with nothing defined."""
        self._redefine_ns = redefine_ns
        self._tables = _Tables(0)

    def write(self, profile: Profile, *, max_bytes: int) -> dict[str, object]:
        """The data of the next event, at most ``max_bytes`` as JSON.

        What does not fit is left out in this order: span labels; stacks, the rarest first, which become ``[more
        stacks]`` with their labels; the labels of the rarest label sets. No value is left out: the sums are those of
        the profile.

        Raises:
            ConfigError: ``max_bytes`` is less than 4 KiB.
        """
        if max_bytes < LEAST_CHUNK_BYTES:
            raise ConfigError(
                f"cannot write a chunk of {max_bytes} bytes: expected {LEAST_CHUNK_BYTES} or more; raise max_bytes"
            )
        age_ns = profile.time_ns - self._tables.began_ns
        if not 0 <= age_ns < self._redefine_ns or len(self._tables.nodes) > _MAX_NODES:
            self._tables = _Tables(profile.time_ns)
        return _Chunk(self._tables, profile, max_bytes).data()


class _Tables:
    """What is defined under one name."""

    def __init__(self, began_ns: int) -> None:
        self.name = os.urandom(8).hex()
        self.began_ns = began_ns
        self.files: dict[str, int] = {}
        self.functions: dict[tuple[str, int, int], int] = {}
        self.nodes: dict[tuple[int, int, int], int] = {}
        self.of_frames: dict[Frame, int] = {}  # the functions once more, found without making their texts again


class _Chunk:
    """One chunk while it is made. Room is taken by the exact length of what is added, and one for its comma."""

    def __init__(self, tables: _Tables, profile: Profile, max_bytes: int) -> None:
        self._tables = tables
        self._profile = profile
        self._known = (len(tables.files), len(tables.functions), len(tables.nodes))
        self._files: list[str] = []
        self._functions: list[str | int] = []
        self._nodes: list[int] = []
        self._rows: list[int] = []
        self._totals = _total(profile.samples, len(profile.sample_types))
        self._keys = sorted({_text(key) for sample in profile.samples for key, _ in sample.labels})
        self._room_bytes = max_bytes - len(_encode(self._chunk([], omitted=max(self._totals, default=0))))

    def data(self) -> dict[str, object]:
        """Fill it: the heaviest stacks first."""
        sums = self._labelled()
        numbers = {labels: number for number, labels in enumerate(dict.fromkeys(labels for _, labels in sums))}
        self._room_bytes -= self._labels_bytes(numbers)
        more: dict[Labels, _Values] = {}
        for (stack, labels), values in sorted(sums.items(), key=lambda item: self._weight(item[1]), reverse=True):
            node = self._node(stack, beside_bytes=_bytes_of(numbers[labels], *values))
            if node is None:
                more[labels] = _added(more.get(labels), values)
            else:
                self._rows += (node, numbers[labels], *values)
        if more:
            self._room_bytes += self._more_bytes()
            rest = self._node((MORE_STACKS,), beside_bytes=0)
            for labels, values in more.items():
                self._rows += (rest or 0, numbers[labels], *values)
        omitted = sum(values[0] for values in more.values() if values)
        built: dict[str, object] = msgspec.to_builtins(self._chunk(numbers, omitted=omitted))
        return built

    def _chunk(self, labels: Collection[Labels], *, omitted: int) -> ChunkData:
        profile = self._profile
        period_type = profile.period_type
        values = dict.fromkeys(value for one in labels for _, value in one)
        texts: dict[object, int] = {value: number for number, value in enumerate(values)}
        return ChunkData(
            time_ns=profile.time_ns,
            duration_ns=profile.duration_ns,
            sample_types=[(_text(one.type), _text(one.unit)) for one in profile.sample_types],
            default_sample_type=_text(profile.default_sample_type),
            period_type=None if period_type is None else (_text(period_type.type), _text(period_type.unit)),
            period=profile.period,
            comments=[_text(comment) for comment in profile.comments[:_MAX_ENTRIES]],
            label_units={_text(key): _text(unit) for key, unit in [*profile.label_units.items()][:_MAX_ENTRIES]},
            definitions=self._tables.name,
            known=self._known,
            files=self._files,
            functions=self._functions,
            nodes=self._nodes,
            label_keys=self._keys,
            label_texts=[*values],
            labels=[texts.get(dict(one).get(key, _MISSING), -1) for one in labels for key in self._keys],
            rows=self._rows,
            omitted=omitted,
        )

    def _labelled(self) -> _Sums:
        """The samples by stack and labels, with as many labels as fit into half of the room."""
        half_bytes = self._room_bytes // 2
        sums = _sums_of(self._profile.samples, without=frozenset())
        if self._labels_bytes({labels for _, labels in sums}) > half_bytes:
            sums = _sums_of(self._profile.samples, without=_SPAN_LABELS)
        weights: dict[Labels, _Values] = {}
        for (_, labels), values in sums.items():
            weights[labels] = _added(weights.get(labels), values)
        kept: set[Labels] = {()}
        seen: set[str | int] = set()
        used_bytes = self._labels_bytes(kept)
        for labels in sorted(weights, key=lambda labels: self._weight(weights[labels]), reverse=True):
            used_bytes += self._label_bytes(labels, seen)
            if used_bytes > half_bytes:
                break
            kept.add(labels)
        if kept.issuperset(weights):
            return sums
        merged: _Sums = {}
        for (stack, labels), values in sums.items():
            key = stack, labels if labels in kept else ()
            merged[key] = _added(merged.get(key), values)
        return merged

    def _weight(self, values: _Values) -> float:
        """Its shares of all types together: neither CPU time alone nor waiting alone decides what may stay."""
        return sum(value / total for value, total in zip(values, self._totals, strict=True) if total)

    def _labels_bytes(self, labels: Iterable[Labels]) -> int:
        """What label sets take, each with a row of its own for the stacks that there may be no room for."""
        seen: set[str | int] = set()
        return self._more_bytes() + sum(self._label_bytes(one, seen) for one in labels)

    def _label_bytes(self, labels: Labels, seen: set[str | int]) -> int:
        """The same of one, beside those whose values were ``seen``."""
        new = {value for _, value in labels} - seen
        seen |= new
        # A node has at most as many digits as there may be nodes, a label set as there may be samples.
        samples = len(self._profile.samples)
        row_bytes = _bytes_of(_MAX_NODES * 10, samples, *self._totals)
        numbers_bytes = len(self._keys) * max(len("-1,"), _bytes_of(samples * len(self._keys)))
        return numbers_bytes + row_bytes + sum(len(_encode(value)) + 1 for value in new)

    def _more_bytes(self) -> int:
        """What the definition of [more stacks] takes at most."""
        return len(_encode(["", MORE_STACKS.function])) + _bytes_of(*(_MAX_NODES * 10,) * 5)

    def _node(self, stack: tuple[Frame, ...], *, beside_bytes: int) -> int | None:
        """The number of a stack's innermost node, defined now if it was not; ``None`` if there is no room for that."""
        tables = self._tables
        files: dict[str, int] = {}
        functions: dict[tuple[str, int, int], int] = {}
        nodes: dict[tuple[int, int, int], int] = {}
        of_frames: dict[Frame, int] = {}
        node = 0
        for frame in reversed(stack):
            function = tables.of_frames.get(frame)
            if function is None:
                file = _number(_text(frame.file), tables.files, files, first=0)
                key = _text(frame.function), file, frame.first_line
                function = of_frames[frame] = _number(key, tables.functions, functions, first=0)
            node = _number((node, function, frame.line), tables.nodes, nodes, first=1)
        needed_bytes = beside_bytes + _bytes_of(node)
        needed_bytes += sum(len(_encode(file)) + 1 for file in files)
        needed_bytes += sum(len(_encode(name)) + 1 + _bytes_of(*rest) for name, *rest in functions)
        needed_bytes += sum(_bytes_of(*parts) for parts in nodes)
        if needed_bytes > self._room_bytes:
            return None
        self._room_bytes -= needed_bytes
        tables.files.update(files)
        tables.functions.update(functions)
        tables.nodes.update(nodes)
        tables.of_frames.update(of_frames)
        self._files += files
        self._functions += [part for parts in functions for part in parts]
        self._nodes += [part for parts in nodes for part in parts]
        return node


def _number(key: K, known: Mapping[K, int], new: dict[K, int], *, first: int) -> int:
    number = known.get(key)
    if number is None:
        number = new.get(key)
    if number is None:
        number = new[key] = first + len(known) + len(new)
    return number


def _sums_of(samples: Iterable[Sample], *, without: frozenset[str]) -> _Sums:
    sums: _Sums = {}
    for sample in samples:
        labels = tuple(
            (_text(key), _text(value) if isinstance(value, str) else value)
            for key, value in sample.labels
            if key not in without
        )
        key = sample.stack, labels
        sums[key] = _added(sums.get(key), sample.values)
    return sums


def _added(found: _Values | None, values: _Values) -> _Values:
    return values if found is None else tuple(map(int.__add__, found, values))


def _total(samples: Iterable[Sample], types: int) -> _Values:
    totals = (0,) * types
    for sample in samples:
        totals = _added(totals, sample.values)
    return totals


def _bytes_of(*numbers: int) -> int:
    return sum(len(str(number)) + 1 for number in numbers)


def _text(text: str) -> str:
    return clean_text(text, _MAX_TEXT_CHARS)
