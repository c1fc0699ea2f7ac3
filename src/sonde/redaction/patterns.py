"""The table of shapes that are secrets by themselves, wherever they stand.

Every row states the literals that each of its matches contains (a cheap first test), its pattern, the group that is
the secret, and, where a shape alone would catch prose, a check of the found bytes. Patterns see bytes, so every class
that may meet non-ASCII text is negated and unbounded: a match never ends inside a character.
"""

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass

from sonde.redaction.keys import CODE_KINDS
from sonde.redaction.linear import BytePattern, compile_bytes
from sonde.redaction.values import in_marker, is_marker, is_placeholder, is_word, looks_random

__all__ = ["ASSIGNED_GATE", "HEADERS", "SHAPES", "Shape", "shape"]

# A secret may follow a word character that isn't one: a literal \n, a %20, the end of a colour code.
_LEFT = rb"(?:\b|\\[bfnrt]|%[0-9A-Fa-f]{2}|\[[0-9;]*m)"


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of secret: how to know it, cheaply first. Immutable; safe to share between threads."""

    kind: str
    literals: tuple[bytes, ...]  # lower case; every match contains one of them (compared without case)
    gate: bytes  # pattern source for JSON text: matches whenever the pattern matches the text that the JSON encodes
    pattern: BytePattern
    group: int
    accept: Callable[[bytes], bool]

    def spans(self, text: bytes) -> list[tuple[int, int, str]]:
        """Return the secrets as (start, end, kind), in order and apart from each other; linear in the text's length.

        >>> [row.spans(b"id AKIA" + b"X" * 16) for row in SHAPES if row.kind == "aws_access_key"]
        [[(3, 23, 'aws_access_key')]]
        """
        found = []
        position = 0
        while (match := self.pattern.search(text, position)) is not None:
            secret = match.group(self.group) or b""
            start = match.start(self.group)
            if secret and not is_marker(secret) and not in_marker(text, start) and self.accept(secret):
                found.append((start, match.end(self.group), self.kind))
            position = max(match.end(), position + 1)  # also after a rejection: each byte is matched once
        return found


def shape(
    kind: str,
    literals: str,
    core: bytes,
    *,
    bounded: bool = False,
    group: int = 0,
    gate: bytes | None = None,
    accept: Callable[[bytes], bool] = bool,
) -> Shape:
    """Make a row; ``bounded`` asks for a word's beginning, which the gate leaves out (JSON escapes hide it)."""
    source = _LEFT + b"(" + core + b")" if bounded else core
    return Shape(
        kind=kind,
        literals=tuple(literal.encode() for literal in literals.split()),
        gate=core if gate is None else gate,
        pattern=compile_bytes(source),
        group=1 if bounded else group,
        accept=accept,
    )


_USERINFO_BYTES_READ = 256  # the search below is quadratic
_BASIC_BYTES_READ = 4_096  # the colon comes early; binascii keeps the GIL
_LONG_RANDOM = re.compile(rb"(?=[A-Za-z0-9]{18})(?=[A-Za-z]*[0-9]+[A-Za-z]+[0-9])[A-Za-z0-9]+")


def _holds_user_and_password(encoded: bytes) -> bool:
    padded = encoded[:_BASIC_BYTES_READ].rstrip(b"=")
    try:
        return b":" in binascii.a2b_base64(padded + b"=" * (-len(padded) % 4))
    except binascii.Error:
        return False


def _is_credential(secret: bytes) -> bool:
    return looks_random(secret) and not is_placeholder(secret)


def _is_password(secret: bytes) -> bool:
    return not is_placeholder(secret)


def _is_userinfo_token(secret: bytes) -> bool:
    """A user's name has no long run of letters with digits among them; `x-access-token` and `ann.lee2024` have none."""
    return not is_placeholder(secret) and _LONG_RANDOM.search(secret[:_USERINFO_BYTES_READ]) is not None


def _is_netrc_password(secret: bytes) -> bool:
    return not is_placeholder(secret) and not is_word(secret)


def _json_code(kind: str) -> Shape:
    """A row for a short name in JSON that is text itself; as keys of an event's own data, keys.py knows them."""
    quote = rb"\\*[\"']"
    blanks = rb"(?:[ \t\r\n]|\\+[nrt])*"
    core = rb"[\"'_\-](?i:" + kind.encode() + rb"(?:_?code)?)" + quote + blanks + rb":" + blanks + quote
    return shape(kind, kind, core + rb"([^\"'\\\r\n]+)", group=1, gate=core, accept=_is_netrc_password)


# What a name and its sign look like in JSON text, where a quote inside a string is \" and a tab \t, and a bare quote
# ends the string (so that "input_tokens":5 is no hit).
ASSIGNED_GATE = rb"""(?:\\+["t]?|['`\] ])*[:=]"""
_AUTHORIZATION = rb"(?i:authorization)\\*[\"'`]?[ \t]*(?:[:=]|=>)[ \t]*\\*[\"'`]?[ \t]*"
_AUTHORIZATION_GATE = rb"(?i:authorization)" + ASSIGNED_GATE

_BASE64_LINES = rb"""(?:(?:[\s"'+,>]|\\+[nrt])*[A-Za-z0-9+/=]{16,})*"""
_PEM = (
    rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
    rb"(?:(?:\s|\\+[nrt])*[A-Z][A-Za-z\-]{2,20}: [ -\[\]-~]{1,120})*"
    + _BASE64_LINES
    + rb"""(?:(?:[\s"'+,>]|\\+[nrt])*[A-Za-z0-9+/=]{0,76}(?:[\s"'+,>]|\\+[nrt])*"""
    rb"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z))?"
)

_GAP = rb"(?:[ \t\r\n]|\\+[nrt])+"
_NETRC = (
    rb"\bmachine" + _GAP + rb"[^\s\"'`\\]+"
    rb"(?:" + _GAP + rb"(?:login|account)" + _GAP + rb"[^\s\"'`\\]+)+" + _GAP + rb"password" + _GAP
)

# These two run before the rules that go by names: they know where a header's value ends.
HEADERS: tuple[Shape, ...] = (
    shape("private_key", "private", _PEM, gate=rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"),
    shape("authorization", "authorization", _AUTHORIZATION + rb"(?i:digest|hawk|aws4-hmac-sha256)[ \t]+([^\r\n'`\\]+)",
          group=1, gate=_AUTHORIZATION_GATE),
    shape("authorization", "authorization",
          _AUTHORIZATION + rb"(?i:bearer|token|basic|apikey|api-key|key|negotiate|ntlm|dpop)[ \t]+([^\s\"'`\\<>,;]+)",
          group=1, gate=_AUTHORIZATION_GATE, accept=_is_credential),
    shape("authorization", "authorization", _AUTHORIZATION + rb"([^\s\"'`\\<>]+)",
          group=1, gate=_AUTHORIZATION_GATE, accept=_is_credential),
    shape("cookie", "cookie", rb"(?i:cookie)2?\\*[\"'`]?:[ \t]*\\*[\"'`]?([\w.\-]+=[^\r\n\"'`\\]+)",
          group=1, gate=rb"(?i:cookie)[\w.\-]*" + ASSIGNED_GATE),
)  # fmt: skip

SHAPES: tuple[Shape, ...] = (
    shape("private_key", "age-secret-key-1", rb"AGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    # Model providers
    shape("anthropic_key", "sk-ant-", rb"sk-ant-[A-Za-z0-9_\-]{16,}"),
    shape("openai_key", "sk-proj- sk-svcacct- sk-admin-", rb"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_\-]{16,}"),
    shape("openrouter_key", "sk-or-", rb"sk-or-(?:v1-)?[0-9a-f]{32,}", bounded=True),
    shape("langfuse_key", "sk-lf-", rb"sk-lf-[0-9a-f\-]{32,}", bounded=True),
    shape("api_key", "sk-", rb"sk-[A-Za-z0-9]{20,}", bounded=True, accept=looks_random),
    shape("groq_key", "gsk_", rb"gsk_[A-Za-z0-9]{20,}", bounded=True, accept=looks_random),
    shape("xai_key", "xai-", rb"xai-[A-Za-z0-9]{20,}", bounded=True, accept=looks_random),
    shape("replicate_key", "r8_", rb"r8_[A-Za-z0-9]{30,}", bounded=True),
    shape("huggingface_token", "hf_", rb"hf_[A-Za-z0-9]{30,}", bounded=True, accept=looks_random),
    shape("perplexity_key", "pplx-", rb"pplx-[A-Za-z0-9]{30,}", bounded=True),
    shape("nvidia_key", "nvapi-", rb"nvapi-[A-Za-z0-9_\-]{20,}"),
    shape("tavily_key", "tvly-", rb"tvly-[A-Za-z0-9\-]{20,}", accept=looks_random),
    shape("langsmith_key", "lsv2_", rb"lsv2_(?:pt|sk)_[0-9a-f]{32}(?:_[0-9a-f]{10})?"),
    shape("google_key", "aiza", rb"AIza[0-9A-Za-z_\-]{30,}", bounded=True),
    shape("google_token", "ya29.", rb"ya29\.[0-9A-Za-z_\-]{20,}", bounded=True),
    shape("google_secret", "gocspx-", rb"GOCSPX-[0-9A-Za-z_\-]{20,}"),
    # Clouds and code hosts
    shape("aws_access_key", "akia asia abia acca", rb"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b", bounded=True,
          gate=rb"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}"),
    shape("signature", "x-amz-signature", rb"(?i:X-Amz-Signature)=([0-9a-f]{32,})", group=1),
    shape("signature", "sig=", rb"[?&]sig=([A-Za-z0-9%+/=]{20,})", group=1),
    shape("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", rb"gh[pousr]_[A-Za-z0-9]{20,}"),
    shape("github_token", "github_pat_", rb"github_pat_[A-Za-z0-9_]{20,}"),
    shape("gitlab_token", "glpat- gldt- glrt- glcbt- glptt- glft- glsoat- glagent- glimt-",
          rb"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|imt)-[A-Za-z0-9_\-]{20,}", bounded=True),
    shape("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", rb"do[por]_v1_[0-9a-f]{32,}"),
    shape("databricks_token", "dapi", rb"dapi[0-9a-f]{32}\b", bounded=True, gate=rb"dapi[0-9a-f]{32}"),
    shape("docker_token", "dckr_pat_", rb"dckr_pat_[A-Za-z0-9_\-]{20,}"),
    shape("vault_token", "hvs. hvb.", rb"hv[sb]\.[A-Za-z0-9_\-]{20,}", bounded=True),
    shape("supabase_token", "sbp_", rb"sbp_[0-9a-f]{40}", bounded=True),
    shape("e2b_key", "e2b_", rb"e2b_[0-9a-f]{40}", bounded=True),
    shape("grafana_token", "glsa_ glc_", rb"gl(?:sa|c)_[A-Za-z0-9+/=_]{30,}", bounded=True),
    shape("tailscale_key", "tskey-", rb"tskey-[A-Za-z0-9\-]{16,}"),
    # Package registries
    shape("npm_token", "npm_", rb"npm_[A-Za-z0-9]{30,}", bounded=True, accept=looks_random),
    shape("pypi_token", "pypi-agei", rb"pypi-AgEI[A-Za-z0-9_\-]{16,}"),
    # Services
    shape("slack_token", "xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- xoxe.",
          rb"xox(?:[abeoprs]-|e\.)[A-Za-z0-9.\-]{10,}", bounded=True),
    shape("slack_token", "xapp-", rb"xapp-[0-9]-[A-Za-z0-9\-]{10,}", bounded=True),
    shape("slack_webhook", "hooks.slack.com",
          rb"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_\-]{20,})", group=1),
    shape("discord_webhook", "/api/webhooks/", rb"/api/webhooks/[0-9]+/([A-Za-z0-9_\-]{20,})", group=1),
    shape("stripe_key", "sk_live_ sk_test_ rk_live_ rk_test_", rb"[sr]k_(?:live|test)_[A-Za-z0-9]{10,}", bounded=True),
    shape("webhook_secret", "whsec_", rb"whsec_[A-Za-z0-9+/=]{16,}"),
    shape("sendgrid_key", "sg.", rb"SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}", bounded=True),
    shape("shopify_token", "shpat_ shpca_ shppa_ shpss_", rb"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    shape("linear_key", "lin_api_", rb"lin_api_[A-Za-z0-9]{20,}"),
    shape("notion_token", "ntn_", rb"ntn_[A-Za-z0-9]{40,}", bounded=True),
    shape("atlassian_token", "atatt3", rb"ATATT3[A-Za-z0-9_\-=]{30,}"),
    shape("telegram_token", ":aa", rb"[0-9]{8,10}:AA[A-Za-z0-9_\-]{32,}", bounded=True),
    shape("twilio_key", "sk", rb"SK[0-9a-f]{32}\b", bounded=True, gate=rb"SK[0-9a-f]{32}"),
    shape("mailgun_key", "key-", rb"(?:^|[^\w\-])(key-[0-9a-f]{32})\b", group=1, gate=rb"key-[0-9a-f]{32}"),
    # Carriers
    shape("jwt", "eyj", rb"eyJ[A-Za-z0-9_\-]{8,}\.(?:eyJ[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)?"
          rb"|[A-Za-z0-9_\-]*\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)*)",
          bounded=True),
    shape("bearer", "bearer", rb"(?i:bearer)[ \t]+([A-Za-z0-9._~+/=\-]{6,})", group=1,
          gate=rb"(?i:bearer)(?: |\\t)+[A-Za-z0-9._~+/=\-]{6,}", accept=looks_random),
    shape("basic", "basic", rb"(?i:basic)[ \t]+([A-Za-z0-9+/]{6,}={0,2})", group=1,
          gate=rb"(?i:basic)(?: |\\t)+[A-Za-z0-9+/]{6,}", accept=_holds_user_and_password),
    shape("password", "://", rb"[A-Za-z0-9+.\-]://[^\s/:@\"'`<>?#]*:([^\s/\"'`<>]+)@", group=1,
          gate=rb"://[^\s/:@\"<>?#]*:[^\s/\"<>]+@", accept=_is_password),
    shape("token", "http", rb"(?i:https?)://([^\s/:@\"'`<>?#\\]{18,})@", group=1, accept=_is_userinfo_token,
          gate=rb"(?i:https?)://[^/:@\"<>?#]{18,}@"),
    shape("password", "machine", _NETRC + rb"([^\s\"'`\\<>]+)", group=1, accept=_is_netrc_password,
          gate=rb"machine[^\"]*(?:login|account)[^\"]*password"),
    *(_json_code(kind) for kind in sorted(CODE_KINDS)),
)  # fmt: skip
