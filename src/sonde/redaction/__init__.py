"""Redaction: secrets leave an event before it reaches disk or wire."""

from sonde.redaction.policy import Policy, policy_of
from sonde.redaction.redactor import NoRedactor, Redactor, SecretRedactor
from sonde.redaction.rule import SecretRule

__all__ = ["NoRedactor", "Policy", "Redactor", "SecretRedactor", "SecretRule", "policy_of"]
