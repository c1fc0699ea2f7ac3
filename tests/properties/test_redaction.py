"""Redaction holds its promises on any JSON, wherever a secret stands in it, and however hostile the text is."""

import copy
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.redaction import SecretRedactor
from sonde.redaction.linear import compile_bytes

REDACTOR = SecretRedactor()
TOKEN = "gh" + "p_" + "a1B2c3D4e5" * 4
# Pieces that rules care about, glued in any order, reach far more of them than free text does.
PIECES = st.sampled_from(
    ["password", "token", "api", "key", "_", "-", "--", "=", ": ", ":", '"', "'", "\\", '\\"', "\n", "\t", "\x01",
    " ", "x", "hunter2", "swordfish",
     "curl ", "-u ", "bob:", "@", "://", "Bearer ", "basic ", "Authorization", "cookie", "sk-",
     "a1B2c3D4e5F6g7H8i9J0k1L2", "eyJ", ".", "AKIA",
     "A2B3C4D5E6F7G2H3", "[REDACTED:token]", "[REDACTED:", "]", "-----BEGIN PRIVATE KEY-----",
     "-----END PRIVATE KEY-----", "mysql -p", "{", "}", ",",
     "é", "\u2028", "\u017f", "\u212a", "🔑", "$", "*", "sshpass", "pass", "db", "secret", "5", "%20", "\\n",
     "\x1b[1m", "key-",
     "0123456789abcdef" * 2]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
FLAGS = st.sampled_from(
    [
        "curl",
        "-u",
        "bob:hunter2",
        "--password",
        "--token",
        "5",
        "mysql",
        "-px",
        "sshpass",
        "-p",
        "--password=x",
        "API_KEY",
        "value",
    ]
)
JSON = st.recursive(
    SCALARS | FLAGS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(TEXTS | st.sampled_from(["name", "value", "token", "password", "type"]), inner, max_size=5)
    ),
    max_leaves=20,
)
DATA = st.dictionaries(TEXTS, JSON, max_size=5)


def encoded(data: Any) -> bytes:
    return msgspec.json.encode(data)


def encodable(data: Any) -> bool:
    try:
        encoded(data)
    except (UnicodeEncodeError, ValueError):
        return False
    return True


@given(DATA)
def test_redaction_is_idempotent(data: dict[str, Any]) -> None:
    """A redacted event comes back as the same object: nothing in it looks like a secret any more."""
    once = REDACTOR.redact(data)
    assert REDACTOR.redact(once) is once


@given(DATA)
def test_input_stays_as_it_was(data: dict[str, Any]) -> None:
    """Redaction never changes the event that it was given, and never raises."""
    before = copy.deepcopy(data)
    REDACTOR.redact(data)
    assert data == before


@given(DATA.filter(encodable))
def test_an_unsuspicious_event_would_stay_as_it_is(data: dict[str, Any]) -> None:
    """The prefilter is sound: what it lets pass, redact returns as the same object."""
    if not REDACTOR.suspicious(encoded(data)):
        assert REDACTOR.redact(data) is data
    if not REDACTOR.suspicious(json.dumps(data, ensure_ascii=False).encode()):
        assert REDACTOR.redact(data) is data


@given(st.lists(DATA.filter(encodable), max_size=6))
def test_every_event_that_redact_would_change_is_among_the_suspects(events: list[dict[str, Any]]) -> None:
    """Suspects of a batch are found by index, wherever in the batch they stand."""
    changed = {index for index, data in enumerate(events) if REDACTOR.redact(data) is not data}
    suspects = REDACTOR.suspects([encoded(data) for data in events])
    assert changed <= set(suspects)
    assert suspects == sorted(set(suspects))


def _hide(data: Any, secret: Any, draw: Any) -> Any:
    if isinstance(data, dict) and data and draw(st.booleans()):
        key = draw(st.sampled_from(list(data)))
        return {**data, key: _hide(data[key], secret, draw)}
    if isinstance(data, list) and draw(st.booleans()):
        index = draw(st.integers(0, len(data)))
        return [*data[:index], secret, *data[index:]]
    return {"hidden": secret, "rest": data}


@given(st.data())
def test_a_secret_is_gone_wherever_it_stood(data: st.DataObject) -> None:
    """A token inside a text, and a value under a secret's name, leave the JSON at any depth, between any neighbours."""
    before, after = data.draw(TEXTS), data.draw(TEXTS)
    secret = data.draw(st.sampled_from([f"{before} {TOKEN} {after}", {"password": "Tr0ub4dor&3"}, {TOKEN: 1}]))
    event = _hide(data.draw(DATA), secret, data.draw)
    result = str(REDACTOR.redact(event))
    assert TOKEN not in result
    assert "Tr0ub4dor&3" not in result


@given(TEXTS)
def test_every_find_holds_a_literal_and_passes_the_gate(text: str) -> None:
    """Each rule's finds contain one of its literals, and its gate matches the JSON of the text."""
    raw = text.encode("utf-8", "replace")
    lowered = raw.lower()
    for rule in REDACTOR._rules:
        if rule.spans(raw):
            assert any(literal in lowered for literal in rule.literals), rule
            assert compile_bytes(rule.gate).search(encoded(raw.decode())) is not None, rule


@pytest.mark.parametrize(
    "row", [rule for rule in REDACTOR._rules if hasattr(rule, "pattern")], ids=lambda row: row.literals[0].decode()
)
def test_every_shape_keeps_to_its_literals(row: Any) -> None:
    """Whatever a row's pattern matches contains one of its literals and passes its gate, in JSON too."""
    source = row.pattern.pattern.decode("latin-1").replace(r"\z", r"\Z")
    gate = compile_bytes(row.gate)

    @given(
        st.from_regex(re.compile(re.sub(r"\(\?i:([^()]*)\)", lambda m: f"(?:{m[1]}|{m[1].upper()})", source), re.ASCII))
    )
    def check(text: str) -> None:
        raw = text.encode("utf-8", "replace")
        match = row.pattern.search(raw)
        if match is not None:
            assert any(literal in (match.group(0) or b"").lower() for literal in row.literals)
            assert gate.search(encoded(raw.decode())) is not None

    check()
