"""``sonde import``: every kind of file, each event once, bad lines by number, secrets left behind."""

import gzip
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sonde.events import Event, RecordedEvent
from sonde.store import open as open_store

SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


def events_in(path: Path) -> list[RecordedEvent]:
    with closing(open_store(path, mode="ro")) as store:
        return list(store.read_all())


def lines(count: int, session: str = "s") -> str:
    return "".join(Event("tick", 10**18 + n, session, data={"n": n}).to_json().decode() + "\n" for n in range(count))


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text(lines(10))
    return path


def test_jsonl_comes_in(db: Path, sonde: Any, jsonl: Path) -> None:
    """Each line becomes an event of its session's stream; the report is on stderr."""
    ran = sonde("import", jsonl)
    assert (ran.code, ran.out) == (0, "")
    assert "10 read, 10 imported, 1 session" in ran.err
    assert [(event.stream_id, event.data["n"]) for event in events_in(db)] == [("s", n) for n in range(10)]


def test_importing_twice_adds_nothing(db: Path, sonde: Any, jsonl: Path) -> None:
    """A second import of the same file finds everything there; a grown file adds what is new."""
    sonde("import", jsonl)
    assert "0 imported, 10 already there, or removed before" in sonde("import", jsonl).err
    jsonl.write_text(lines(12))
    assert "2 imported, 10 already there" in sonde("import", jsonl).err
    assert len(events_in(db)) == 12


def test_export_and_import_are_inverse(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """What was exported comes back as it was, and exports the same again."""
    exported = sonde("export", "--all").out
    (tmp_path / "x.jsonl").write_text(exported)
    assert sonde("import", tmp_path / "x.jsonl", "--db", tmp_path / "copy.db").code == 0
    assert sonde("export", "--all", "--db", tmp_path / "copy.db").out == exported


def test_a_round_trip_adds_nothing(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """An export is known to the store that it is of; after it a third store knows the store itself, and vice versa."""
    sonde("export", "--all", "-o", tmp_path / "x.jsonl")
    before = len(events_in(recorded))
    assert f"0 imported, {before} already there" in sonde("import", tmp_path / "x.jsonl").err
    assert len(events_in(recorded)) == before
    for order in ([tmp_path / "x.jsonl", recorded], [recorded, tmp_path / "x.jsonl"]):
        third = tmp_path / f"third-{order[0].name}.db"
        sonde("import", *order, "--db", third)
        assert len(events_in(third)) == before


def test_an_event_without_a_type_comes_back_and_is_visible(db: Path, sonde: Any, sample: Any, tmp_path: Path) -> None:
    """``emit("")`` is recorded, so its export is read back; the tables and lines give it a name to be seen by."""
    sample.append(db, Event("", 10**18, "s", data={"n": 1}))
    (tmp_path / "x.jsonl").write_text(sonde("export", "--all").out)
    copy = tmp_path / "copy.db"
    assert sonde("import", tmp_path / "x.jsonl", "--db", copy).code == 0
    for command in (["stats"], ["show", "s", "--events"], ["tail"]):
        assert "(no type)" in sonde(*command, "--db", copy).out


def test_events_without_an_end_or_a_time_claim_neither(db: Path, sonde: Any, tmp_path: Path) -> None:
    """A session of bare events is stale, not completed, and a time that is not there is a dash, not 1970."""
    (tmp_path / "x.jsonl").write_text('{"type":"note","sessionId":"s"}\n')
    sonde("import", tmp_path / "x.jsonl")
    assert sonde("sessions").out.splitlines()[1].split()[:4] == ["s", "stale", "–", "–"]
    for command in (["show", "s", "--events"], ["tail"]):
        shown = sonde(*command).out
        assert "–" in shown
        assert "1970" not in shown


def test_an_empty_name_of_a_session_is_refused(db: Path, sonde: Any, jsonl: Path) -> None:
    """``--session ''`` would make a stream that nobody can name."""
    ran = sonde("import", jsonl, "--session", "")
    assert ran.code == 2
    assert "--session" in ran.err
    assert not db.exists()


def test_stdin_and_compressed_files(db: Path, jsonl: Path, sonde: Any, tmp_path: Path) -> None:
    """``-`` reads stdin; a name that ends in .gz is decompressed; both are the same events."""
    command = [sys.executable, "-m", "sonde", "import", "-"]
    done = subprocess.run(command, input=jsonl.read_bytes(), capture_output=True, check=False, timeout=30)
    assert done.returncode == 0
    assert b"10 imported" in done.stderr
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(jsonl.read_bytes()))
    assert "10 already there" in sonde("import", tmp_path / "x.jsonl.gz").err


def test_a_file_cut_off_is_no_bad_line(db: Path, jsonl: Path, sonde: Any, tmp_path: Path) -> None:
    """Cut gzip data ends with 2, --skip-bad or not: the rest of the file is missing, and no option is advised."""
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(jsonl.read_bytes())[:-12])
    for options in ([], ["--skip-bad"]):
        ran = sonde("import", tmp_path / "x.jsonl.gz", *options)
        assert (ran.code, ran.out) == (2, "")
        assert "expected a whole file" in ran.err
        assert "--skip-bad" not in ran.err


def test_a_bad_line_ends_it_with_its_number(db: Path, sonde: Any, jsonl: Path) -> None:
    """A cut line exits with 2, names line and remedy, and what came before it is kept."""
    jsonl.write_text(lines(3) + '{"type": "tick", "time\n' + lines(5))
    ran = sonde("import", jsonl)
    assert ran.code == 2
    assert "line 4" in ran.err
    assert "--skip-bad" in ran.err
    assert "Traceback" not in ran.err
    assert len(events_in(db)) == 3


def test_bad_lines_can_be_skipped(db: Path, sonde: Any, jsonl: Path) -> None:
    """--skip-bad imports the rest, lists the lines, and exits with 0."""
    jsonl.write_text("no json\n" + lines(3) + "[1]\n" + lines(5, "t") + '{"type":"x","timestamp":"yesterday"}')
    ran = sonde("import", jsonl, "--skip-bad")
    assert ran.code == 0
    assert "8 imported, 3 lines skipped" in ran.err
    for number in (1, 5, 11):
        assert f"line {number}: " in ran.err
    assert len(events_in(db)) == 8


def test_everything_into_one_session(db: Path, sonde: Any, jsonl: Path) -> None:
    """--session puts all events into that stream."""
    jsonl.write_text(lines(2, "a") + lines(2, "b"))
    sonde("import", jsonl, "--session", "mine")
    assert {event.stream_id for event in events_in(db)} == {"mine"}


def test_secrets_are_left_behind(db: Path, sonde: Any, tmp_path: Path) -> None:
    """Secrets in the file don't reach the store; --no-redact keeps the file as it is."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(Event("note.taken", 1, "s", data={"text": SECRET, "password": "hunter2"}).to_json())
    sonde("import", path)
    data = json.dumps([event.data for event in events_in(db)])
    assert SECRET not in data
    assert "hunter2" not in data
    sonde("import", path, "--no-redact", "--db", tmp_path / "raw.db")
    assert events_in(tmp_path / "raw.db")[0].data == {"text": SECRET, "password": "hunter2"}


# -- databases --------------------------------------------------


def test_a_database_of_the_original(db: Path, sonde: Any, original: Any) -> None:
    """It is told by its content, whatever its name; its JSON lines are the same events."""
    source = original("telemetry.db")
    source = source.rename(source.with_name("whatever.jsonl"))
    assert "380 imported, 2 sessions" in sonde("import", source).err
    assert "0 imported, 380 already there" in sonde("import", original("events.jsonl")).err
    assert len(events_in(db)) == 380


def test_stores_of_two_machines_become_one(db: Path, sonde: Any, sample: Any, tmp_path: Path) -> None:
    """Events of another store keep writer and number; importing again adds only what is new."""
    other = tmp_path / "other.db"
    sample.append(db, *sample.agent_run("here"), writer_id="w-here")
    sample.append(other, *sample.agent_run("there"), writer_id="w-there")
    ran = sonde("import", other)
    assert ran.code == 0
    assert "12 read, 12 imported, 1 session" in ran.err
    copied = [event for event in events_in(db) if event.stream_id == "there"]
    assert [(event.writer_id, event.seq) for event in copied] == [("w-there", n) for n in range(1, 13)]
    assert [event.to_json() for event in copied] == [event.to_json() for event in events_in(other)]
    sample.append(other, Event("late", 10**18, "there"), writer_id="w-there", first_seq=13)
    assert "1 imported, 12 already there" in sonde("import", other).err
    assert sonde("show", "there").code == 0


def test_another_store_is_redacted_too(db: Path, sonde: Any, sample: Any, tmp_path: Path) -> None:
    """Every door redacts: a store that was recorded with its secrets is copied without them."""
    other = tmp_path / "other.db"
    sample.append(other, Event("note.taken", 1, "s", data={"text": SECRET}))
    sonde("import", other)
    assert SECRET not in json.dumps([event.data for event in events_in(db)])
    sonde("import", other, "--no-redact", "--db", tmp_path / "raw.db")
    assert events_in(tmp_path / "raw.db")[0].data == {"text": SECRET}


def test_the_source_is_not_changed(db: Path, sonde: Any, sample: Any, tmp_path: Path) -> None:
    """An imported store is only read: same bytes, no files beside it."""
    folder = tmp_path / "source"
    folder.mkdir()
    sample.append(folder / "other.db", *sample.agent_run())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    sonde("import", folder / "other.db")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_store_is_not_imported_into_itself(recorded: Path, sonde: Any) -> None:
    """The store itself as FILE is a mistake, and said to be one."""
    ran = sonde("import", recorded)
    assert ran.code == 2
    assert "the store itself" in ran.err


def test_a_foreign_database_is_refused(db: Path, sonde: Any, tmp_path: Path) -> None:
    """An SQLite database of another program is named as such."""
    import sqlite3

    with closing(sqlite3.connect(tmp_path / "foreign.db")) as connection:
        connection.execute("CREATE TABLE birds (name)")
        connection.commit()
    ran = sonde("import", tmp_path / "foreign.db")
    assert ran.code == 2
    assert "another program" in ran.err


def test_a_missing_file_stops_before_anything_is_written(db: Path, sonde: Any, jsonl: Path, tmp_path: Path) -> None:
    """All FILEs are looked for first: exit code 3, and nothing imported, no store made."""
    ran = sonde("import", jsonl, tmp_path / "nope.jsonl")
    assert ran.code == 3
    assert "nope.jsonl" in ran.err
    assert not db.exists()


def test_a_folder_is_refused(db: Path, sonde: Any, tmp_path: Path) -> None:
    """A folder is no file to import."""
    assert sonde("import", tmp_path).code == 2


def test_a_file_without_permission(sonde: Any, open_folder: Path, sample: Any) -> None:
    """A file that may not be read is named, in one line, with exit code 2."""
    path = open_folder / "private.jsonl"
    path.write_text(lines(1))
    path.chmod(0o600)
    mine = open_folder / "mine"
    mine.mkdir()
    mine.chmod(0o777)
    with sample.as_nobody():
        ran = sonde("import", path, "--db", mine / "runs.db")
    assert ran.code == 2
    assert "Permission denied" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_json_is_one_object_a_file(db: Path, sonde: Any, jsonl: Path) -> None:
    """Counts, and the skipped lines with their reasons, on stdout; stderr stays empty."""
    jsonl.write_text(lines(3) + "no event\n")
    ran = sonde("import", jsonl, "--skip-bad", "--json")
    assert (ran.code, ran.err) == (0, "")
    (document,) = ran.documents
    (skipped,) = document.pop("skipped_lines")
    assert document == {
        "path": str(jsonl), "db": str(db), "read": 3, "imported": 3, "duplicates": 0, "skipped": 1, "sessions": 1,
    }  # fmt: skip
    assert skipped["line"] == 4
    assert skipped["reason"]
