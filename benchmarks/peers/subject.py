"""Subject: something that takes events, ready to be called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import Loop, compile_loop
from benchmarks.payload import PAYLOADS, TEXT


@dataclass(frozen=True, slots=True)
class Subject:
    """``statement`` is one call, with PAYLOAD for what is recorded; ``names`` are the variables that it uses.

    ``settle`` waits until everything taken so far has gone its way.
    """

    statement: str
    names: Mapping[str, Any]
    settle: Callable[[], object]

    def loop(self, payload: str = "4 keys", *, took: list[int] | None = None) -> Loop:
        """The call in a loop; with ``took`` each is timed, and its nanoseconds are appended there."""
        names = {**self.names, "text": TEXT} | ({} if took is None else {"took": took})
        return compile_loop(self.statement.replace("PAYLOAD", PAYLOADS[payload]), names, timed=took is not None)


Open = Callable[[], AbstractContextManager[Subject]]


def nothing_at_all(kind: str, data: object) -> None:
    """A call that does nothing: the floor under everything."""
