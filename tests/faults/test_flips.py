"""A bit of the file flips, anywhere: whatever event that changes, it is found."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from sonde.errors import StoreError
from sonde.events import Event
from sonde.store import SQLiteStore
from sonde.store.shelving import last_shelf

WORDS = ("the agent reads a file", "and writes another", "then runs the tests", "which fail", "so it thinks again")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A store whose events are rows as they came, and one where they are sealed and their data shelved, by "tended"."""
    return {is_tended: sound(tmp_path_factory.mktemp("sound") / "runs.db", is_tended) for is_tended in (False, True)}


def sound(path: Path, is_tended: bool) -> Path:
    """A closed store with events of every kind: small and large, with and without spans, some removed."""
    chance = random.Random(1)
    prompt = ""
    with SQLiteStore(path) as store:
        for number in range(400):
            prompt += f"{chance.choice(WORDS)} {number}. "
            data = {"n": number, "text": chance.choice(WORDS) * chance.randrange(3)}
            if number % 10 == 0:
                data["messages"] = [prompt, chance.randbytes(300).hex()]
            store.append(
                f"stream-{number % 5}",
                [
                    Event(
                        f"type-{number % 7}",
                        1_700_000_000_000_000_000 + number,
                        session_id=f"stream-{number % 5}",
                        task_id=f"task-{number % 3}",
                        data=data,
                        trace_id=f"{chance.getrandbits(128):032x}",
                        span_id=f"{chance.getrandbits(64):016x}",
                        parent_id=f"{chance.getrandbits(64):016x}" if number % 2 else "",
                    )
                ],
            )
        while is_tended and store.tend(is_ending=True):
            pass
        store.truncate("stream-4", 40)
    # As immutable: nothing is made beside it.
    connection = apsw.Connection(f"file:{path}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    has_rows = connection.execute("SELECT count(*) FROM events").fetchone() != (0,)
    has_stretches = connection.execute("SELECT count(*) FROM stretches").fetchone() != (0,)
    assert (has_rows, has_stretches, last_shelf(connection) > 0) == (not is_tended, is_tended, is_tended)
    connection.close()
    assert not path.with_name("runs.db-wal").exists()
    return path


def all_events(path: Path) -> list[tuple[object, ...]]:
    with SQLiteStore(path, mode="ro") as store:
        return [
            (
                event.stream_id,
                event.version,
                event.type,
                event.time_ns,
                event.session_id,
                event.plan_id,
                event.task_id,
                event.data,
                event.trace_id,
                event.span_id,
                event.parent_id,
                event.writer_id,
                event.seq,
            )
            for event in store.read_all()
        ]


def is_found(path: Path) -> bool:
    """Whether a look at the whole file finds anything wrong."""
    try:
        with SQLiteStore(path, mode="ro") as store:
            return any(True for _ in store.verify())
    except StoreError:
        return True


def is_as_it_was(path: Path, before: list[tuple[object, ...]]) -> bool:
    try:
        return all_events(path) == before
    except StoreError:
        return False


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 22))])
def test_every_flip_that_matters_is_found(
    tmp_path: Path, sounds: dict[bool, Path], fault_report: Callable[..., None], seed: int
) -> None:
    """No bit changes an event unnoticed; flips where nothing is stored harm nothing; nothing else than an error.

    Be it in rows, at even seeds, or in what upkeep made of them.
    """
    is_tended = seed % 2 == 1
    sound = sounds[is_tended]
    chance = random.Random(seed)
    before = all_events(sound)
    assert len(before) == 400 - 39
    content = sound.read_bytes()
    path = tmp_path / "runs.db"
    shutil.copyfile(sound, path)
    flips = 30 if seed < 2 else 200
    changed = found = 0
    unnoticed = []
    for _ in range(flips):
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([content[place] ^ 1 << bit]))
        is_changed, is_noticed = not is_as_it_was(path, before), is_found(path)
        changed += is_changed
        found += is_changed and is_noticed
        if is_changed and not is_noticed:
            unnoticed.append((place, bit))
        with path.open("r+b") as file:
            file.seek(place)
            file.write(content[place : place + 1])
    assert not unnoticed
    assert is_as_it_was(path, before)
    fault_report(
        fault="a bit of the store's file flips, anywhere",
        promised="sonde doctor finds every flip that changes an event, or keeps one from being read",
        seen={
            "flips": flips,
            "of these in sealed stores": flips if is_tended else 0,
            "changed an event": changed,
            "were found": found,
            "not found": len(unnoticed),
        },
    )
