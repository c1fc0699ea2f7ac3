"""Redaction: secrets leave an event before it reaches disk or wire."""

from sonde.redaction.redactor import NoRedactor, Redactor, SecretRedactor

__all__ = ["NoRedactor", "Redactor", "SecretRedactor"]
