"""Ctrl-C in the middle of the store's methods: at every place where CPython would let it strike."""

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sonde.events import Event, Position
from sonde.store import SQLiteStore

LIMIT_S = 4.0
"""Less than the time for which a lock is waited for: 5 s in a fork, 30 s elsewhere."""


def wait_in_a_child(store: SQLiteStore) -> int:
    """Fork; the child reads the store. What it exited with."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if list(store.read("s")) else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("name", ["read", "follow", "append", "tend"])
def test_an_interrupt_at_any_place_of_using_a_store_locks_nothing(
    strike_at: Callable[..., bool], tmp_path: Path, name: str
) -> None:
    """Wherever it strikes: the store goes on and closes at once, in a child too; an append is whole, or not there."""
    store = SQLiteStore(tmp_path / "runs.db")
    store.append("s", [Event("n", data={"n": number}) for number in range(3)])
    acts: dict[str, Callable[[], object]] = {
        "read": lambda: (list(store.read("s", 2, limit=3)), store.head("s"), store.streams()),
        "follow": lambda: list(store.follow(Position(step), timeout_s=0.001)),
        "append": lambda: store.append("struck", [Event("a"), Event("b", data={"text": "x" * 1000})]),
        "tend": lambda: store.tend(is_ending=True),
    }
    head = step = 0
    for step in itertools.count():
        began_s = time.monotonic()
        went_on = strike_at(acts[name], step, everywhere=False)
        store.append("s", [Event("after", data={"n": step})])
        assert store.head("struck") in {head, head + 2}
        head = store.head("struck")
        assert store.head("s") == 4 + step
        if step % 50 == 0:
            assert wait_in_a_child(store) == 0
        assert time.monotonic() - began_s < LIMIT_S, step
        if not went_on:
            break
    assert step > 20
    assert [event.data["n"] for event in store.read("s", 4)] == list(range(step + 1))
    assert not list(store.verify())
    began_s = time.monotonic()
    store.close()
    assert time.monotonic() - began_s < LIMIT_S
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs.db"]


def test_a_store_closes_at_once_wherever_its_use_was_interrupted(
    strike_at: Callable[..., bool], tmp_path: Path
) -> None:
    """Also while the interrupt is on its way up, and holds on to what it cut off: there, ``with`` closes."""
    path = tmp_path / "runs.db"
    with SQLiteStore(path) as store:
        store.append("s", [Event("n")])

    def act() -> None:
        with SQLiteStore(path, mode="ro") as store:
            for _ in store.follow(Position.START, timeout_s=0.001):
                store.head("s")

    for step in itertools.count():
        began_s = time.monotonic()
        went_on = strike_at(act, step, everywhere=False)
        assert time.monotonic() - began_s < LIMIT_S, step
        if not went_on:
            break
    assert step > 20
