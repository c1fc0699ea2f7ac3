"""Names of operations are the agent's own words: secrets in them are redacted before a profile leaves the sampler."""

from __future__ import annotations

from functools import cache, lru_cache

from sonde.profiling.profile import Labels
from sonde.redaction import SecretRedactor

_WORDED = ("operation", "tool", "thread")

MAX_LABEL_CHARS = 100
"""Of a label as it leaves the sampler. It is cut after the redaction: half of a secret has no shape to know it by."""


def redact_labels(labels: Labels) -> Labels:
    """The labels without secrets, cut to :data:`MAX_LABEL_CHARS`. Thread-safe.

    Not for a look: a search for patterns gives up the GIL.

    >>> redact_labels((("operation", "task log in as bob:hunter2@example.org"), ("tool", "none")))
    (('operation', 'task log in as bob:hunter2@example.org'), ('tool', 'none'))
    >>> redact_labels((("operation", "task clone https://bob:hunter2@example.org"),))
    (('operation', 'task clone https://bob:[REDACTED:password]@example.org'),)
    """
    return tuple([(key, _shown(key, value) if isinstance(value, str) else value) for key, value in labels])


def _shown(key: str, text: str) -> str:
    return (_redacted(text) if key in _WORDED else text)[:MAX_LABEL_CHARS]


@lru_cache(maxsize=4_096)
def _redacted(text: str) -> str:
    return _redactor().redact_text(text)


@cache
def _redactor() -> SecretRedactor:
    return SecretRedactor()
