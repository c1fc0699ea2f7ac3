"""``sonde export``: the wire form out, secrets kept in, files whole or not at all."""

import csv
import gzip
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sonde.events import Event

SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


def test_the_wire_form_on_stdout(recorded: Path, sonde: Any) -> None:
    """JSONL is the original's form: camelCase, empty fields left out, then the identity; one event a line."""
    ran = sonde("export", "fix-42")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.documents
    assert len(lines) == 12
    assert lines[2] == {
        "type": "tool.started",
        "timestamp": "2026-02-11T09:30:00.2Z",
        "sessionId": "fix-42",
        "data": {"args": {"path": "a.py"}, "tool": "read_file"},
        "traceId": "a" * 32,
        "spanId": f"{3:016x}",
        "parentId": f"{2:016x}",
        "writerId": "w-1",
        "seq": 3,
    }


def test_sessions_are_named(db: Path, sonde: Any, sample: Any) -> None:
    """Several sessions come one after the other; --all has them in the order of their commits."""
    for number, name in enumerate(("a", "b", "a", "c")):
        sample.append(db, Event("tick", 10**18, name, data={"n": number}), writer_id=f"w{number}")

    def exported(*arguments: str) -> list[int]:
        return [line["data"]["n"] for line in sonde("export", *arguments).documents]

    assert exported("b", "a") == [1, 0, 2]
    assert exported("--all") == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["runs.db", "runs.db-wal", "other-name.db"])
def test_the_store_itself_is_never_replaced(recorded: Path, sonde: Any, name: str) -> None:
    """Not even by --force, nor under another name, nor the log beside it."""
    (recorded.parent / "other-name.db").symlink_to(recorded)
    target = recorded.parent / name.replace("runs.db", recorded.name)
    ran = sonde("export", "--all", "--force", "-o", str(target))
    assert (ran.code, ran.out) == (2, "")
    assert "name another file" in ran.err
    assert sonde("doctor").code == 0


@pytest.mark.parametrize("arguments", [[], ["--all", "fix-42"]])
def test_what_to_export_must_be_clear(recorded: Path, sonde: Any, arguments: list[str]) -> None:
    """Neither nothing nor both of --all and SESSION."""
    ran = sonde("export", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "--all" in ran.err


def test_csv_has_a_heading(recorded: Path, sonde: Any) -> None:
    """CSV has the view's columns, and data as JSON."""
    rows = list(csv.DictReader(io.StringIO(sonde("export", "last", "--format", "csv").out)))
    assert len(rows) == 12
    assert (rows[2]["event_type"], rows[2]["version"]) == ("tool.started", "3")
    assert json.loads(rows[2]["data"])["tool"] == "read_file"


@pytest.mark.parametrize("name", ["x.xyz", "x.csv.zip", "x.json.gz"])
def test_an_ending_must_be_that_of_a_format(recorded: Path, sonde: Any, tmp_path: Path, name: str) -> None:
    """Another one is refused with those that there are, unless --format says what is meant; none is JSONL."""
    target = tmp_path / name
    ran = sonde("export", "--all", "-o", target)
    assert ran.code == 2
    assert f"'{target}' names no format; expected an ending of .jsonl, .csv, .parquet, or --format" in ran.err
    assert not target.exists()
    assert sonde("export", "--all", "-o", target, "--format", "csv").code == 0
    assert sonde("export", "--all", "-o", tmp_path / "plain", "--json").documents[0]["format"] == "jsonl"


def test_parquet_by_suffix(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """The suffix of -o chooses the format."""
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "runs.parquet"
    ran = sonde("export", "--all", "-o", target)
    assert ran.code == 0
    assert "12 events" in ran.err
    assert parquet.read_table(target).num_rows == 12


def test_parquet_needs_a_file(recorded: Path, sonde: Any) -> None:
    """Parquet is not written to a terminal or a pipe."""
    ran = sonde("export", "--all", "--format", "parquet")
    assert ran.code == 2
    assert "-o" in ran.err


def test_parquet_without_its_extra(recorded: Path, tmp_path: Path) -> None:
    """Without pyarrow the message says what to install."""
    program = "import sys; sys.modules['pyarrow'] = None; from sonde.cli import main; main()"
    command = [sys.executable, "-c", program, "export", "--all", "-o", str(tmp_path / "x.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "pip install 'sonde[parquet]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.parquet").exists()


def test_a_file_is_private_and_compressed_by_name(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """-o FILE.gz compresses; the file has mode 0600; stdout stays empty."""
    target = tmp_path / "x.jsonl.gz"
    ran = sonde("export", "--all", "-o", target)
    assert (ran.code, ran.out) == (0, "")
    assert len(gzip.decompress(target.read_bytes()).splitlines()) == 12
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_file_is_not_overwritten(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """An existing file stays as it is, unless --force."""
    target = tmp_path / "x.jsonl"
    target.write_text("precious")
    ran = sonde("export", "--all", "-o", target)
    assert ran.code == 2
    assert "--force" in ran.err
    assert target.read_text() == "precious"
    assert sonde("export", "--all", "-o", target, "--force").code == 0
    assert len(target.read_text().splitlines()) == 12


def test_a_failed_export_leaves_nothing(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """A folder that doesn't exist is an error in one line; no half file is left."""
    ran = sonde("export", "--all", "-o", tmp_path / "no" / "x.jsonl")
    assert (ran.code, len(ran.err.splitlines())) == (3, 1)
    assert "cannot export" in ran.err
    assert f"no folder '{tmp_path / 'no'}'" in ran.err
    before = set(os.listdir(tmp_path))
    assert sonde("export", "nope", "-o", tmp_path / "y.jsonl").code == 3
    assert set(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("format_name", ["jsonl", "csv"])
def test_secrets_stay_in(db: Path, sonde: Any, sample: Any, format_name: str) -> None:
    """What was stored with secrets leaves without them; --no-redact exports as stored."""
    sample.append(db, Event("note.taken", 10**18, "s", data={"text": f"token {SECRET}", "password": "hunter2"}))
    redacted = sonde("export", "last", "--format", format_name).out
    assert SECRET not in redacted
    assert "hunter2" not in redacted
    as_stored = sonde("export", "last", "--format", format_name, "--no-redact").out
    assert SECRET in as_stored
    assert "hunter2" in as_stored


def test_what_is_clean_stays_equal(recorded: Path, sonde: Any) -> None:
    """Redaction on the way out changes nothing where there is nothing to take out."""
    assert sonde("export", "last").out == sonde("export", "last", "--no-redact").out


def test_the_original_exports_as_it_did(sonde: Any, original: Any) -> None:
    """A database of the Go original exports the very events that the original wrote as JSON."""
    exported = sonde("export", "--all", "--no-redact", "--db", original("telemetry.db")).documents
    assert exported == [json.loads(line) for line in original("events.jsonl").read_text().splitlines()]


def test_a_reader_that_has_enough(recorded: Path) -> None:
    """``| head -1`` ends it quietly with 0."""
    command = f"{sys.executable} -m sonde export --all | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_a_full_disk_is_one_line(recorded: Path) -> None:
    """When stdout can't be written the message says why, and the exit code is 1."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "sonde", "export", "--all"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_reports_a_file(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """With -o one object on stdout says what was written; stderr stays empty."""
    target = tmp_path / "out.csv"
    ran = sonde("export", "--all", "-o", target, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.documents == [{"format": "csv", "events": 12, "path": str(target)}]


def test_json_without_a_file_is_jsonl(recorded: Path, sonde: Any) -> None:
    """On stdout the events themselves are the JSON; with another format there --json is a usage error."""
    assert sonde("export", "--all", "--json").out == sonde("export", "--all").out
    ran = sonde("export", "--all", "--json", "--format", "csv")
    assert (ran.code, ran.out) == (2, "")
    assert "-o FILE" in ran.err
