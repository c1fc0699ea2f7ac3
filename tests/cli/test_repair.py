"""``sonde doctor --repair``: a damaged store becomes a new one, and what is lost is said."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from sonde.cli.documents import RepairDocument
from sonde.events import Event
from sonde.store import SQLiteStore

PAGE = 4096


@pytest.fixture
def sound(db: Path, sample: Any) -> Path:
    """A store of 400 events in one session."""
    sample.append(db, *(Event("tick", 10**18 + n, "s", data={"n": n, "text": "x" * 200}) for n in range(400)))
    return db


def pages_of(path: Path, name: str) -> list[int]:
    connection = apsw.Connection(str(path))
    try:
        found = connection.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (name,)).fetchall()
    finally:
        connection.close()
    return [page for (page,) in found]


@pytest.fixture
def damaged(sound: Path) -> Path:
    """The same with a page of events overwritten."""
    page = pages_of(sound, "events")[3]
    with sound.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(bytes(PAGE))
    return sound


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_damaged_store_is_repaired(damaged: Path, sonde: Any) -> None:
    """A new file beside it, what is lost by session and version, exit code 1; the damaged file is as it was."""
    assert sonde("doctor").code == 1
    before = digest(damaged)
    ran = sonde("doctor", "--repair")
    assert ran.code == 1
    assert digest(damaged) == before
    assert "✗ 's' versions " in ran.out
    assert f"✓ '{damaged.with_name('runs.repaired.db')}' is new and sound" in ran.out
    assert "sonde import BACKUP --db" in ran.out
    assert sorted(path.name for path in damaged.parent.iterdir()) == ["runs.db", "runs.repaired.db"]


def test_the_new_store_is_healthy_and_says_what_is_missing(damaged: Path, sonde: Any) -> None:
    """The loss is a remark, as other losses are, at its place in the session."""
    (repaired,) = sonde("doctor", "--repair", "--json").documents
    new = repaired["output"]
    ran = sonde("doctor", "--db", new)
    assert ran.code == 0
    assert f"{repaired['lost']} events never reached the store, in s" in ran.out
    (document,) = sonde("doctor", "--db", new, "--json").documents
    assert (document["verdict"], document["missed"]) == ("healthy", repaired["lost"])
    assert document["events"] == repaired["kept"] + 1
    ((first, last),) = repaired["lost_versions"]["s"]
    with SQLiteStore(new, mode="ro") as store:
        assert [event.version for event in store.read("s")] == [*range(1, first), *range(last, 401)]


def test_the_document_has_the_promised_fields(damaged: Path, sonde: Any) -> None:
    """--json prints one object with the documented fields."""
    (document,) = sonde("doctor", "--repair", "--json", "--output", damaged.with_name("saved.db")).documents
    assert list(document) == list(RepairDocument.__struct_fields__)
    assert document["output"] == str(damaged.with_name("saved.db"))
    assert document["kept"] + document["lost"] == 400
    assert (document["is_exact"], document["missed_at_most"], document["waiting"]) == (True, 0, 0)
    ((first, last),) = document["lost_numbers"]["w-1"]
    assert last - first + 1 == document["lost"]


def test_a_backup_fills_the_hole(sound: Path, sonde: Any) -> None:
    """What the text says works: an import adds what is missing, and nothing twice."""
    backup = sound.with_name("backup.db")
    assert sonde("backup", backup).code == 0
    page = pages_of(sound, "events")[2]
    with sound.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(bytes(PAGE))
    (repaired,) = sonde("doctor", "--repair", "--json").documents
    (imported,) = sonde("import", backup, "--db", repaired["output"], "--json").documents
    assert imported["imported"] == repaired["lost"] > 0
    with SQLiteStore(repaired["output"], mode="ro") as store:
        numbers = {event.data["n"] for event in store.read("s") if event.type == "tick"}
        assert numbers == set(range(400))


def test_a_sound_store(sound: Path, sonde: Any) -> None:
    """Nothing is lost: exit code 0."""
    ran = sonde("doctor", "--repair")
    assert ran.code == 0
    assert "nothing" in ran.out
    assert "400 events" in ran.out


def test_what_can_be_read_of_lost_events_is_kept(sound: Path, sonde: Any) -> None:
    """An altered event isn't in the new file, and what is left of it is beside it."""
    connection = apsw.Connection(str(sound))
    connection.execute("""UPDATE events SET data = '{"n":-1}' WHERE version = 7""")
    connection.close()
    ran = sonde("doctor", "--repair")
    quarantine = sound.with_name("runs.repaired.lost.jsonl")
    assert ran.code == 1
    assert str(quarantine) in ran.out
    (line,) = map(json.loads, quarantine.read_text().splitlines())
    assert (line["version"], line["data"], line["type"]) == (7, {"n": -1}, "tick")


def test_the_commands_that_put_it_in_place_work(damaged: Path, sonde: Any) -> None:
    """They move the log away with the damaged file: SQLite would apply it to the new one."""
    damaged.with_name("runs.db-wal").write_bytes(b"not a log at all")
    ran = sonde("doctor", "--repair")
    command = ran.out.rpartition("while no program records: ")[2].replace("\n", " ")
    subprocess.run(["sh", "-c", command], check=True)
    assert sonde("doctor").code == 0
    assert not damaged.with_name("runs.db-wal").exists()
    assert damaged.with_name("runs.db.damaged-wal").exists()


def test_a_lost_header(sound: Path, sonde: Any) -> None:
    """What doctor cannot open, exit code 2, it says how to save; and that works."""
    with sound.open("r+b") as file:
        file.write(bytes(PAGE))
    ran = sonde("doctor")
    assert ran.code == 2
    assert "doctor --repair` saves what can be read" in ran.err
    ran = sonde("doctor", "--repair")
    assert ran.code == 0
    assert "damage the header of the file\n" in ran.out


@pytest.mark.parametrize(("cut", "pages"), [(2 * PAGE, 2), (2 * PAGE + 100, 3), (100, 1)])
def test_a_file_that_was_cut_off(sound: Path, sonde: Any, cut: int, pages: int) -> None:
    """What the header says of the file's size tells how many pages are gone."""
    os.truncate(sound, sound.stat().st_size - cut)
    ran = sonde("doctor", "--repair")
    assert f"the last {pages} page{'s' if pages > 1 else ''} of the file cut off" in ran.out
    sound.with_name("runs.repaired.db").unlink()
    sound.with_name("runs.repaired.lost.jsonl").unlink(missing_ok=True)
    (document,) = sonde("doctor", "--repair", "--json").documents
    assert (document["missing_pages"], document["is_header_lost"]) == (pages, False)


def test_an_existing_file_is_left_alone(damaged: Path, sonde: Any) -> None:
    """Nothing is overwritten: exit code 2, and the message says what helps."""
    taken = damaged.with_name("runs.repaired.db")
    taken.write_text("mine")
    ran = sonde("doctor", "--repair")
    assert ran.code == 2
    assert "exists; name another output" in ran.err
    assert taken.read_text() == "mine"


def test_what_cannot_be_repaired(db: Path, sonde: Any, original: Any) -> None:
    """No file: 3. No store of sonde's: 2. Options that contradict each other: 2."""
    assert sonde("doctor", "--repair").code == 3
    db.write_text("hello " * 1_000)
    ran = sonde("doctor", "--repair")
    assert ran.code == 2
    assert "no event of sonde's" in ran.err
    assert sonde("doctor", "--repair", "--recover").code == 2
    assert sonde("doctor", "--output", "x.db").code == 2
    assert sonde("doctor", "--repair", "--output", db.parent / "none" / "x.db").code == 3
    for beside in ("", "-wal", "-lock"):
        ran = sonde("doctor", "--repair", "--output", f"{db}{beside}")
        assert ran.code == 2
        assert "lies beside it" in ran.err
    ran = sonde("doctor", "--repair", "--db", original("telemetry.db"))
    assert ran.code == 2


KILLED = """
import os, signal, sonde
rec = sonde.record(session_id="killed-1")
for n in range(200):
    rec.emit("tick", n=n)
rec.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_log_that_was_cut_off(db: Path, sonde: Any) -> None:
    """What its commits had is gone without a trace in the file; the killed writer's journal still tells how many."""
    done = subprocess.run([sys.executable, "-c", KILLED], check=False, timeout=60)
    assert done.returncode == -9
    log = Path(f"{db}-wal")
    os.truncate(log, log.stat().st_size - 100)
    before = digest(log)
    (document,) = sonde("doctor", "--repair", "--json").documents
    assert digest(log) == before
    lost = sum(last - first + 1 for ranges in document["lost_numbers"].values() for first, last in ranges)
    # The recorder's own session.started and the events; what the file doesn't tell of, the journal does.
    assert document["kept"] + lost + document["missed_at_most"] >= 201
    assert document["kept"] < 201
