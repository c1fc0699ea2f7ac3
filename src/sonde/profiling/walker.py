"""Walker: from a thread's frame to a stack of numbers, cheaply enough to do it a hundred times a second."""

from __future__ import annotations

from types import CodeType, FrameType

from sonde.profiling.profile import Frame
from sonde.profiling.runners import NOT_SURE, Evidence, Finder, finder_of

MAX_DEPTH = 256
"""Frames of a stack that are kept, the innermost; those further out are one: ``[cut: deeper than 256 frames]``."""

MORE_CODE = Frame("[more code]")
"""Stands for lines that are met when :data:`MAX_LINES` are known."""

MAX_LINES = 100_000
"""Distinct lines that are told apart, some 25 MB: a recorder's sampler goes on for days, and code may be made anew."""

CUT = Frame(f"[cut: deeper than {MAX_DEPTH} frames]")

_MAX_CODES = 50_000  # programs that make code without end would otherwise be kept in memory by their profile

Stack = tuple[int, ...]


class _Code:
    """What is known of a code object. It is held, so that its id stays its own."""

    __slots__ = ("code", "finder", "lines")

    def __init__(self, code: CodeType, finder: Finder | None) -> None:
        self.code = code
        self.finder = finder
        self.lines: dict[int, int] = {}  # offset of the instruction → number of the frame


class Walk:
    """A stack, and what it shows about the context."""

    __slots__ = ("evidence", "root", "stack")

    def __init__(self, stack: Stack, evidence: Evidence | None, root: FrameType) -> None:
        self.stack = stack
        self.evidence = evidence
        self.root = root


class Walker:
    """Numbers frames, each line of each function once. For one thread at a time.

    Some 0.15 µs a frame that was seen before. Frames themselves are never kept; code objects are, until :meth:`forget`.
    """

    def __init__(self) -> None:
        self._codes: dict[int, _Code] = {}
        self._numbers: dict[Frame, int] = {}
        self.frames: list[Frame] = []
        self.number(CUT)
        self._more_code = self.number(MORE_CODE)

    def walk(self, leaf: FrameType) -> Walk:
        """The stack of a thread whose innermost frame is ``leaf``, innermost first. Must not raise for any frame."""
        stack: list[int] = []
        codes = self._codes
        evidence: Evidence | None = None
        frame: FrameType | None = leaf
        inner: FrameType | None = None
        root = leaf
        while frame is not None:
            code = frame.f_code
            known = codes.get(id(code))
            if known is None:
                known = self._learn(code, frame)
            number = known.lines.get(frame.f_lasti)
            if number is None:
                number = self._locate(known, frame)
            stack.append(number)
            if known.finder is not None and evidence is None:
                try:
                    evidence = known.finder(frame, inner)
                except Exception:  # noqa: BLE001 - the insides of other libraries, which change with their releases
                    evidence = NOT_SURE
            root = inner = frame
            frame = frame.f_back
        if len(stack) > MAX_DEPTH:
            stack[MAX_DEPTH:] = [0]
        return Walk(tuple(stack), evidence, root)

    def number_of(self, frame: FrameType) -> int:
        """The number of the line that a frame is at."""
        known = self._codes.get(id(frame.f_code)) or self._learn(frame.f_code, frame)
        number = known.lines.get(frame.f_lasti)
        return self._locate(known, frame) if number is None else number

    def number(self, frame: Frame) -> int:
        """The number of a frame, the same each time; that of :data:`MORE_CODE` for what is new past the bound."""
        number = self._numbers.get(frame)
        if number is None:
            if len(self.frames) >= MAX_LINES:
                return self._more_code
            number = self._numbers[frame] = len(self.frames)
            self.frames.append(frame)
        return number

    def stack_of(self, stack: Stack) -> tuple[Frame, ...]:
        """Numbers as frames again."""
        return tuple([self.frames[number] for number in stack])

    def forget(self) -> None:
        """Let go of all code objects. Numbers stay."""
        self._codes.clear()

    def _learn(self, code: CodeType, frame: FrameType) -> _Code:
        if len(self._codes) >= _MAX_CODES:
            self._codes.clear()
        known = self._codes[id(code)] = _Code(code, finder_of(frame))
        return known

    def _locate(self, known: _Code, frame: FrameType) -> int:
        code = known.code
        line = frame.f_lineno or 0
        number = self.number(Frame(code.co_qualname, code.co_filename, line, code.co_firstlineno))
        known.lines[frame.f_lasti] = number
        return number
