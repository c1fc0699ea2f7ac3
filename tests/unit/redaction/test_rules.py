"""Rules of one's own, whole keys, fingerprints and size limits, case by case."""

from typing import Any

import msgspec
import pytest

import sonde
from sonde.errors import ConfigError
from sonde.redaction import SecretRedactor, SecretRule

PASSWORD = "hunter" + "2"
KEY = b"0123456789abcdef"


def mark(data: dict[str, Any], redactor: SecretRedactor) -> str:
    """The only value of the redacted data."""
    return next(iter(redactor.redact(data).values()))


def test_a_rule_finds_in_texts_and_keys() -> None:
    """The whole match goes, wherever it stands; numbers are no texts."""
    redactor = SecretRedactor(rules=[SecretRule("employee", r"\bEMP-[0-9]{6}\b")])
    data = {"who": "EMP-123456, EMP-1234567", "EMP-654321": [1, 'say "EMP-111111"\n'], "n": 123456}
    assert redactor.redact(data) == {
        "who": "[REDACTED:employee], EMP-1234567",
        "[REDACTED:employee]": [1, 'say "[REDACTED:employee]"\n'],
        "n": 123456,
    }


def test_a_group_named_secret_is_all_that_goes() -> None:
    """What stands around it stays readable."""
    redactor = SecretRedactor(rules=[SecretRule("badge", "(?i)(?:badge|card) no (?P<secret>[0-9]+)")])
    assert redactor.redact_text("Badge no 17, card no 4") == "Badge no [REDACTED:badge], card no [REDACTED:badge]"


def test_a_rule_sees_what_json_escapes() -> None:
    """Quotes, line ends and anchors hide nothing from the prefilter."""
    redactor = SecretRedactor(rules=[SecretRule("note", '^note="[^"]+"\n$')])
    data = {"text": 'note="abc"\n'}
    assert redactor.suspects([msgspec.json.encode(data)]) == [0]
    assert redactor.redact(data) == {"text": "[REDACTED:note]"}


def test_a_rule_counts_characters_and_not_bytes() -> None:
    """A dot is a character of any script, and a match ends where one ends."""
    redactor = SecretRedactor(rules=[SecretRule("name", "<.>|[é-ü]{2}")])
    assert redactor.redact_text("<é>, öü, <éé>") == "[REDACTED:name], [REDACTED:name], <[REDACTED:name]>"


def test_a_rule_that_would_match_markers_leaves_them() -> None:
    """What redaction put in place is no text for a rule."""
    redactor = SecretRedactor(rules=[SecretRule("word", "[A-Z]{4,}"), SecretRule("all", "(?s).+")])
    assert redactor.redact_text("LOUD") == "[REDACTED:word]"
    assert redactor.redact_text("[REDACTED:token] quiet") == "[REDACTED:token][REDACTED:all]"


def test_what_costs_too_much_to_search_goes_as_a_whole() -> None:
    """A text in which each find reads all that is left is given up in time, and the reader sees it."""
    redactor = SecretRedactor(rules=[SecretRule("own", "x[^y]*y|x")])
    text = redactor.redact_text("x" * 400_000)
    assert text.endswith("[REDACTED:own][REDACTED:unsearched]")
    assert "x" not in text
    assert len(text) < 400_000


def test_many_finds_of_a_rule_are_no_reason_to_give_up() -> None:
    """What ordinary finds may take grows with their number."""
    rule = SecretRule("employee", r"\bEMP-[0-9]+\b")
    text = b"EMP-123456 " * 100_000
    assert len(rule.spans(text)) == 100_000
    assert {kind for _, _, kind in rule.spans(text)} == {"employee"}


@pytest.mark.parametrize(
    ("name", "pattern", "said"),
    [
        ("employee", "(?=x)", "invalid perl operator"),
        ("employee", r"(a)\1", "look-around"),
        ("employee", "(", "missing )"),
        ("employee", "x*", "also matches the empty text; say what each match has"),
        ("employee", r"\bx?\b", "also matches the empty text"),
        ("employee", r"\Cx", "matches single bytes; match characters instead"),
        ("employee", "x{1001}", "invalid repetition size"),
        ("employee", r"(?:(?:[^a]{100}){10})[^a]{1000}" * 30, "too large"),
        ("employee", "\ud800", "lone surrogate"),
        ("employee", b"x", "it is of type bytes; give the pattern as a text"),
        ("Employee", "x", "lower-case letters"),
        ("", "x", "rename the rule"),
        (5, "x", "rename the rule"),
    ],
)
def test_a_rule_that_cannot_work_names_pattern_and_remedy(name: Any, pattern: Any, said: str) -> None:
    """What is wrong is known when the recorder is made, in one line."""
    with pytest.raises(ConfigError) as caught:
        SecretRule(name, pattern)
    text = str(caught.value)
    assert said in text
    assert repr(name) in text
    assert "; " in text
    assert "\n" not in text


def test_what_is_no_rule_is_refused() -> None:
    """A bare pattern has no name to put in its place; a text has letters and no names."""
    with pytest.raises(ConfigError, match="expected a SecretRule"):
        SecretRedactor(rules=["EMP-[0-9]+"])  # type: ignore[list-item]  # what the test is about
    with pytest.raises(ConfigError, match=r"write \['ssn'\]"):
        SecretRedactor(keys="ssn")
    with pytest.raises(ConfigError, match="expected a name"):
        SecretRedactor(keep_keys=[5])  # type: ignore[list-item]  # as above


def test_a_whole_key_is_no_segment() -> None:
    """=NAME finds a key of that name alone, however it is spelt."""
    redactor = SecretRedactor(keys=["=customer code", "=token"])
    data = {"customerCode": 12, "CUSTOMER_CODE": "x", "customer_code_2": "x", "code": "x", "token": " the", "tokens": 5}
    expected = {"customerCode": "[REDACTED:custom]", "CUSTOMER_CODE": "[REDACTED:custom]", "customer_code_2": "x",
                "code": "x", "token": "[REDACTED:custom]", "tokens": 5}  # fmt: skip
    assert redactor.suspicious(msgspec.json.encode({"customerCode": 12}))
    assert redactor.redact(data) == expected
    assert redactor.redact_text("customer_code=abc") == "customer_code=[REDACTED:custom]"


def test_equal_secrets_have_equal_fingerprints() -> None:
    """The same secret is marked alike wherever and under whatever name it stands; others are not."""
    redactor = SecretRedactor(fingerprints=True)
    first = mark({"password": PASSWORD}, redactor)
    assert first.startswith("[REDACTED:password:")
    assert len(first) == len("[REDACTED:password:12345678]")
    assert mark({"password": PASSWORD}, redactor) == first != mark({"password": "swordfish"}, redactor)
    assert redactor.redact_text(f"export DB_PASSWORD={PASSWORD}") == f"export DB_PASSWORD={first}"
    assert mark({"api_key": PASSWORD}, redactor)[-9:] == first[-9:]
    assert mark({"password": 12345}, redactor) == mark({"password": "12345"}, redactor)


def test_without_the_key_a_fingerprint_says_nothing() -> None:
    """Each redactor has a key of its own unless one is given; then it is the same in every process."""
    assert mark({"pin": "1234"}, SecretRedactor(fingerprints=True)) != mark(
        {"pin": "1234"}, SecretRedactor(fingerprints=True)
    )
    known = "[REDACTED:pin:8d009e9a]"
    assert mark({"pin": "1234"}, SecretRedactor(fingerprint_key=KEY)) == known
    assert mark({"pin": "1234"}, SecretRedactor(fingerprint_key=KEY.decode())) == known
    with pytest.raises(ConfigError, match=r"key of 15 bytes: expected at least 16"):
        SecretRedactor(fingerprint_key=KEY[1:])


def test_a_cut_text_is_listed_with_its_size() -> None:
    """The true size and a hash are on record beside what the sanitiser lists; a list of the user's own stays."""
    redactor = SecretRedactor(text_bytes_max=300)
    data = redactor.redact({"a/b": {"c": ["x" * 1_000]}, "short": "y", "$replaced": {"/r": "NaN as text"}})
    assert list(data["$replaced"]) == ["/r", "/a~1b/c/0"]
    assert data["$replaced"]["/a~1b/c/0"].startswith("cut from 1000 bytes, blake2b-128 ")
    own = redactor.redact({"x": "x" * 301, "$replaced": 5})
    assert (own["$replaced"], list(own["$$replaced"])) == (5, ["/x"])
    clean = {"x": "x" * 300}
    assert redactor.redact(clean) is clean
    encoded = [msgspec.json.encode({"x": "x" * size}) for size in (10, 301, 20)]
    assert (redactor.suspects(encoded), redactor.suspicious(encoded[1])) == ([1], True)
    with pytest.raises(ConfigError, match="to 10 bytes: expected at least 256"):
        SecretRedactor(text_bytes_max=10)


def test_a_secret_is_found_before_its_text_is_cut() -> None:
    """A cut through a secret can't hide half of it, nor one through its marker the fact."""
    secret = "ghp" + "_" + "a1B2c3D4e5" * 4
    for before in range(120, 200):
        text = SecretRedactor(text_bytes_max=256).redact_text("." * before + f" {secret} " + "." * 1_000)
        assert "a1B2" not in text
        assert ("[REDACTED:github_token]" in text) == ("[REDACTED" in text)


def test_a_recorder_takes_the_rules() -> None:
    """Through record() they hold for everything that it writes."""
    redactor = SecretRedactor(rules=[SecretRule("employee", "EMP-[0-9]+")], keys=["ssn"], text_bytes_max=256)
    with sonde.record(":memory:", session_id="s", redactor=redactor) as rec:
        rec.emit("note", who="EMP-12", ssn=123456789, long="x" * 1_000)
        rec.flush()
        (note,) = rec.store.read_by_type("s", "note")
    assert (note.data["who"], note.data["ssn"]) == ("[REDACTED:employee]", "[REDACTED:custom]")
    assert "bytes left out" in note.data["long"]
