"""Rules of one's own, fingerprints and size limits hold their promises on any pattern, text and event."""

import json
import re
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from sonde.errors import ConfigError
from sonde.redaction import SecretRedactor, SecretRule
from sonde.redaction.linear import PatternError, compile_bytes

# Patterns and texts of one small alphabet, in which what JSON escapes is as common as what it doesn't.
ALPHABET = 'ab"\\\n\t\x01/é🔑 -_0'
ATOMS = st.one_of(
    st.sampled_from(list(ALPHABET)).map(lambda char: re.escape(char) if char.isascii() else char),
    st.sampled_from(
        [
            ".", r"\d", r"\w", r"\s", r"\S", r"\W", "[^a]", "[^\"']", "[ab]", r"[\\\"]", "[[:space:]]", "[^[:alpha:]]",
            r"\x0a", r"\x{e9}", r"\011", r"\pL", r"\p{Greek}", r"\PN", "[]a]", "[^]b]", r"[\]a]", r"\Qa\"b\E", r"\n",
            r"[é-ü]", "[a\\x01]", r"\"", "{", "{a}", "a{", "]",
        ]
    ),
)  # fmt: skip
ASSERTIONS = st.sampled_from(["^", "$", r"\b", r"\B", r"\A", r"\z", "(?:)"])
PATTERNS = st.recursive(
    ATOMS | ASSERTIONS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(inner, inner).map("|".join),
        inner.map(lambda one: f"(?:{one})"),
        inner.map(lambda one: f"({one})"),
        inner.map(lambda one: f"(?i:{one})"),
        inner.map(lambda one: f"(?ms){one}"),
        st.tuples(inner, st.sampled_from(["+", "?", "*", "{2}", "{1,}", "{0,2}", "+?"])).map(
            lambda t: f"(?:{t[0]}){t[1]}"
        ),
    ),
    max_leaves=6,
)
TEXTS = st.text(ALPHABET, max_size=12)


def rule_of(pattern: str) -> SecretRule:
    try:
        return SecretRule("own", pattern)
    except ConfigError:
        assume(False)
        raise


@given(PATTERNS, TEXTS)
def test_a_rule_is_refused_or_its_gate_sees_all_that_it_finds(pattern: str, text: str) -> None:
    """Whatever a pattern finds in a text, its wide form finds in the JSON of the text."""
    rule = rule_of(pattern)
    if rule.spans(text.encode()):
        gate = compile_bytes(rule.gate.encode(), utf8=True)
        assert gate.search(msgspec.json.encode(text)) is not None
        assert gate.search(json.dumps(text, ensure_ascii=False).encode()) is not None


@given(PATTERNS)
def test_only_what_re2_accepts_is_a_rule(pattern: str) -> None:
    """A pattern is accepted if RE2 compiles it and it can't match the empty text; widening itself never fails."""
    try:
        matches_nothing = compile_bytes(pattern.encode(), utf8=True).search(b"") is not None
    except PatternError:
        matches_nothing = True
    try:
        SecretRule("own", pattern)
        refusal = ""
    except ConfigError as error:
        refusal = str(error)
    assert not (matches_nothing and not refusal)
    assert matches_nothing or not refusal or "matches the empty text" in refusal


@given(PATTERNS, st.lists(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS, max_size=3), max_size=3), max_size=4))
def test_events_that_a_rule_changes_are_suspects(pattern: str, events: list[dict[str, Any]]) -> None:
    """With rules of one's own the prefilter is still sound, in a batch and alone."""
    redactor = SecretRedactor(rules=[rule_of(pattern)])
    changed = {index for index, data in enumerate(events) if redactor.redact(data) is not data}
    encoded = [msgspec.json.encode(data) for data in events]
    suspects = redactor.suspects(encoded)
    assert changed <= set(suspects)
    assert suspects == sorted(set(suspects))
    assert all(redactor.suspicious(encoded[index]) for index in changed)


@given(st.lists(st.tuples(st.sampled_from([0, 100, 3_000, 16_370, 16_384, 40_000]), st.booleans()), max_size=40))
def test_suspects_of_a_long_batch_are_found_wherever_they_stand(events: list[tuple[int, bool]]) -> None:
    """However a batch is looked at in parts, each event with a find in it is a suspect, and no other."""
    encoded = [msgspec.json.encode({"a": "." * size, "b": "EMP-123456" if hit else ""}) for size, hit in events]
    redactor = SecretRedactor(rules=[SecretRule("badge", "EMP-[0-9]{6}")])
    assert redactor.suspects(encoded) == [index for index, (_, hit) in enumerate(events) if hit]


@given(TEXTS, TEXTS)
def test_what_a_rule_finds_is_gone(before: str, after: str) -> None:
    """Whatever stands around a match, it leaves the text; a second look changes nothing."""
    redactor = SecretRedactor(rules=[SecretRule("badge", "EMP-[0-9]{6}")])
    once = redactor.redact_text(f"{before}EMP-123456{after}")
    assert "[REDACTED:badge]" in once
    assert "123456" not in once
    assert redactor.redact_text(once) is once


PIECES = st.sampled_from(
    ["password", "api_key", "token", "=", ": ", ":", '"', "'", "\\", " ", "\n", "hunter2", "swordfish", "curl -u ",
     "bob:", "@", "://", "https", "Bearer ", "Authorization: ", "Cookie: a=", "[REDACTED:token]",
     "[REDACTED:api_key:0a1b2c3d]", "[REDACTED:", "0a1b2c3d", "]", "a1B2c3D4e5F6g7H8i9J0k1L2",
     "--password ", "é", ",", "machine h login me password "]
)  # fmt: skip
LINES = st.lists(PIECES, max_size=10).map("".join)
PLAIN = SecretRedactor()
FINGERPRINTING = SecretRedactor(fingerprint_key=b"0123456789abcdef")


@given(LINES)
def test_fingerprints_are_no_secrets(text: str) -> None:
    """A text with fingerprinted markers comes back as the same object; the markers are where they always were."""
    once = FINGERPRINTING.redact_text(text)
    assert FINGERPRINTING.redact_text(once) is once
    assert PLAIN.redact_text(once) is once
    plain = re.sub(r"(\[REDACTED:[a-z0-9_]+):[0-9a-f]{8}\]", r"\1]", once)
    assert plain == re.sub(r"(\[REDACTED:[a-z0-9_]+):[0-9a-f]{8}\]", r"\1]", PLAIN.redact_text(text))


@given(st.text("aé🔑\n", max_size=6), st.integers(0, 200), LINES, st.integers(256, 700))
def test_a_cut_text_keeps_to_its_limit_and_says_what_it_was(text: str, times: int, line: str, limit: int) -> None:
    """No text is longer than the limit; size and note are those of the redacted text; a second cut finds nothing."""
    redactor = SecretRedactor(text_bytes_max=limit)
    given_text = f"{text * times}{line}{text * times}{line}"
    whole = PLAIN.redact_text(given_text)
    data = redactor.redact({"out": [given_text], "n": 1})
    cut = data["out"][0]
    assert len(cut.encode()) <= limit
    if cut != whole:
        assert data["$replaced"]["/out/0"].startswith(f"cut from {len(whole.encode())} bytes, blake2b-128 ")
        head, _, tail = re.split(r"\n(… [0-9,]+ bytes left out …)\n", cut, maxsplit=1)
        assert whole.startswith(head)
        assert whole.endswith(tail)
        left_out = int(re.findall(r"… ([0-9,]+) bytes left out …", cut)[0].replace(",", ""))
        assert left_out == len(whole.encode()) - len(head.encode()) - len(tail.encode())
        assert redactor.suspects([msgspec.json.encode({"out": [given_text]})]) == [0]
