"""Position: ordered, opaque, and a text in files and URLs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.errors import ConfigError
from sonde.events import Position


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_text_and_order_are_kept(a: int, b: int) -> None:
    """A position survives its text, and positions order as their commits did."""
    assert Position.parse(str(Position(a))) == Position(a)
    assert (Position(a) < Position(b)) == (a < b)


def test_start_is_before_everything() -> None:
    """No event lies at or before START."""
    assert Position(1) > Position.START


@pytest.mark.parametrize("text", ["", "-1", "1.0", " 1", "x", "\u0661"])
def test_what_is_no_position_is_refused(text: str) -> None:
    """Only the digits that ``str`` gave are read back."""
    with pytest.raises(ConfigError, match="cannot read position"):
        Position.parse(text)
