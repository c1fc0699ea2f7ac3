"""What a found value looks like: a secret, a placeholder for one, or a piece of code or prose."""

import re

__all__ = [
    "MARKER",
    "ends_line",
    "is_marker",
    "is_placeholder",
    "is_reference",
    "is_syntax",
    "is_word",
    "looks_random",
    "marker",
    "no_word_chars",
]

MARKER = re.compile(rb"\[REDACTED:[a-z0-9_]+\]")
_PLACEHOLDER = re.compile(
    rb"\$|\\+\$|<|\{|%[({sv]|%[A-Z_]+%\Z|(?:\*+|x{3,}|X{3,}|\.+|-+|_+|#+|\xe2\x80\xa6+|(?:\xe2\x80\xa2)+)\Z|\[REDACTED|(?:\*{3}|\.{3}|\xe2\x80\xa6)"
)
_WORDS = frozenset(
    b"none null nil undefined true false yes no str string text int integer number bool boolean bytes any object "
    b"optional required unknown secretstr redacted hidden masked type value default empty a an the to or and is are "
    b"was as at by for from if in must not of on should that this when will with has instead flag flags option options "
    b"argument arguments parameter parameters arg args field variable name authentication credentials".split()
)
_KEYWORDS = frozenset(
    b"abstract assert async await begin break catch class const continue debugger default defer delete elif elsif "
    b"endif enum except export extends extern fallthrough final finally foreach function global goto identifier "
    b"implements import indent dedent instanceof interface keyword lambda newline namespace native nonlocal operator "
    b"package private protected public punctuation raise rescue return select sizeof static string struct super switch "
    b"template throw throws trait transient typedef typeof union unless unsafe until using virtual void volatile "
    b"where while yield".split()
)
_WORD_CHAR = re.compile(rb"[0-9A-Za-z\x80-\xff]")
_SHORT_SYNTAX = re.compile(rb"(?:[a-z]{1,4}|[A-Z]{1,4}|[0-9]{1,5})\Z")
_PATH = re.compile(rb"&?[A-Za-z_]\w*(?:(?:\.|::|->|\?\.)[A-Za-z_]\w*)+\Z")
_URL = re.compile(rb"[a-z]+://")
_RANDOM_CHARS_MIN = 6
_MIXED_CASE_CHARS_MIN = 12


def marker(kind: str) -> str:
    """Return the text that stands for a secret of this kind.

    >>> marker("password")
    '[REDACTED:password]'
    """
    return f"[REDACTED:{kind}]"


def is_marker(value: bytes) -> bool:
    """Tell whether a value is nothing but an earlier redaction's marker.

    >>> is_marker(b"[REDACTED:token]")
    True
    """
    return MARKER.fullmatch(value) is not None


def is_placeholder(value: bytes) -> bool:
    """Tell whether a value stands for a secret that is elsewhere: ``$VAR``, ``<token>``, ``{{ x }}``, ``***``.

    >>> [is_placeholder(v) for v in (b"$DB_PASSWORD", b"<your key>", b"****", b"hunter2")]
    [True, True, True, False]
    """
    return _PLACEHOLDER.match(value) is not None


def is_word(value: bytes) -> bool:
    """Tell whether a value is a type's name or a common word of help texts and prose.

    >>> is_word(b"string;"), is_word(b"hunter2")
    (True, False)
    """
    return value.rstrip(b".,;:)]}?!").lower() in _WORDS


def no_word_chars(value: bytes) -> bool:
    """Tell whether a value has no letter and no digit of any script: a piece of punctuation.

    >>> no_word_chars(b"=>"), no_word_chars(b"h!")
    (True, False)
    """
    return _WORD_CHAR.search(value) is None


def is_syntax(value: bytes) -> bool:
    """Tell whether a value is what a parser calls a token: a keyword, a short plain word, a small number.

    >>> [is_syntax(v) for v in (b"else", b"function", b"EOF", b"42", b"swordfish")]
    [True, True, True, True, False]
    """
    return value.lower() in _KEYWORDS or _SHORT_SYNTAX.match(value) is not None


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
    if len(value) < _RANDOM_CHARS_MIN:
        return False
    digit = any(48 <= byte < 58 for byte in value)
    upper = any(65 <= byte < 91 for byte in value[1:])
    lower = any(97 <= byte < 123 for byte in value)
    if digit:
        return upper or lower or len(value) >= 2 * _RANDOM_CHARS_MIN
    if upper and lower and len(value) >= _MIXED_CASE_CHARS_MIN:
        return True
    return (upper or lower) and any(byte in b"!@#$%^*" for byte in value)


def ends_line(text: bytes, position: int) -> bool:
    """Tell whether nothing but blanks, a closing quote or a comment follows on the line.

    >>> ends_line(b"key: abc  # note", 8), ends_line(b"key: abc def", 8)
    (True, False)
    """
    rest = text[position : position + 64].lstrip(b" \t")
    return not rest or rest[:1] in b"\r\n\"'`#\\"
