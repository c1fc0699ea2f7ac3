"""What a found value looks like: a secret, a placeholder for one, or a piece of code or prose."""

import re

__all__ = [
    "MARKER",
    "MARKER_BYTES_MAX",
    "ends_line",
    "in_marker",
    "is_marker",
    "is_placeholder",
    "is_reference",
    "is_word",
    "looks_issued",
    "looks_random",
    "marker",
    "no_word_chars",
]

MARKER = rb"\[REDACTED:[a-z0-9_]{1,64}(?::[0-9a-f]{8})?\]"
"""Pattern source of what stands for a secret."""

MARKER_BYTES_MAX = 84
# Python's `re` keeps the GIL: no search of it may see more than this of a value.
_READ_BYTES = 4_096
_MARKER = re.compile(MARKER)
_PLACEHOLDER = re.compile(
    rb"\$|\\+\$|<|\{|%[({sv]|%[A-Z_]+%\Z|(?:\*+|x{3,}|X{3,}|\.+|-+|_+|#+|\xe2\x80\xa6+|(?:\xe2\x80\xa2)+)\Z|\[REDACTED|(?:\*{3}|\.{3}|\xe2\x80\xa6)"
)
_WORDS = frozenset(
    b"none null nil undefined true false yes no str string text int integer number bool boolean bytes any object "
    b"optional required unknown secretstr redacted hidden masked type value default empty a an the to or and is are "
    b"was as at by for from if in must not of on should that this when will with has instead flag flags option options "
    b"argument arguments parameter parameters arg args field variable name authentication credentials".split()
)
_WORD_BYTES_MAX = 64
_WORD_CHAR = re.compile(rb"[0-9A-Za-z\x80-\xff]")
_PATH = re.compile(rb"&?[A-Za-z_]\w*(?:(?:\.|::|->|\?\.)[A-Za-z_]\w*)+\Z")
_URL = re.compile(rb"[a-z]+://")
_RANDOM_CHARS_MIN = 6
_MIXED_CASE_CHARS_MIN = 12
_ISSUED = re.compile(rb"[A-Za-z0-9_\-.~+/=:|%]{8,}")
_ISSUED_LONG_CHARS = 20
_ISSUED_DISTINCT_MIN = 8
_ISSUED_TURNS_MIN = 4
_RUNS = re.compile(rb"[a-z]+|[A-Z]+|[0-9]+|[^A-Za-z0-9]+")


def marker(kind: str, fingerprint: str = "") -> str:
    """Return the text that stands for a secret of this kind, with a fingerprint if there is one.

    >>> marker("password"), marker("password", "1f0c22ab")
    ('[REDACTED:password]', '[REDACTED:password:1f0c22ab]')
    """
    return f"[REDACTED:{kind}:{fingerprint}]" if fingerprint else f"[REDACTED:{kind}]"


def is_marker(value: bytes) -> bool:
    """Tell whether a value is nothing but an earlier redaction's marker.

    >>> is_marker(b"[REDACTED:token]"), is_marker(b"[REDACTED:token:1f0c22ab]")
    (True, True)
    """
    return len(value) <= MARKER_BYTES_MAX and _MARKER.fullmatch(value) is not None


def in_marker(text: bytes, position: int) -> bool:
    """Tell whether a position is inside an earlier redaction's marker: ``authorization:1f0c22ab`` is no header there.

    >>> [in_marker(b"a [REDACTED:token:1f0c22ab] b", position) for position in (2, 12, 27)]
    [False, True, False]
    """
    opened = text.rfind(b"[REDACTED:", max(0, position - MARKER_BYTES_MAX), position)
    marked = _MARKER.match(text, opened) if opened >= 0 else None
    return marked is not None and marked.end() > position


def is_placeholder(value: bytes) -> bool:
    """Tell whether a value stands for a secret that is elsewhere: ``$VAR``, ``<token>``, ``{{ x }}``, ``***``.

    >>> [is_placeholder(v) for v in (b"$DB_PASSWORD", b"<your key>", b"****", b"hunter2")]
    [True, True, True, False]
    """
    # The pattern's open ends (`x{3,}\\Z`) mustn't take the beginning of a long value for its whole.
    seen = value if len(value) <= _READ_BYTES else value[:_READ_BYTES] + b"\n"
    return _PLACEHOLDER.match(seen) is not None


def is_word(value: bytes) -> bool:
    """Tell whether a value is a type's name or a common word of help texts and prose.

    >>> is_word(b"string;"), is_word(b"hunter2")
    (True, False)
    """
    return len(value) <= _WORD_BYTES_MAX and value.rstrip(b".,;:)]}?!").lower() in _WORDS


def no_word_chars(value: bytes) -> bool:
    """Tell whether a value has no letter and no digit of any script: a piece of punctuation.

    >>> no_word_chars(b"=>"), no_word_chars(b"h!")
    (True, False)
    """
    return len(value) <= _READ_BYTES and _WORD_CHAR.search(value) is None


def is_reference(value: bytes) -> bool:
    """Tell whether an unquoted value is code that fetches a secret: a call, an index, an attribute path, a URL.

    >>> [is_reference(v) for v in (b"settings.api_key", b"get_token()", b"environ[", b"hunter2")]
    [True, True, True, False]
    """
    if _URL.match(value):
        return True
    if b"(" in value or b"[" in value or b"{" in value:
        return True
    return _PATH.match(value) is not None and not any(48 <= byte < 58 for byte in value)


def looks_random(value: bytes) -> bool:
    """Tell whether a value is no word: letters with digits or symbols, or upper and lower case mixed, and long enough.

    >>> [looks_random(v) for v in (b"hunter2", b"authentication", b"dXNlcjpwYXNz", b"5")]
    [True, False, True, False]
    """
    if not _RANDOM_CHARS_MIN <= len(value) <= _READ_BYTES:
        return len(value) > _READ_BYTES  # no word is as long
    digit = any(48 <= byte < 58 for byte in value)
    upper = any(65 <= byte < 91 for byte in value[1:])
    lower = any(97 <= byte < 123 for byte in value)
    if digit:
        return upper or lower or len(value) >= 2 * _RANDOM_CHARS_MIN
    if upper and lower and len(value) >= _MIXED_CASE_CHARS_MIN:
        return True
    return (upper or lower) and any(byte in b"!@#$%^*" for byte in value)


def looks_issued(value: bytes) -> bool:
    """Tell whether a value looks like a token that some service has issued, and not like a token of a text.

    Eight characters or more of the alphabets that services use, with letters and digits that take turns, or 20 of them
    that ``looks_random``; a number of 12 digits. Models' tokens are words and pieces of words, and begin with blanks.

    >>> [looks_issued(v) for v in (b"a1B2c3D4e5", b" the", b"getElementById", b"sha256sum", b"dXNlcjpwYXNzd29yZDEyMw")]
    [True, False, False, False, True]
    """
    if len(value) > _READ_BYTES:
        return True
    if _ISSUED.fullmatch(value) is None or not looks_random(value):
        return False
    if len(value) >= _ISSUED_LONG_CHARS:
        return len(set(value)) >= _ISSUED_DISTINCT_MIN
    if value.isdigit():
        return True
    return any(48 <= byte < 58 for byte in value) and len(_RUNS.findall(value)) > _ISSUED_TURNS_MIN


def ends_line(text: bytes, position: int) -> bool:
    """Tell whether nothing but blanks, a closing quote or a comment follows on the line.

    >>> ends_line(b"key: abc  # note", 8), ends_line(b"key: abc def", 8)
    (True, False)
    """
    rest = text[position : position + 64].lstrip(b" \t")
    return not rest or rest[:1] in b"\r\n\"'`#\\"
