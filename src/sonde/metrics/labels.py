"""Names and labels: what is allowed, and the key of a series, which no two label sets share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sonde.errors import ConfigError

Labels = Mapping[str, str]

NO_LABELS: Labels = MappingProxyType({})

OVERFLOW_LABELS: Labels = MappingProxyType({"overflow": "true"})
"""The labels of the series that takes what is past the limit of label sets."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPES = str.maketrans({char: "\\" + char for char in '\\,={}"'} | {"\n": "\\n", "\r": "\\r"})


def valid_name(name: Any) -> str:
    """``name`` itself, if a metric may have it; :class:`~sonde.errors.ConfigError` otherwise."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"cannot name a metric {name!r}: letters, digits, '_' and ':' are allowed, and no digit in front; "
            "put what varies into labels"
        )
    return name


def valid_labels(labels: Mapping[Any, Any] | None, *, reserved: frozenset[str] = frozenset()) -> Labels:
    """A copy of ``labels`` that nobody can change, sorted by name; :class:`~sonde.errors.ConfigError` if not allowed.

    Values are any text; lone surrogates, which no UTF-8 carries, become ``\\udc80`` and the like.
    """
    if not labels:
        return NO_LABELS
    if not isinstance(labels, Mapping):
        raise ConfigError(f"cannot use {labels!r} as labels: names and values are expected, as in {{'tool': 'search'}}")
    for name, value in labels.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name) or name in reserved:
            kept = f", and {', '.join(sorted(reserved))} is the metric's own" if reserved else ""
            raise ConfigError(
                f"cannot use label {name!r}: letters, digits and '_' are allowed, no digit and no '__' in front{kept}; "
                "rename it"
            )
        if not isinstance(value, str):
            raise ConfigError(f"cannot set label {name!r} to {value!r}: a string is expected; use str()")
    return MappingProxyType(
        {name: labels[name].encode("utf-8", "backslashreplace").decode() for name in sorted(labels)}
    )


def series_key(name: str, labels: Labels) -> str:
    r"""``name{k=v,k2=v2}``, sorted by label; in values ``\ , = { } "`` have a backslash in front, newlines are ``\n``.

    >>> series_key("calls", {})
    'calls'
    >>> series_key("calls", {"b": "2", "a": "1"})
    'calls{a=1,b=2}'
    >>> print(series_key("calls", {"a": "1,b=2"}))
    calls{a=1\,b\=2}
    """
    if not labels:
        return name
    return name + "{" + ",".join(f"{key}={labels[key].translate(_ESCAPES)}" for key in sorted(labels)) + "}"
