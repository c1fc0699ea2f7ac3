"""Redaction: secrets leave an event before it reaches disk or wire."""

from sonde.redaction.redactor import NoRedactor, Redactor, SecretRedactor
from sonde.redaction.rule import SecretRule

__all__ = ["NoRedactor", "Redactor", "SecretRedactor", "SecretRule"]
