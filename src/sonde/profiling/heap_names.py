"""HeapNames: which function a line belongs to, since tracemalloc tells files and lines alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib.machinery import SourceFileLoader
from types import CodeType

from sonde.profiling.profile import Frame


class HeapNames:
    """Makes frames of files and lines.

    A file's compiled form is read once, in some 0.5 ms, or 10 ms while allocations are traced; therefore only the
    functions around the lines asked for are looked at. A file that is not there any more, or was none (``<string>``),
    gives frames named for file and line. For one thread, and for a short time: it keeps the code.
    """

    def __init__(self) -> None:
        self._codes: dict[str, CodeType | None] = {}
        self._frames: dict[tuple[str, int], Sequence[Frame]] = {}
        self._lines: dict[int, frozenset[int | None]] = {}  # by id: code objects compare by all that they hold

    def stack(self, lines: Iterable[tuple[str, int]]) -> tuple[Frame, ...]:
        """The frames of a stack, given and returned with the innermost first.

        Where a line has several functions (a comprehension, a lambda, and what is around them), frames that follow each
        other on it are these, from the innermost outwards.
        """
        stack = []
        before, depth = None, 0
        for place in lines:
            depth = depth + 1 if place == before else 0
            before = place
            frames = self._frames.get(place)
            if frames is None:
                frames = self._frames[place] = self._look_up(*place)
            stack.append(frames[depth % len(frames)])
        return tuple(stack)

    def _look_up(self, file: str, line: int) -> Sequence[Frame]:
        if file not in self._codes:
            self._codes[file] = _code_of(file)
        code = self._codes[file]
        found = [] if code is None else self._around(code, line)
        if not found:
            return [Frame(f"{file.rpartition('/')[2]}:{line}", file, line)]
        return [
            Frame(getattr(one, "co_qualname", one.co_name), file, line, one.co_firstlineno) for one in reversed(found)
        ]

    def _around(self, code: CodeType, line: int) -> list[CodeType]:
        """The code objects that have the line, outermost first."""
        found = [code] if line in self._lines_of(code) else []
        inner = [one for one in code.co_consts if isinstance(one, CodeType) and one.co_firstlineno <= line]
        if not inner:
            return found
        # The last that begins before the line, and those that begin with it; other siblings do not reach so far.
        latest = max(one.co_firstlineno for one in inner)
        for one in inner:
            if one.co_firstlineno == latest and not self._is_definition(one, line):
                below = self._around(one, line)
                if below:
                    return found + below
        return found

    def _is_definition(self, code: CodeType, line: int) -> bool:
        """Whether the line is a ``def`` whose body is elsewhere: the function around it makes the object there."""
        if line != code.co_firstlineno or code.co_name.startswith("<"):
            return False
        return not self._lines_of(code) <= {line, None}

    def _lines_of(self, code: CodeType) -> frozenset[int | None]:
        lines = self._lines.get(id(code))
        if lines is None:
            lines = self._lines[id(code)] = frozenset(line for _, _, line in code.co_lines())
        return lines


class _QuietLoader(SourceFileLoader):
    """Compiles what has no compiled form, and leaves nothing behind."""

    def set_data(self, *_: object, **__: object) -> None:
        """Don't write a ``.pyc``."""


def _code_of(file: str) -> CodeType | None:
    if not os.path.isfile(file):  # a program that came through a pipe: reading it would wait for ever
        return None
    try:
        return _QuietLoader("sonde_heap_names", file).get_code("sonde_heap_names")
    except (OSError, SyntaxError, ValueError, ImportError, EOFError, TypeError, RecursionError, MemoryError):
        return None
