"""Position: a place in one store's order of commits."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from sonde.errors import ConfigError

_MAX_DIGITS = 19  # no store counts further, and Python refuses to read thousands


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where an event lies among all events of one store. Opaque; ordered within that store only.

    ``str(position)`` and :meth:`parse` carry it through files and URLs. Positions follow the order of commits: a reader
    that has seen one never finds an earlier event later. They are not contiguous.

    >>> Position.START < Position(7)
    True
    >>> Position.parse(str(Position(7))) == Position(7)
    True
    """

    value: int

    START: ClassVar[Position]
    """Before the first event of any store."""

    def __str__(self) -> str:
        return str(self.value)

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read what ``str(position)`` wrote.

        Raises:
            ConfigError: the text is no position.
        """
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
            raise ConfigError(f"cannot read position {text[:40]!r}: expected the digits that str(position) gave")
        return cls(int(text))


Position.START = Position(0)
