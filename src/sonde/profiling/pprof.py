"""The pprof format, written and read: gzipped ``profile.proto``, which ``go tool pprof`` and most viewers take."""

from __future__ import annotations

import gzip
import zlib

from sonde.errors import ProfileError
from sonde.profiling.profile import Frame, Labels, Profile, Sample, ValueType
from sonde.profiling.wire import Message, fields_of, integers_in, signed

# Field numbers. Source: profile.proto of github.com/google/pprof.
_SAMPLE_TYPE, _SAMPLE, _MAPPING, _LOCATION, _FUNCTION, _STRING = 1, 2, 3, 4, 5, 6
_TIME, _DURATION, _PERIOD_TYPE, _PERIOD, _COMMENT, _DEFAULT_TYPE = 9, 10, 11, 12, 13, 14

_MAPPING_NAME = "python"
_COMPRESSION = 6
_MAX_EXPANDED_BYTES = 1 << 30


def to_pprof(profile: Profile) -> bytes:
    """The profile as a ``.pb.gz`` file. Equal profiles give equal bytes.

    Blocks for some 2 ms for a thousand stacks of thirty frames. Lone surrogates in names become question marks.

    >>> work = Frame("work", "agent.py", 12)
    >>> profile = Profile(sample_types=(ValueType("samples", "count"),), samples=(Sample((work,), (3,)),))
    >>> from_pprof(to_pprof(profile)) == profile
    True
    """
    return gzip.compress(_Writer(profile).encode(), _COMPRESSION, mtime=0)


def from_pprof(content: bytes) -> Profile:
    """Read a ``.pb.gz`` file, or its content unzipped. Inlined lines become frames; addresses are left out.

    Raises:
        ProfileError: it is no profile.
    """
    try:
        if content[:2] == b"\x1f\x8b":
            content = _expanded(content)
        return _Reader(content).profile()
    except (ValueError, IndexError, KeyError, TypeError, EOFError, OSError, zlib.error) as error:
        raise ProfileError(
            f"cannot read a profile of {len(content)} bytes: {type(error).__name__}: {error}; expected pprof's format, "
            "as start_cpu_profile('cpu.pb.gz') writes it"
        ) from None


def _expanded(content: bytes) -> bytes:
    """A small file can expand to more than the memory holds."""
    inflating = zlib.decompressobj(wbits=31)
    expanded = inflating.decompress(content, _MAX_EXPANDED_BYTES)
    if not inflating.eof:
        raise ValueError(f"it is cut off, or holds more than {_MAX_EXPANDED_BYTES} bytes")
    return expanded


class _Writer:
    """One profile on its way into bytes: each string, function and location once."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[tuple[str, str, int], int] = {}
        self._locations: dict[Frame, int] = {}
        self._tables = Message()

    def encode(self) -> bytes:
        profile, message = self._profile, Message()
        for one in profile.sample_types:
            message.block(_SAMPLE_TYPE, self._value_type(one))
        for sample in profile.samples:
            message.block(_SAMPLE, self._sample(sample))
        mapping = Message()  # viewers that find none take the functions for missing symbols
        mapping.integer(1, 1)
        mapping.integer(5, self._string(_MAPPING_NAME))
        for has in (7, 8, 9):  # functions, file names, line numbers
            mapping.integer(has, 1)
        message.block(_MAPPING, mapping.encode())
        message.integer(_TIME, profile.time_ns)
        message.integer(_DURATION, profile.duration_ns)
        if profile.period_type is not None:
            message.block(_PERIOD_TYPE, self._value_type(profile.period_type))
        message.integer(_PERIOD, profile.period)
        message.integers(_COMMENT, [self._string(comment) for comment in profile.comments])
        message.integer(_DEFAULT_TYPE, self._string(profile.default_sample_type))
        for text in self._strings:  # last, when all are known; the order of fields is free
            self._tables.block(_STRING, text.encode("utf-8", "replace"))
        return message.encode() + self._tables.encode()

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _value_type(self, one: ValueType) -> bytes:
        message = Message()
        message.integer(1, self._string(one.type))
        message.integer(2, self._string(one.unit))
        return message.encode()

    def _sample(self, sample: Sample) -> bytes:
        message = Message()
        message.integers(1, [self._location(frame) for frame in sample.stack])
        message.integers(2, sample.values)
        for key, value in sample.labels:
            label = Message()
            label.integer(1, self._string(key))
            if isinstance(value, str):
                label.integer(2, self._string(value))
            else:
                label.integer(3, value)
                label.integer(4, self._string(self._profile.label_units.get(key, "")))
            message.block(3, label.encode())
        return message.encode()

    def _location(self, frame: Frame) -> int:
        known = self._locations.get(frame)
        if known is not None:
            return known
        number = self._locations[frame] = len(self._locations) + 1  # 0 is reserved
        line, location = Message(), Message()
        line.integer(1, self._function(frame))
        line.integer(2, frame.line)
        location.integer(1, number)
        location.integer(2, 1)  # the one mapping
        location.block(4, line.encode())
        self._tables.block(_LOCATION, location.encode())
        return number

    def _function(self, frame: Frame) -> int:
        key = (frame.function, frame.file, frame.first_line)
        known = self._functions.get(key)
        if known is not None:
            return known
        number = self._functions[key] = len(self._functions) + 1
        message = Message()
        message.integer(1, number)
        message.integer(2, self._string(frame.function))
        message.integer(3, self._string(frame.function))
        message.integer(4, self._string(frame.file))
        message.integer(5, frame.first_line)
        self._tables.block(_FUNCTION, message.encode())
        return number


class _Reader:
    """The fields of a message, sorted, since tables may follow what refers to them."""

    def __init__(self, content: bytes) -> None:
        self._numbers: dict[int, int] = {}
        self._blocks: dict[int, list[bytes]] = {}
        self._comments: list[int] = []
        for field, value in fields_of(content):
            if field == _COMMENT:
                self._comments += integers_in(value)
            elif isinstance(value, int):
                self._numbers[field] = signed(value)
            else:
                self._blocks.setdefault(field, []).append(value)
        self._strings = [text.decode("utf-8", "replace") for text in self._blocks.get(_STRING, [b""])]
        self._functions = {one[1]: one for one in map(_numbers_of, self._blocks.get(_FUNCTION, []))}
        self._frames = dict(map(self._location, self._blocks.get(_LOCATION, [])))
        self._units: dict[str, str] = {}

    def profile(self) -> Profile:
        types = tuple(map(self._value_type, self._blocks.get(_SAMPLE_TYPE, [])))
        samples = tuple(map(self._sample, self._blocks.get(_SAMPLE, [])))
        if not types or any(len(sample.values) != len(types) for sample in samples):
            raise ValueError(f"{len(types)} sample types for samples of another number of values")
        periods = self._blocks.get(_PERIOD_TYPE)
        return Profile(
            sample_types=types,
            samples=samples,
            period_type=self._value_type(periods[-1]) if periods else None,
            period=self._numbers.get(_PERIOD, 0),
            time_ns=self._numbers.get(_TIME, 0),
            duration_ns=self._numbers.get(_DURATION, 0),
            default_sample_type=self._strings[self._numbers.get(_DEFAULT_TYPE, 0)],
            comments=tuple(self._strings[comment] for comment in self._comments),
            label_units=self._units,
        )

    def _value_type(self, content: bytes) -> ValueType:
        numbers = _numbers_of(content)
        return ValueType(self._strings[numbers.get(1, 0)], self._strings[numbers.get(2, 0)])

    def _sample(self, content: bytes) -> Sample:
        locations: list[int] = []
        values: list[int] = []
        labels: list[tuple[str, str | int]] = []
        for field, value in fields_of(content):
            if field == 1:
                locations += integers_in(value)
            elif field == 2:
                values += integers_in(value)
            elif field == 3 and isinstance(value, bytes):
                labels.append(self._label(value))
        stack = tuple(frame for location in locations for frame in self._frames[location])
        found: Labels = tuple(sorted(labels, key=lambda label: label[0]))
        return Sample(stack, tuple(values), found)

    def _label(self, content: bytes) -> tuple[str, str | int]:
        numbers = _numbers_of(content)
        key = self._strings[numbers.get(1, 0)]
        if 3 in numbers or 4 in numbers:
            if numbers.get(4):
                self._units[key] = self._strings[numbers[4]]
            return key, numbers.get(3, 0)
        return key, self._strings[numbers.get(2, 0)]

    def _location(self, content: bytes) -> tuple[int, tuple[Frame, ...]]:
        number, frames = 0, []
        for field, value in fields_of(content):
            if field == 1 and isinstance(value, int):
                number = value
            elif field == 4 and isinstance(value, bytes):
                line = _numbers_of(value)
                function = self._functions[line[1]]
                frames.append(
                    Frame(
                        self._strings[function.get(2, 0)],
                        self._strings[function.get(4, 0)],
                        line.get(2, 0),
                        function.get(5, 0),
                    )
                )
        return number, tuple(frames)


def _numbers_of(content: bytes) -> dict[int, int]:
    return {field: signed(value) for field, value in fields_of(content) if isinstance(value, int)}
