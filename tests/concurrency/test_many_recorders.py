"""Recorders opened and closed a thousand times in one process leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import sonde
from sonde.journal.place import ARENA, FOLDER, PATH_AT, WORDS, read_page
from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

MANY = """
import gc, json, os, signal, sys, threading
import sonde

path, kinds, counts = sys.argv[1], sys.argv[2].split(","), [int(count) for count in sys.argv[3].split(",")]

def commit(number):
    with sonde.record(path, session_id=f"s{number % 7}") as rec:
        work(rec, number)

def emit(number):
    with sonde.record(path, session_id=f"s{number % 7}", durability="emit") as rec:
        work(rec, number)

def memory(number):
    with sonde.record(":memory:") as rec:
        work(rec, number)

def unclosed(number):
    rec = sonde.record(path, session_id=f"s{number % 7}", sigterm=True)
    work(rec, number)
    sonde.recorder.exits.close_all()

def everything(number):
    with sonde.record(
        path, session_id=f"s{number % 7}", durability="emit", profile=True, sigterm=True, metrics_interval_s=0.01,
        memory_interval_s=0.01, profile_interval_s=0.01,
    ) as rec, rec.serve_metrics(), rec.hub.subscribe(types=["sonde.memory"]) as memory:
        with rec.hub.subscribe(types=["sonde.profile"]) as profile:
            sonde.record_tool_call("t")
            work(rec, number)
            assert memory.get(timeout_s=60) and profile.get(timeout_s=60)

def refused(number):
    for options in ({"durability": "no"}, {"session_id": "s", "store": None, "metrics_interval_s": -1}):
        try:
            sonde.record(path, **options)
        except sonde.ConfigError:
            continue
        raise SystemExit("was not refused")
    try:
        sonde.record(os.path.join(path, "below", "a", "file.db"))
    except sonde.SondeError:
        return
    raise SystemExit("was not refused")

def work(rec, number):
    @rec.tool
    def tool(a):
        rec.emit("n", i=a)
    tool(number)
    with rec.session(session_id=f"other-{number % 5}"), rec.task("t"):
        assert rec.registry.counters() is not None

def target(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:  # the one with which the folder was listed
        return "the list"

def state():
    for thread in threading.enumerate():
        if thread.name.startswith("sonde-"):
            thread.join(60)  # it has done its work, and may not have left yet
    gc.collect()
    with open("/proc/self/statm") as file:
        rss = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    names = sorted(thread.name for thread in threading.enumerate())
    return {"rss": rss, "threads": names, "tasks": len(os.listdir("/proc/self/task")),
            "files": sorted(map(target, os.listdir("/proc/self/fd"))), "sigterm": str(signal.getsignal(signal.SIGTERM)),
            "objects": len(gc.get_objects())}

states = [state()]
for number in range(counts[-1]):
    globals()[kinds[number % len(kinds)]](number)
    if number + 1 in counts:
        states.append(state())
print(json.dumps(states))
"""


def left_in_memory(folder: Path, writers: set[str]) -> list[str]:
    """The files of these writers where journals lie in memory, and those that name a mark in this folder."""
    files = sorted(Path(FOLDER).glob("sonde-*"))
    return [file.name for file in files if writer_of(file) in writers or mark_of(file).startswith(f"{folder}{os.sep}")]


def writer_of(file: Path) -> str:
    return file.name.split("-")[-1].partition(".")[0]


def mark_of(file: Path) -> str:
    """The path that a file of words gives; empty of another one, or if it went meanwhile."""
    content = read_page(str(file), owners=(os.geteuid(),)) if file.suffix == WORDS else None
    return "" if content is None else os.fsdecode(content[PATH_AT:].rstrip(b"\0"))


def test_what_lies_in_memory_is_told_apart(tmp_path: Path) -> None:
    """The check below finds a living writer's files by its name, and by the folder of its mark; not another's."""
    with sonde.record(tmp_path / "runs.db", durability="emit") as rec:
        rec.emit("n")
        assert rec.flush()
        (writer,) = {event.writer_id for event in rec.store.read_all()}
        by_name = left_in_memory(tmp_path / "elsewhere", {writer})
        assert {Path(name).suffix for name in by_name} == {ARENA, WORDS}
        by_folder = left_in_memory(tmp_path, set())
        assert by_folder == [name for name in by_name if name.endswith(WORDS)]
        assert left_in_memory(tmp_path / "elsewhere", {"another"}) == []
    assert left_in_memory(tmp_path, {writer}) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kinds", "counts"),
    [
        ("commit,emit,memory,unclosed,refused,commit,emit,memory,unclosed,everything", (20, 80)),
        *(
            pytest.param(kinds, counts, marks=pytest.mark.long)
            for kinds, counts in (
                ("commit", (100, 1000)),
                ("emit", (100, 1000)),
                ("everything", (100, 200)),
                ("memory,unclosed,refused", (100, 1000)),
            )
        ),
    ],
)
def test_they_leave_nothing_behind(tmp_path: Path, kinds: str, counts: tuple[int, int]) -> None:
    """Threads, descriptors and the handler of SIGTERM are as at the start; memory as after the first hundred, by 5 MB.

    Nor are there files beside the store, or in the memory where journals lie. Whatever was on: metrics, memory events,
    a profile, an HTTP server, subscriptions, durability "emit"; and also where nobody closed them, or they could not be
    opened.
    """
    path = tmp_path / "runs.db"
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(path), kinds, ",".join(map(str, counts))],
        capture_output=True, text=True, timeout=590, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    first, warm, last = json.loads(done.stdout)
    for key in ("threads", "tasks", "files", "sigterm"):
        assert first[key] == warm[key] == last[key], key
    assert last["rss"] - warm["rss"] < 5_000_000, (first, warm, last)
    # Memory of a process is coarse; objects are told one by one. Caches of names grow a little, up to their bounds.
    assert last["objects"] - warm["objects"] < 2 * (counts[1] - counts[0]), (first, warm, last)
    assert list(tmp_path.iterdir()) == [path], "no journal, no lock, no log is left beside the store"
    with SQLiteStore(path, mode="ro") as store:
        assert not list(store.verify())
        events = list(store.read_all())
    assert left_in_memory(tmp_path, {event.writer_id for event in events}) == []
    numbers = Counter(event.data["i"] for event in events if event.type == "n")
    are_there = [kind not in ("memory", "refused") for kind in kinds.split(",")]
    assert numbers == Counter(number for number in range(counts[1]) if are_there[number % len(are_there)])
