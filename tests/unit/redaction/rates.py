"""How often the redactor is wrong, both ways, on generated secrets and look-alikes.

`python tests/unit/redaction/rates.py` prints it. Everything is made at run time from a seed, so that no scanner takes
this file for a leak. Some rows are meant to fail: what neither a name nor a shape gives away is missed, and the table
says how much of it.
"""

import base64
import random
import string
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sonde.redaction import SecretRedactor

COUNT = 400
_ALNUM = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"
_WORDS = (  # noqa: SIM905  # a list would fill a page
    "the a of and to in is that for it with as on was are this be from by or an at not which but have you all one when "
    "there can more if no out so what up about into them then would now time look write day could go see number way "
    "people my than first water been call who oil find long down did get come made may part request response function "
    "return value index result error file path line model prompt answer message session user query search vector cache "
    "limit window price cost stream chunk batch retry deploy build release branch commit merge review test fixture"
).split()
_CODE = (  # noqa: SIM905  # as above
    "getElementById StringBuilder __init__ self.value sha256sum utf8 base64 x86_64 python3.11 v1.2.3 node_modules "
    "kubectl snake_case camelCase toString parseInt http2 ipv4 i18n a11y k8s torch.nn numpy.ndarray"
).split()
_PREFIXES = (
    ("gh" + "p_", 36), ("sk-" + "ant-api03-", 80), ("sk-" + "proj-", 60), ("gl" + "pat-", 20), ("npm" + "_", 36),
    ("hf" + "_", 34), ("xox" + "b-1234567890-", 24), ("AI" + "za", 35), ("gsk" + "_", 52), ("whsec" + "_", 32),
)  # fmt: skip
_NAMES = (
    "password", "db_password", "apiKey", "X-Api-Key", "client_secret", "AWS_SECRET_ACCESS_KEY", "refreshToken",
    "privateKey", "connection_string", "smtp_pass", "auth-token", "OPENAI_API_KEY",
)  # fmt: skip
_NEUTRAL = (
    "id",
    "sha",
    "digest",
    "trace_id",
    "etag",
    "request_id",
    "color",
    "path",
    "name",
    "text",
    "content",
    "author",
)


class Row(NamedTuple):
    """A family of secrets or look-alikes, and how many of them the redactor got wrong."""

    family: str
    of: int
    wrong: int

    def __str__(self) -> str:
        return f"| {self.family} | {self.of} | {100 * self.wrong / self.of:.1f} % |"


def _text(rng: random.Random, alphabet: str, length: int) -> str:
    return "".join(rng.choices(alphabet, k=length))


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(_WORDS, k=count))


def _weak(rng: random.Random) -> str:
    return rng.choice(_WORDS) + rng.choice((str(rng.randrange(10_000)), "!", "-" + rng.choice(_WORDS)))


def _issued(rng: random.Random) -> str:
    return rng.choice(
        (
            _text(rng, _ALNUM, rng.randint(12, 48)), _text(rng, _HEX, rng.choice((16, 32, 40, 64))),
            base64.urlsafe_b64encode(rng.randbytes(24)).decode(), str(uuid.UUID(int=rng.getrandbits(128))),
        )
    )  # fmt: skip


def _shaped(rng: random.Random) -> str:
    prefix, length = rng.choice(_PREFIXES)
    return prefix + _text(rng, _ALNUM, length)


Secret = Callable[[random.Random], tuple[dict[str, Any], str]]
SECRETS: dict[str, Secret] = {
    "a provider's key in a sentence": lambda rng: (
        {"text": f"{_words(rng, 8)} {(s := _shaped(rng))} {_words(rng, 5)}"}, s),
    "anything under a secret's name, as data": lambda rng: ({"args": [{rng.choice(_NAMES): (s := _weak(rng))}]}, s),
    "the same as JSON in a text": lambda rng: (
        {"body": f'{{"user": "bob", "{rng.choice(_NAMES)}": "{(s := _issued(rng))}"}}'}, s),
    "on a command line": lambda rng: (
        {"command": rng.choice(("deploy --password {}", "export DB_PASSWORD={}", "curl -u bob:{} https://x.example",
                                "mysql -u bob -p{} db", "git clone https://bob:{}@x.example/r"))
         .format(s := _issued(rng))}, s),
    "in a header": lambda rng: (
        {"text": rng.choice(("Authorization: Bearer {}", "X-Api-Key: {}", "Cookie: session={}", "Authorization: {}"))
         .format(s := _text(rng, _ALNUM, 32))}, s),
    "issued, under `token` alone": lambda rng: ({"token": (s := _issued(rng))}, s),
    "a weak one, under `token` alone": lambda rng: ({"token": (s := _weak(rng))}, s),
    "a password in a sentence": lambda rng: (
        {"text": f"{_words(rng, 4)} the password is {(s := _issued(rng))} now"}, s),
    "random, with no name or shape": lambda rng: ({"note": f"{_words(rng, 4)} {(s := _issued(rng))}"}, s),
}  # fmt: skip
LOOKALIKES: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "sentences": lambda rng: {"text": _words(rng, 40)},
    "sentences about secrets": lambda rng: {
        "text": f"{_words(rng, 3)} {rng.choice(('the password', 'an api key', 'a token', 'the secret', 'cookies'))} "
                f"{rng.choice(('is', 'was', 'of', 'for', 'and'))} {_words(rng, 6)}"},
    "hashes, UUIDs and ids under other names": lambda rng: {rng.choice(_NEUTRAL): _issued(rng)},
    "numbers of tokens": lambda rng: {
        rng.choice(("input_tokens", "max_tokens", "token_count", "tokens", "token")): rng.randrange(100_000)},
    "models' tokens, streamed": lambda rng: {
        "token": rng.choice(("", " ")) + rng.choice((*_WORDS, *_CODE, str(rng.randrange(1_000)), "\n", "()", "日本", "://"))},
    "code that handles secrets": lambda rng: {
        "code": rng.choice(("password = os.environ['{0}']", "client = Client(api_key={0}.key)", "if token == {0}:",
                            "def login(password: str, {0}: int)", "token = get_token({0})", "API_KEY=${0}",
                            "password: ${{{0}}}")).format(rng.choice(_WORDS))},
    "base64 of pictures": lambda rng: {
        "image": "data:image/png;base64," + base64.b64encode(rng.randbytes(600)).decode()},
    "addresses": lambda rng: {
        "url": f"https://{rng.choice(_WORDS)}.example:8443/{rng.choice(_WORDS)}/{_text(rng, _HEX, 12)}?page=7"},
}  # fmt: skip


def missed(redactor: SecretRedactor) -> Iterator[Row]:
    """Secrets that are still there."""
    for family, make in SECRETS.items():
        rng = random.Random(f"secrets {family}")
        made = [make(rng) for _ in range(COUNT)]
        yield Row(family, COUNT, sum(secret in str(redactor.redact(data)) for data, secret in made))


def alarmed(redactor: SecretRedactor) -> Iterator[Row]:
    """Look-alikes that were changed."""
    for family, make in LOOKALIKES.items():
        rng = random.Random(f"look-alikes {family}")
        made = [make(rng) for _ in range(COUNT)]
        yield Row(family, COUNT, sum(redactor.redact(data) is not data for data in made))


def tables() -> str:
    """Both tables, as docs/redaction.md has them."""
    redactor = SecretRedactor()
    lines = ["| secrets | of | missed |", "| --- | --- | --- |", *map(str, missed(redactor)), ""]
    lines += ["| look-alikes | of | replaced |", "| --- | --- | --- |", *map(str, alarmed(redactor)), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(tables())
