"""What a killed process left: readers say that it waits, and ``doctor --recover`` and ``import`` take it in."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sonde as sonde_module
from sonde.instrument import FilePrices
from sonde.redaction import NoRedactor

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")

# The store is locked from the first event on, so that none of them is committed.
KILLED = """
import os, sys, sonde, apsw
from sonde.redaction import NoRedactor, SecretRedactor
redactor = {"none": NoRedactor(), "own": SecretRedactor(keys=["badge"]), "default": None}[sys.argv[3]]
rec = sonde.record(
    sys.argv[1], session_id="s", durability=sys.argv[2], memory_interval_s=None, redactor=redactor
)
assert rec.flush()
other = apsw.Connection(sys.argv[1])
other.execute("BEGIN IMMEDIATE")
for i in range(20):
    rec.emit("note.taken", i=i, password="hunter2", badge="b-17")
if "model" in sys.argv:
    rec.emit("model.completed", model="m", input_tokens=1000)
os.kill(os.getpid(), 9)
"""
WAITING = (
    "20 events of a killed process wait in the journal; the next writer, or `sonde doctor --recover`, takes them in"
)
RESERVED = (
    "20 events of a killed process with a redactor of its own wait in the journal; run it again, and it takes "
    "them in, or let sonde's rules do: `sonde doctor --recover --default-rules`"
)


def kill(db: Path, durability: str, redaction: str = "default", *more: str) -> None:
    command = [sys.executable, "-c", KILLED, str(db), durability, redaction, *more]
    run = subprocess.run(command, check=False, capture_output=True)
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


def test_a_prune_takes_it_in(db: Path, sonde: Any) -> None:
    """What waits is as old as what it belongs to; a preview says that it waits."""
    kill(db, "emit")
    limits = ("--older-than", "30d")
    assert WAITING in sonde("prune", *limits, "--dry-run").err
    assert sonde("prune", *limits, "--yes").code == 0
    document = json.loads(sonde("doctor", "--json").out)
    assert (document["waiting"], document["events"]) == (0, 21)


def test_a_copy_lacks_what_waits_and_says_so(db: Path, sonde: Any, tmp_path: Path) -> None:
    """Who keeps the copy alone would lose it without a word."""
    kill(db, "emit")
    assert WAITING in sonde("backup", str(tmp_path / "copy.db")).err
    assert WAITING in sonde("redact", "--all", "-o", str(tmp_path / "clean.db")).err


def secrets(db: Path) -> set[tuple[str, str]]:
    """What the events have under the names of secrets."""
    with sonde_module.SQLiteStore(db, mode="ro") as store:
        return {(event.data["password"], event.data["badge"]) for event in store.read_by_type("s", "note.taken")}


def test_events_of_others_are_redacted_however_the_next_writer_redacts(db: Path, sonde: Any, tmp_path: Path) -> None:
    """``--no-redact`` is about what is imported, and ``redact=False`` about a program's own events."""
    line = tmp_path / "one.jsonl"
    line.write_text('{"type":"note.taken","sessionId":"t","data":{"password":"hunter3"}}\n')
    kill(db, "emit")
    assert sonde("import", "--no-redact", str(line)).code == 0
    assert secrets(db) == {("[REDACTED:password]", "b-17")}
    for redactor in (NoRedactor(), sonde_module.SecretRedactor(keep_keys=["password"], keys=["badge"])):
        kill(db, "emit")
        sonde_module.record(db, session_id="next", redactor=redactor).close()
        assert secrets(db) == {("[REDACTED:password]", "b-17")}


def test_events_of_a_program_without_redaction_are_as_it_would_have_them(db: Path) -> None:
    """If the next one is without redaction as well; else that one's rules hold."""
    kill(db, "emit", "none")
    sonde_module.record(db, session_id="next", redact=False).close()
    assert secrets(db) == {("hunter2", "b-17")}
    kill(db, "emit", "none")
    sonde_module.record(db, session_id="next").close()
    assert secrets(db) == {("hunter2", "b-17"), ("[REDACTED:password]", "b-17")}


def test_events_of_a_program_with_rules_of_its_own_wait_for_it(
    db: Path, sonde: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody else knows them. Each says so; the program itself takes the events in."""
    kill(db, "emit", "own")
    for _ in range(2):
        ran = sonde("doctor", "--recover")
        assert ran.code == 0
        assert RESERVED in " ".join(ran.out.split())
        sonde_module.record(db, session_id="next").close()
        assert re.search(r"up to \d\d events of killed processes wait beside", caplog.text)
    assert secrets(db) == set()
    sonde_module.record(db, session_id="next", redactor=sonde_module.SecretRedactor(keys=["badge"])).close()
    assert secrets(db) == {("[REDACTED:password]", "[REDACTED:custom]")}
    assert json.loads(sonde("doctor", "--json").out)["waiting"] == 0


def test_rules_of_their_own_can_be_waived(db: Path, sonde: Any) -> None:
    """Where sonde's do: then its rules are applied, and nothing waits any more."""
    kill(db, "emit", "own")
    assert sonde("doctor", "--default-rules").code == 2
    document = json.loads(sonde("doctor", "--recover", "--default-rules", "--json").out)
    assert (document["waiting"], document["recovered"]) == (0, 20)
    assert secrets(db) == {("[REDACTED:password]", "b-17")}


def test_what_is_taken_in_is_priced(db: Path, tmp_path: Path) -> None:
    """As it would have been without the kill, by the prices of the next recorder."""
    kill(db, "emit", "default", "model")
    prices = tmp_path / "prices.toml"
    prices.write_text('date = 2026-11-01\n\n[models."m"]\ninput_tokens = 2_000_000\n')  # dollars a million
    sonde_module.record(db, session_id="next", prices=FilePrices(prices)).close()
    with sonde_module.SQLiteStore(db, mode="ro") as store:
        (call,) = store.read_by_type("s", "model.completed")
    assert (call.data["cost_usd"], call.data["cost_source"]) == (2000.0, "computed")


def test_what_a_kill_took_is_recorded_whatever_the_rules(db: Path, sonde: Any) -> None:
    """A number is no secret: at durability commit there is nothing to redact, and nothing waits."""
    kill(db, "commit", "own")
    document = json.loads(sonde("doctor", "--recover", "--json").out)
    assert document["missed"] >= 20
    assert "a kill took" not in sonde("tail").err
