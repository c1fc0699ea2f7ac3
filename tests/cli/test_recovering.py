"""What a killed process left: readers say that it waits, and ``doctor --recover`` and ``import`` take it in."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")

# The store is locked from the first event on, so that none of them is committed.
KILLED = """
import os, sys, sonde, apsw
rec = sonde.record(sys.argv[1], session_id="s", durability=sys.argv[2], memory_interval_s=None)
assert rec.flush()
other = apsw.Connection(sys.argv[1])
other.execute("BEGIN IMMEDIATE")
for i in range(20):
    rec.emit("note.taken", i=i)
os.kill(os.getpid(), 9)
"""
WAITING = (
    "20 events of a killed process wait in the journal; the next writer, or `sonde doctor --recover`, takes them in"
)


def kill(db: Path, durability: str) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED, str(db), durability], check=False, capture_output=True)
    assert (run.returncode, run.stderr) == (-signal.SIGKILL, b"")


@pytest.mark.parametrize("command", [("show", "s"), ("sessions",), ("tail",), ("stats",)])
def test_readers_say_what_waits(db: Path, sonde: Any, command: tuple[str, ...]) -> None:
    """A line on stderr, while stdout has what is stored; nothing is changed."""
    kill(db, "emit")
    for _ in range(2):
        ran = sonde(*command)
        assert ran.code == 0
        assert WAITING in ran.err
        assert WAITING not in ran.out


@pytest.mark.parametrize("command", [("show", "s"), ("sessions",), ("tail",), ("stats",)])
def test_readers_say_what_a_kill_took(db: Path, sonde: Any, command: tuple[str, ...]) -> None:
    """A line on stderr until the next writer has put it on record: from then on it is in the session."""
    kill(db, "commit")
    for _ in range(2):
        ran = sonde(*command)
        assert ran.code == 0
        assert re.search(r"a kill took up to \d\d events; the next writer records it as a gap", ran.err)
    assert sonde("doctor", "--recover").code == 0
    assert "a kill took" not in sonde(*command).err


def test_doctor_takes_it_in_when_told_to(db: Path, sonde: Any) -> None:
    """Without --recover a remark; with it the events are in the store, and the next look finds nothing left."""
    kill(db, "emit")
    ran = sonde("doctor")
    assert ran.code == 0
    assert WAITING in ran.out
    document = json.loads(sonde("doctor", "--json").out)
    assert (document["waiting"], document["recovered"], document["missed"]) == (20, 0, 0)
    document = json.loads(sonde("doctor", "--recover", "--json").out)
    assert (document["waiting"], document["recovered"], document["events"]) == (0, 20, 21)
    ran = sonde("doctor", "--recover")
    assert "journal" not in ran.out
    assert "taken in" not in ran.out
    assert not sonde("tail").err


def test_a_loss_is_known_before_it_is_recorded(db: Path, sonde: Any) -> None:
    """At durability commit nothing waits: a remark says what the kill took at most, and --recover records it."""
    kill(db, "commit")
    found = re.search(r"a kill took up to (\d+) events; the next writer records it", sonde("doctor").out)
    assert found is not None
    assert 20 <= int(found[1]) <= 40
    document = json.loads(sonde("doctor", "--recover", "--json").out)
    assert document["missed"] == int(found[1])
    shown = sonde("show", "s").out
    assert "killed" in shown
    assert f"missed   at most {found[1]} events never reached the store" in shown
    said = sonde("doctor").out
    assert f"at most {found[1]} events never reached the store" in said
    assert "every event is what was written, none that reached it is missing" in said
    assert f"at most {found[1]} events missed" in sonde("stats", "--no-plots").out


def test_an_import_takes_it_in(db: Path, sonde: Any, tmp_path: Path) -> None:
    """Each command that writes is a next writer."""
    kill(db, "emit")
    line = tmp_path / "one.jsonl"
    line.write_text('{"type":"note.taken","sessionId":"t"}\n')
    assert sonde("import", str(line)).code == 0
    document = json.loads(sonde("doctor", "--json").out)
    assert (document["waiting"], document["events"]) == (0, 22)
