"""Policy: whose rules take a program's secrets out, as far as another process must know that."""

from __future__ import annotations

from enum import StrEnum

from sonde.redaction.redactor import NoRedactor, Redactor


class Policy(StrEnum):
    """Of one program."""

    NONE = "none"
    """It writes its secrets as they are."""
    DEFAULT = "default"
    """sonde's rules."""
    OWN = "own"
    """Rules that it alone has."""


def policy_of(redactor: Redactor | None) -> Policy:
    """What a redactor is; ``None`` stands for sonde's own.

    >>> policy_of(None), policy_of(NoRedactor())
    (<Policy.DEFAULT: 'default'>, <Policy.NONE: 'none'>)
    """
    if redactor is None:
        return Policy.DEFAULT
    return Policy.NONE if isinstance(redactor, NoRedactor) else Policy.OWN
