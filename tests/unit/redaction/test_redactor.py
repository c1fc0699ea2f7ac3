"""The redactor on a corpus of secrets and look-alikes, and on text made to hurt it."""

import dataclasses
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from sonde.redaction import NoRedactor, Redactor, SecretRedactor, SecretRule
from sonde.redaction.linear import compile_bytes


def _corpus() -> ModuleType:
    spec = importlib.util.spec_from_file_location("redaction_corpus", Path(__file__).with_name("corpus.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CORPUS = _corpus()
REDACTOR = SecretRedactor()
PASSWORD = "hunter" + "2"


def encoded(data: Any) -> bytes:
    return msgspec.json.encode(data)


def test_no_secret_of_the_corpus_is_missed() -> None:
    """The rate of missed secrets in the corpus is 0, in texts, in whole events, and for the prefilter."""
    texts = [(text, gone) for text, gone in CORPUS.TEXTS if gone in REDACTOR.redact_text(text)]
    events = [data for data, gone in CORPUS.EVENTS if gone in encoded(REDACTOR.redact(data)).decode()]
    unmarked = [text for text, _ in CORPUS.TEXTS if "[REDACTED:" not in REDACTOR.redact_text(text)]
    unseen = [text for text, _ in CORPUS.TEXTS if not REDACTOR.suspicious(encoded({"deep": [{"text": text}]}))]
    unseen += [data for data, _ in CORPUS.EVENTS if not REDACTOR.suspicious(encoded(data))]
    assert (texts, events, unmarked, unseen) == ([], [], [], [])


def test_no_lookalike_of_the_corpus_is_touched() -> None:
    """The rate of false alarms in the corpus is 0: ids, counts, prose, code and placeholders stay."""
    texts = [
        (text, REDACTOR.redact_text(text)) for text in CORPUS.LOOKALIKE_TEXTS if REDACTOR.redact_text(text) != text
    ]
    events = [(data, REDACTOR.redact(data)) for data in CORPUS.LOOKALIKE_EVENTS if REDACTOR.redact(data) is not data]
    assert (texts, events) == ([], [])


def test_redacting_the_corpus_again_changes_nothing() -> None:
    """What redaction put in place is no secret."""
    assert [
        text for text, _ in CORPUS.TEXTS if REDACTOR.redact_text(once := REDACTOR.redact_text(text)) is not once
    ] == []


def test_text_around_a_secret_stays() -> None:
    """A reader still sees the command, the user and the host, and what kind of secret stood there."""
    command = f"curl -u bob:{PASSWORD} -H 'X-Api-Key: {PASSWORD}' https://bob:{PASSWORD}@db.example/x?limit=5"
    assert REDACTOR.redact_text(command) == (
        "curl -u bob:[REDACTED:password] -H 'X-Api-Key: [REDACTED:api_key]' "
        "https://bob:[REDACTED:password]@db.example/x?limit=5"
    )


def test_what_was_clean_is_shared_with_the_copy() -> None:
    """A redacted copy reuses the parts that held nothing."""
    clean = {"lines": ["a"]}
    data = {"clean": clean, "password": "x"}
    assert REDACTOR.redact(data)["clean"] is clean
    assert data["password"] == "x"


def test_two_secret_keys_of_a_kind_stay_two_entries() -> None:
    """Keys that hold secrets are redacted without one entry replacing the other."""
    data = {"gh" + "p_" + letter * 36: number for number, letter in enumerate("ab")}
    assert REDACTOR.redact(data) == {"[REDACTED:github_token]": 0, "[REDACTED:github_token]#2": 1}


def test_what_a_marker_says_in_a_key_is_not_the_name_of_a_secret() -> None:
    """Redacting again changes nothing: the word that a key's marker ends with isn't the end of a name."""
    once = SecretRedactor().redact({"BEARER 00000A": "0"})
    assert once == {"BEARER [REDACTED:bearer]": "0"}
    assert SecretRedactor().redact(once) is once


def test_keys_of_ones_own() -> None:
    """`keys` adds names, numbers under them included; `keep_keys` takes names out."""
    redactor = SecretRedactor(keys=["ssn", "date_of_birth"], keep_keys=["token"])
    data = {"customerSsn": 123456789, "DATE-OF-BIRTH": "1970-01-01", "token": " the", "access_token": "x", "lessn": 1}
    expected = {"customerSsn": "[REDACTED:custom]", "DATE-OF-BIRTH": "[REDACTED:custom]", "token": " the",
                "access_token": "[REDACTED:token]", "lessn": 1}  # fmt: skip
    assert redactor.suspicious(encoded({"customerSsn": 123456789}))
    assert redactor.redact(data) == expected
    assert redactor.redact_text("ssn=123-45-6789") == "ssn=[REDACTED:custom]"


@pytest.mark.parametrize("key", ["", "--", "naïve", 'a"b', "a\\b", "a\nb"])
def test_an_impossible_key_is_refused(key: str) -> None:
    """A key that the prefilter couldn't see in JSON is an error that names the remedy."""
    with pytest.raises(ValueError, match=r"cannot redact by key .* rename"):
        SecretRedactor(keys=[key])


def test_the_json_that_the_prefilter_reads() -> None:
    """Only quotes, backslashes and control characters are escaped by msgspec: the form that gates are written for."""
    every = "".join(map(chr, range(0x80))) + "é\u2028🔑"
    escaped = {char for char in every if encoded(char) != f'"{char}"'.encode()}
    assert escaped == {'"', "\\", *map(chr, range(0x20))}
    assert encoded({"a": [1, None]}) == b'{"a":[1,null]}'


def test_counts_pass_the_prefilter() -> None:
    """A model call's event is the commonest with `token` in it, and costs no walk."""
    data = {"model": "m", "input_tokens": 5, "output_tokens": 6, "max_token": 7, "token_count": 3, "tokens": 9}
    assert not REDACTOR.suspicious(encoded(data))
    assert REDACTOR.suspects([encoded(data)] * 3 + [encoded({"password": PASSWORD})] + [encoded(data)]) == [3]


def test_no_redactor_changes_nothing() -> None:
    """The switched-off redactor has the same interface and lets all pass."""
    off = NoRedactor()
    data = {"password": PASSWORD}
    assert isinstance(off, Redactor)
    assert isinstance(REDACTOR, Redactor)
    assert not off.suspicious(encoded(data))
    assert off.suspects([encoded(data)]) == []
    assert off.redact(data) is data
    assert off.redact_text(PASSWORD) == PASSWORD


@pytest.mark.parametrize("place", [0, 65_535 - 20, 65_536, 131_072 - 1, 1_000_000 - 60])
def test_a_secret_anywhere_in_a_megabyte_is_found(place: int) -> None:
    """Long text is one scan: no boundary exists at which a secret could hide."""
    token = "gh" + "p_" + "a1B2c3D4e5" * 4
    filler = "lorem ipsum " * 90_000
    text = f"{filler[:place]} {token} {filler[place:1_000_000]}é"
    assert REDACTOR.suspicious(encoded({"output": text}))
    result = REDACTOR.redact_text(text)
    assert token not in result
    assert len(result) == len(text) - len(token) + len("[REDACTED:github_token]")


@pytest.mark.parametrize(
    "piece",
    ["password:", "password=", "token=token=", 'token_count="\\', "token_count:", "authorization:",
    "Authorization: Bearer ", "cookie:a=",
     "cookie:...=", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\nAb: c", "://a:", "://:x@",
     "eyJaaaaaaaaaa.", "curl -u a:", "curl ",
     "--password ", "--token --", "mysql ", "a", "aA1_-.", "\\", '\\"', "'", "[REDACTED:token]=", "bearer ", "sk-",
     "key-", "api_", "password",
     "https://a", "https://aaaaaaaaaaaaaaaaaaaa@", "machine a login ", "machine a login b ", "'pin': ", '"otp":"'],
)  # fmt: skip
def test_hostile_text_costs_linear_work(piece: str) -> None:
    """The bytes that all searches look at grow with the text, not with its square."""
    costs = [_bytes_searched(piece * (size // len(piece))) / size for size in (20_000, 80_000)]
    assert costs[1] < 2 * costs[0] + 10


def test_a_rule_that_reads_ahead_costs_linear_work() -> None:
    """A pattern that reads to the end for each find gets an allowance that grows with the text; the rest goes whole."""
    costs = []
    for size in (200_000, 800_000):
        rule = SecretRule("own", "x[^y]*y|x")
        counting = _ReadingAhead(rule._compiled)
        object.__setattr__(rule, "_compiled", counting)
        spans = rule.spans(b"x" * size, clock_ns=lambda counting=counting: counting.total_bytes)
        costs.append(counting.total_bytes / size)
        assert spans[-1] == (len(spans) - 1, size, "unsearched")
    assert costs[1] < 2 * costs[0]


def test_suspects_of_a_rule_that_reads_ahead_cost_linear_work() -> None:
    """The prefilter doesn't read the whole batch again for each suspect in it."""
    costs = []
    for count in (2_000, 8_000):
        prefilter = SecretRedactor(rules=[SecretRule("own", "x[^y]*y|x")])._prefilter
        counting = _ReadingAhead(prefilter._gates[1])
        prefilter._gates = (prefilter._gates[0], counting)
        assert prefilter.suspects([b'{"a":"' + b"x" * 100 + b'"}'] * count) == list(range(count))
        costs.append(counting.total_bytes / count)
    assert costs[1] < 2 * costs[0]


class _ReadingAhead:
    """Counts from each search's start to the end of what it is given: the most that it can have read."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.total_bytes = 0

    def search(self, raw: bytes, pos: int = 0, endpos: int | None = None) -> Any:
        end = len(raw) if endpos is None else endpos
        self.total_bytes += end - pos
        return self._inner.search(raw, pos, end)


class _CountingDict(dict[str, Any]):
    """Counts what is looked for in it."""

    looks = 0

    def __contains__(self, key: object) -> bool:
        self.looks += 1
        return super().__contains__(key)


def test_many_secret_keys_of_a_kind_cost_linear_work() -> None:
    """The number for the next one isn't looked for from the beginning."""
    data = _CountingDict({f"gh{'p_'}{number:036}": number for number in range(2_000)})
    redacted = REDACTOR.redact(data)
    assert len(redacted) == 2_000
    assert "[REDACTED:github_token]#2000" in redacted
    assert data.looks < 4 * 2_000


@pytest.mark.parametrize("redactor", [REDACTOR, SecretRedactor(fingerprints=True)], ids=["plain", "fingerprints"])
def test_depth_under_a_secrets_name_is_no_error(redactor: SecretRedactor) -> None:
    """What is nested deeper than the interpreter may recurse is one secret like any other."""
    deep: Any = ["x"]
    for _ in range(50_000):
        deep = [deep]
    try:
        assert next(iter(redactor.redact({"password": deep}).values())).startswith("[REDACTED:password")
    finally:
        while deep:  # from outside in: freed at once, it would be as deep
            deep = deep.pop() if isinstance(deep, list) else None


def test_containers_that_differ_have_different_fingerprints() -> None:
    """Shape, names and values count; a tuple is the list that JSON makes of it."""
    redactor = SecretRedactor(fingerprints=True)
    values: list[Any] = [["a", "b"], ["ab"], [["a"], "b"], [["a", "b"]], {"a": "b"}, {"a": ["b"]}, [1, "a"], ["1", "a"]]
    assert len({redactor.redact({"password": value})["password"] for value in values}) == len(values)
    pair = redactor.redact({"password": ("a", "b")})
    assert pair == redactor.redact({"password": ["a", "b"]})


def _bytes_searched(text: str) -> int:
    """Count from each search's start to where it ended: its match, or the end of the text."""
    redactor = SecretRedactor()
    total = 0

    class Counting:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def search(self, raw: bytes, pos: int = 0) -> Any:
            nonlocal total
            match = self._inner.search(raw, pos)
            total += (len(raw) if match is None else match.end()) - pos
            return match

    rules = []
    for rule in redactor._rules:
        if hasattr(rule, "_pattern"):
            rule._pattern = Counting(rule._pattern)
            rules.append(rule)
        else:
            rules.append(dataclasses.replace(rule, pattern=Counting(rule.pattern)))
    redactor._rules = tuple(rules)
    redactor.redact_text(text)
    return total


def test_scans_run_without_the_gil() -> None:
    """Another thread runs while a long text is scanned, though nothing forces the GIL over."""
    text = b"lorem ipsum " * 6_000_000
    pattern = compile_bytes(rb"(?i)zzzz[a-z]{3}qqq|password")
    started, finished = threading.Event(), threading.Event()

    def scan() -> None:
        started.set()
        pattern.search(text)
        finished.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        thread = threading.Thread(target=scan)
        thread.start()
        started.wait()
        ran_meanwhile = not finished.is_set()
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert ran_meanwhile


def test_text_that_no_utf8_can_carry_raises_nothing() -> None:
    """Lone surrogates, very deep nesting and odd types are the sanitiser's work; without it nothing breaks here."""
    deep: Any = {"password": "x"}
    for _ in range(300):
        deep = [deep]
    assert "\ud800" in REDACTOR.redact_text("\ud800 password=" + PASSWORD)
    assert "'x'" not in str(REDACTOR.redact({"deep": deep}))
    assert REDACTOR.redact({"pair": ("--password", "x"), "other": (b"1",)}) == {
        "pair": ("--password", "[REDACTED:password]"),
        "other": (b"1",),
    }
