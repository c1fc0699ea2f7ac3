"""Which key names hold a secret: by whole segments of the name, never by substring."""

import re
from collections.abc import Iterable
from functools import lru_cache

from sonde.errors import ConfigError

__all__ = ["CODE_GATE", "CODE_KINDS", "SEPARATOR", "KeyRules", "segments"]

# What may stand between the segments of a name. Quotes, backslashes, control characters and non-ASCII are no
# separators: JSON may write them as escapes, and the prefilter, which reads JSON, must see a name as this file does.
SEPARATOR = r"[ !#-/:-@\[\]-`{-~]"
_CHUNK = re.compile(r"[^ !#-/:-@\[\]-`{-~]+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^A-Za-z0-9]+")
_NAME_CHARS_MAX = 128  # only the tail of a longer key is read: the noun is at its end


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TERMS: dict[str, str] = {  # kind -> the names that mean it, segments divided by blanks
    "password": "password|passwords|passwd|passphrase|passcode|pass word|pass phrase",
    "secret": "secret|secrets",
    "token": "token|access tokens|auth tokens|api tokens|refresh tokens|bearer tokens|session tokens",
    "api_key": "api key|api keys|apikey|access key|access keys|subscription key|functions key|license key"
    "|deploy key|auth key",
    "private_key": "private key|private keys|ssh key|ssh keys|signing key|encryption key|decryption key"
    "|master key|pem key|account key|storage key|shared key|secret key",
    "credentials": "credential|credentials|creds",
    "authorization": "authorization|proxy authorization",
    "cookie": "cookie|cookies|set cookie|set cookies",
    "connection_string": "connection string|connection strings|connection str|conn string|conn str",
}
# `pass` and `pwd` alone are a test's verdict and a working directory; after one of these they are a password.
_PASS_OWNERS = _words(
    "db database sql mysql pg postgres redis mongo smtp imap mail email ftp sftp ssh sudo root admin user login http "
    "proxy basic auth api app ldap amqp rabbitmq wifi vpn keystore truststore key store ansible become vault git"
)
# Fused spellings end in one of these (dbpassword, clientsecret, pgpassword).
_FUSED_ENDINGS = ("password", "passwd", "passphrase", "secret", "apikey", "accesstoken", "authtoken", "refreshtoken",
                  "sessiontoken", "idtoken", "bearertoken", "privatekey", "secretkey", "connectionstring")  # fmt: skip
# A name that goes on with one of these speaks about the secret; it doesn't hold it.
_NEUTRAL_AFTER = _words(
    "count counts counter limit limits length len size type types usage used budget rate cost price name names file "
    "files path paths dir stdin env var field fields label labels policy expiry expires expired expiration ttl at age "
    "created updated rotated required enabled disabled present valid manager arn url uri endpoint index position prob "
    "probs logprob logprobs min max per remaining generator provider kind status format prefix placeholder "
    "description domain scanning detected found redacted class window estimate estimates stats attempts ids number "
    "num total ratio saved savings throughput"
)
_NEUTRAL_BEFORE = _words("no has is ask skip prompt without public")
_TOKEN_NEUTRAL_BEFORE = _NEUTRAL_BEFORE | _words(  # kinds of text tokens, and the cursors of paged interfaces
    "max min num number total next previous prev page continuation sync first last stop eos bos pad unk sep cls mask "
    "special per cancellation input output completion reasoning thinking cached count current unexpected"
)
# Short names that mean a secret only where they end a key, and only if its value is text: a number is a GPIO pin.
CODE_KINDS = _words("bearer otp pin")
_CODE_AFTER = _words("code value")
_CODE_NEUTRAL_BEFORE = _NEUTRAL_BEFORE | _words("version dependency package image map led gpio input output board drop")
# In JSON: a key that code_kind could know, with text under it.
CODE_GATE = (
    rb"(?:[^A-Za-z](?i:bearer|otp|pin)|Bearer|BEARER|Otp|OTP|Pin|PIN)"
    rb'(?:[^a-z"\\]|\\.|(?i:code|value))*"\s*:\s*"'
)
_ID_AFTER = frozenset(("token", "api_key"))  # token_id and access_key_id are names; secret_id is a secret


@lru_cache(maxsize=4096)
def segments(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split a name into lower-case segments, twice: at separators and case changes, and at separators alone.

    >>> segments("x-apiKey")
    (('x', 'api', 'key'), ('x', 'apikey'))
    """
    chunks = _CHUNK.findall(name)
    camel = [part.lower() for chunk in chunks for part in _CAMEL.findall(chunk)]
    return tuple(camel), tuple(chunk.lower() for chunk in chunks)


def _term(words: str) -> tuple[str, ...]:
    return tuple(words.split())


def _builtin_terms() -> dict[tuple[str, ...], str]:
    terms = {_term(words): kind for kind, names in _TERMS.items() for words in names.split("|")}
    terms.update({(owner, word): "password" for owner in _PASS_OWNERS for word in ("pass", "pwd")})
    return terms


def _cover(terms: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Drop each term that holds another one inside a segment: a text without the shorter has not the longer."""
    unique = sorted(set(terms), key=lambda term: (len(term), len("".join(term)), term))
    singles = [term[0] for term in unique if len(term) == 1]
    return [t for t in unique if not any(s in segment for s in singles for segment in t if (s,) != t)]


def _shortest(texts: Iterable[str]) -> tuple[str, ...]:
    unique = sorted(set(texts), key=lambda text: (len(text), text))
    return tuple(text for index, text in enumerate(unique) if not any(short in text for short in unique[:index]))


class KeyRules:
    """Decides whether a key's name says that its value is a secret.

    A name is split at separators (``_``, ``-``, ``.``, blanks, other ASCII punctuation) and at case changes; the rules
    look for whole segments, so ``author`` is no ``auth`` and ``tokenizer`` no ``token``. A name that goes on with a
    neutral word (``token_count``, ``password_file``) or has one before (``max_token``, ``public_key``) is no secret.

    Thread-safety: immutable but for a bounded cache that is safe under threads. Cost: 0.1 µs for a name seen before,
    some 5 µs for a new one; never blocks. Loss: only the last 128 characters of a key are read. Errors: ``ConfigError``
    for an extra key without an ASCII letter or digit, or with a quote, backslash, control or non-ASCII character.

    A key that begins with ``=`` is compared whole: ``=code`` finds ``Code`` and not ``country_code``. Keys to keep
    always are.

    >>> rules = KeyRules(keys=["ssn"], keep_keys=["csrf_token"])
    >>> rules.kind("dbPassword"), rules.kind("customer.SSN"), rules.kind("prompt_tokens"), rules.kind("csrf_token")
    ('password', 'custom', None, None)
    """

    def __init__(self, *, keys: Iterable[str] = (), keep_keys: Iterable[str] = ()) -> None:
        self._terms = _builtin_terms()
        keys, keep_keys = _listed(keys), _listed(keep_keys)
        whole = [_checked(key) for key in keys if key.startswith("=")]
        self._whole = frozenset("".join(key) for key in whole)
        self._terms.update(dict.fromkeys((_checked(key) for key in keys if not key.startswith("=")), "custom"))
        self._keep = frozenset("".join(_checked(key)) for key in keep_keys)
        cover = _cover((*self._terms, *whole))
        self._custom_cover = (*whole, *(term for term, kind in self._terms.items() if kind == "custom"))
        self._longest = max(len(term) for term in self._terms)
        self._terms.update({("".join(term),): kind for term, kind in list(self._terms.items())})
        self.literals = _shortest({term[-1] for term in cover})
        self._cover = cover
        self._cached = lru_cache(maxsize=4096)(self._classify)
        self._cached_code = lru_cache(maxsize=4096)(self._classify_code)

    def kind(self, name: str) -> str | None:
        """Return what the name holds (``"password"``, ``"token"``, …), or None.

        >>> KeyRules().kind("X-Api-Key")
        'api_key'
        """
        tail = name[-_NAME_CHARS_MAX:]
        found = None if "[REDACTED:" in tail else self._cached(tail)
        return found[0] if found else None

    def is_of_texts(self, name: str) -> bool:
        """Tell whether this is ``token`` alone, which is a name for pieces of text as well as for what services issue.

        >>> [KeyRules().is_of_texts(name) for name in ("token", "Token", "auth_token")]
        [True, True, False]
        """
        return segments(name[-_NAME_CHARS_MAX:])[0] == ("token",) and self.kind(name) == "token"

    def code_kind(self, name: str) -> str | None:
        """Return what text under this key is, for names too short to look for in free text; else None.

        >>> rules = KeyRules()
        >>> [rules.code_kind(name) for name in ("otp", "userPin", "pin_code", "pinned", "otp_type", "otpauth")]
        ['otp', 'pin', 'pin', None, None, None]
        """
        tail = name[-_NAME_CHARS_MAX:]
        return None if "[REDACTED:" in tail else self._cached_code(tail)

    def holds_number(self, name: str) -> bool:
        """Tell whether a number under this name is a secret too (a numeric password, a custom key; not a token count).

        >>> KeyRules().holds_number("password"), KeyRules().holds_number("token")
        (True, False)
        """
        found = self._cached(name[-_NAME_CHARS_MAX:])
        return bool(found and found[1])

    def word_pattern(self, *, separator: str = SEPARATOR + "*", only: Iterable[str] | None = None) -> str:
        """Return pattern source (for use without case) of words: every name of a secret, of these kinds, has one."""
        terms = self._cover
        if only is not None:
            kinds = frozenset(only)
            named = [term for term, kind in self._terms.items() if kind in kinds]
            terms = _cover((*named, *(self._custom_cover if "custom" in kinds else ())))
        return "|".join(separator.join(re.escape(segment) for segment in term) for term in terms)

    def _classify(self, name: str) -> tuple[str, bool] | None:
        camel, chunks = segments(name)
        if (joined := "".join(camel)) in self._keep:
            return None
        if joined in self._whole:
            return "custom", True
        return self._find(camel) or self._find(chunks)

    def _classify_code(self, name: str) -> str | None:
        if "".join(segments(name)[0]) in self._keep:
            return None
        for parts in segments(name):
            for index, part in enumerate(parts):
                if (
                    part in CODE_KINDS
                    and all(after in _CODE_AFTER or after.isdigit() for after in parts[index + 1 :])
                    and not _CODE_NEUTRAL_BEFORE.intersection(parts[:index][-1:])
                ):
                    return part
        return None

    def _find(self, parts: tuple[str, ...]) -> tuple[str, bool] | None:
        for start in range(len(parts)):
            for end in range(min(len(parts), start + self._longest), start, -1):
                window = parts[start:end]
                kind = self._terms.get(window)
                if kind is None and len(window) == 1:
                    kind = _fused_kind(window[0])
                if kind is None:
                    continue
                if kind == "custom":
                    return kind, True
                before, after = parts[:start], parts[end:]
                neutral = _TOKEN_NEUTRAL_BEFORE if window == ("token",) else _NEUTRAL_BEFORE
                if _NEUTRAL_AFTER.intersection(after) or neutral.intersection(before[-1:]):
                    continue
                if kind in _ID_AFTER and after[:1] == ("id",):
                    continue
                at_end = all(part.isdigit() for part in after)
                return kind, kind == "password" and at_end and not window[-1].endswith("s")
        return None


def _fused_kind(segment: str) -> str | None:
    for ending in _FUSED_ENDINGS:
        if segment.endswith(ending):
            if ending.endswith("token"):
                return "token"
            if ending == "connectionstring":
                return "connection_string"
            if ending.endswith("key"):
                return "api_key" if ending == "apikey" else "private_key"
            return "secret" if ending == "secret" else "password"
    return None


def _listed(keys: Iterable[str]) -> list[str]:
    if isinstance(keys, str):  # its letters would be names
        raise ConfigError(f"cannot redact by the letters of {keys!r}: expected several names; write [{keys!r}]")
    names = list(keys)
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(f"cannot redact by key {name!r}: expected a name; give it as a text, like 'ssn'")
    return names


def _checked(key: str) -> tuple[str, ...]:
    plain = key.isascii() and key.isprintable() and '"' not in key and "\\" not in key
    camel, _ = segments(key)
    if not plain or not camel:
        raise ConfigError(
            f"cannot redact by key {key!r}: expected a name of ASCII letters and digits (like 'customer_ssn'); "
            "rename the key or redact its value before recording it"
        )
    return camel
