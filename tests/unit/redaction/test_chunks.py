"""Long text is looked at in pieces, and nothing is lost between two of them."""

from itertools import pairwise

import pytest

from sonde.redaction.chunks import CHUNK_BYTES, decoded, encoded, lowered_chunks, triggered


def test_no_piece_is_longer_than_what_may_hold_the_gil() -> None:
    """64 kB at a time, each sharing its end with the next one."""
    raw = bytes(range(256)) * 1_000
    pieces = list(lowered_chunks(raw, 7))
    assert max(map(len, pieces)) == CHUNK_BYTES
    assert all(piece[-7:] == following[:7] for piece, following in pairwise(pieces))
    assert pieces[0] + "".join(piece[7:] for piece in pieces[1:]) == raw.lower().decode("latin-1")


@pytest.mark.parametrize("place", [0, CHUNK_BYTES - 8, CHUNK_BYTES - 4, CHUNK_BYTES - 1, 2 * CHUNK_BYTES - 11, 150_000])
def test_a_literal_across_two_pieces_is_found(place: int) -> None:
    """Wherever the border lies, and each number once."""
    raw = b"." * place + b"PassWord" + b"." * (200_000 - place)
    assert triggered(raw, [("nothing", 1), ("password", 2), ("word", 2), ("pass", 3)], 7) == [2, 3]


@pytest.mark.parametrize("text", ["", "a", "\ud800" * 70_000, "aé🔑" * 50_000])
def test_text_comes_back_as_it_was(text: str) -> None:
    """No character is cut in two, lone surrogates included."""
    raw = encoded(text)
    assert raw == text.encode("utf-8", "surrogatepass")
    assert decoded(raw) == text
