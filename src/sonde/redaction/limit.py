"""Limit: long texts are cut, and what was cut is on record: its true size, and a hash to tell equal texts by."""

from hashlib import blake2b
from typing import Any

from sonde.errors import ConfigError
from sonde.redaction.chunks import CHUNK_BYTES, character_start, decoded, encoded
from sonde.redaction.values import MARKER_BYTES_MAX

__all__ = ["LIMIT_BYTES_MIN", "TextLimit"]

LIMIT_BYTES_MIN = 256
_MARK_BYTES = 64
_MAX_NOTES = 100
_MAX_PATH = 200
_NOTES = "$replaced"
_DEPTH_MAX = 200
_OPENING = b"[REDACTED:"


class TextLimit:
    r"""Cuts each text of an event to ``max_bytes`` of UTF-8: three quarters from its head and one from its tail.

    In their midst a line says how much was left out. Each cut text has a note under ``$replaced``, where the sanitiser
    has its own: its path (a JSON pointer), the bytes that it had, and its BLAKE2b hash of 128 bits. Size and hash are
    those of the text after redaction: the hash of a text with a weak secret in it would let people try that secret.

    Thread-safety: immutable. Cost: next to nothing below the limit; 2 ms a megabyte above it, mostly without the GIL.
    Loss: what is cut is gone. Keys are never cut. Errors: ``ConfigError`` for a limit below 256 bytes.

    >>> data = TextLimit(256).cut({"stdout": "a" * 1_000})
    >>> len(data["stdout"]) <= 256, data["$replaced"]["/stdout"][:24]
    (True, 'cut from 1000 bytes, bla')
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < LIMIT_BYTES_MIN:
            raise ConfigError(
                f"cannot cut texts to {max_bytes!r} bytes: expected at least {LIMIT_BYTES_MIN}, for head, tail and "
                "what was left out; give more, or leave the limit out"
            )
        self.max_bytes = max_bytes

    def cut(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the same object if no text is too long, else a copy that shares what was short enough."""
        notes: dict[str, str] = {}
        result: dict[str, Any] = self._value(data, "", notes, 0)
        if result is data:
            return data
        earlier = data.get(_NOTES)
        name = _NOTES
        if earlier is not None and not (
            isinstance(earlier, dict) and all(isinstance(note, str) for note in earlier.values())
        ):
            name, earlier = f"${_NOTES}", data.get(f"${_NOTES}")  # one of the user's own, as for the sanitiser
        kept = dict(list(notes.items())[:_MAX_NOTES])
        if len(notes) > _MAX_NOTES:
            kept["…"] = f"{len(notes) - _MAX_NOTES:,} more"
        result[name] = {**(earlier if isinstance(earlier, dict) else {}), **kept}
        return result

    def cut_text(self, text: str) -> tuple[str, str]:
        """Return the text, and a note on what was cut from it: empty if nothing was.

        >>> TextLimit(256).cut_text("short")
        ('short', '')
        """
        if len(text) * 4 <= self.max_bytes:
            return text, ""
        raw = encoded(text)
        size = len(raw)
        if size <= self.max_bytes:
            return text, ""
        room = self.max_bytes - _MARK_BYTES
        head = character_start(raw, room * 3 // 4)
        opened = raw.rfind(_OPENING, max(0, head - MARKER_BYTES_MAX), head + len(_OPENING) - 1)
        if opened >= 0 and raw.find(b"]", opened, head) < 0:
            head = opened  # half a marker would look like no marker
        tail = size - room // 4
        while tail < size and raw[tail] & 0xC0 == 0x80:
            tail += 1
        opened = raw.rfind(_OPENING, max(0, tail - MARKER_BYTES_MAX), tail + len(_OPENING) - 1)
        closed = raw.find(b"]", opened, opened + MARKER_BYTES_MAX) if 0 <= opened < tail else -1
        tail = max(tail, closed + 1)
        digest = blake2b(digest_size=16)
        for start in range(0, size, CHUNK_BYTES):
            digest.update(raw[start : start + CHUNK_BYTES])
        note = f"cut from {size} bytes, blake2b-128 {digest.hexdigest()}"
        return f"{decoded(raw[:head])}\n… {tail - head:,} bytes left out …\n{decoded(raw[tail:])}", note

    def _value(self, value: Any, path: str, notes: dict[str, str], depth: int) -> Any:
        if isinstance(value, str):
            cut, note = self.cut_text(value)
            if note:
                notes[path[:_MAX_PATH]] = note
            return cut
        if depth > _DEPTH_MAX:
            return value
        if isinstance(value, dict):
            mapped = {
                key: self._value(inner, f"{path}/{_pointer(key)}", notes, depth + 1)
                if isinstance(inner, str | dict | list | tuple)
                else inner
                for key, inner in value.items()
            }
            return mapped if any(mapped[key] is not inner for key, inner in value.items()) else value
        if isinstance(value, list | tuple):
            items = [self._value(inner, f"{path}/{index}", notes, depth + 1) for index, inner in enumerate(value)]
            changed = any(new is not old for new, old in zip(items, value, strict=True))
            return (items if isinstance(value, list) else tuple(items)) if changed else value
        return value


def _pointer(key: Any) -> str:
    return str(key)[:_MAX_PATH].replace("~", "~0").replace("/", "~1")
