"""Policy: whose rules take a program's secrets out, as far as another process must know that."""

from __future__ import annotations

from enum import StrEnum

from sonde.redaction.redactor import NoRedactor, Redactor, SecretRedactor


class Policy(StrEnum):
    """Of one program."""

    NONE = "none"
    """It writes its secrets as they are."""
    DEFAULT = "default"
    """sonde's rules."""
    OWN = "own"
    """A redactor of its own, which nobody else has."""


def policy_of(redactor: Redactor | None) -> Policy:
    """What a redactor is; ``None`` stands for sonde's own.

    >>> policy_of(NoRedactor()), policy_of(SecretRedactor()), policy_of(SecretRedactor(keys=["badge"]))
    (<Policy.NONE: 'none'>, <Policy.DEFAULT: 'default'>, <Policy.OWN: 'own'>)
    """
    if redactor is None:
        return Policy.DEFAULT
    if isinstance(redactor, NoRedactor):
        return Policy.NONE
    is_default = type(redactor) is SecretRedactor and redactor.is_default
    return Policy.DEFAULT if is_default else Policy.OWN
