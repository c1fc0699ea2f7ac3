"""Exporters: complete, readable files that appear at once or not at all."""

import csv
import gzip
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sonde.errors import ConfigError, MissingExtraError, SondeError
from sonde.events import Event, Position, RecordedEvent, format_timestamp
from sonde.exporters import FORMATS, jsonl, parquet, table
from sonde.redaction import NoRedactor

Write = Callable[..., int]
every_format = pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)


def recorded(version: int, **data: Any) -> RecordedEvent:
    return RecordedEvent(
        "tool.completed",
        1_770_802_200_630_343_300 + version,
        "sess",
        "plan",
        "task",
        data,
        "1" * 32,
        "2" * 16,
        "3" * 16,
        "w",
        version,
        stream_id="str,eam",
        version=version,
        position=Position(version * 10),
    )


EVENTS = [
    recorded(1, tool="a", text='quote " comma , line\nbreak ü 🎈'),
    recorded(2, nested={"b": [1, None]}),
    recorded(3),
]


def test_jsonl_reads_back_as_the_same_events(tmp_path: Path) -> None:
    """Each line is an event's wire form, nanoseconds included."""
    path = tmp_path / "out.jsonl"
    assert jsonl.write(EVENTS, path) == 3
    lines = path.read_bytes().splitlines()
    assert [Event.from_json(line).data for line in lines] == [event.data for event in EVENTS]
    assert [Event.from_json(line).time_ns for line in lines] == [event.time_ns for event in EVENTS]
    assert json.loads(lines[0])["spanId"] == "2" * 16


def test_csv_has_the_view_s_columns(tmp_path: Path) -> None:
    """A CSV reader gets every value back, whatever quotes and line breaks it has."""
    path = tmp_path / "out.csv"
    assert table.write(EVENTS, path) == 3
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == table.COLUMNS
    assert [json.loads(row["data"]) for row in rows] == [event.data for event in EVENTS]
    assert rows[1]["id"] == "20"
    assert rows[1]["stream_id"] == "str,eam"
    assert rows[1]["timestamp"] == format_timestamp(EVENTS[1].time_ns)
    assert (rows[1]["trace_id"], rows[1]["span_id"], rows[1]["parent_id"]) == ("1" * 32, "2" * 16, "3" * 16)


def test_parquet_has_typed_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another reader gets integers, UTC nanoseconds and JSON back, from zstd row groups."""
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parquet, "ROW_GROUP", 2)
    path = tmp_path / "out.parquet"
    assert parquet.write(EVENTS, path) == 3
    file = pq.ParquetFile(path)
    assert file.metadata.num_row_groups == 2
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    read = file.read()
    assert tuple(read.column_names) == table.COLUMNS
    assert str(read.schema.field("timestamp").type) == "timestamp[ns, tz=UTC]"
    assert read["timestamp"].cast("int64").to_pylist() == [event.time_ns for event in EVENTS]
    assert read["version"].to_pylist() == [1, 2, 3]
    assert [json.loads(data) for data in read["data"].to_pylist()] == [event.data for event in EVENTS]


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyarrow is missing, the error says what to install, and nothing is written."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sonde\[parquet\]'"):
        parquet.write(EVENTS, tmp_path / "x.parquet")
    assert not list(tmp_path.iterdir())


def test_importing_the_exporters_does_not_load_pyarrow() -> None:
    """An extra loads on use only."""
    code = "import sys, sonde.exporters; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@every_format
def test_an_empty_export_is_a_valid_file(tmp_path: Path, write: Write) -> None:
    """No events give a file without rows, not an error."""
    path = tmp_path / "empty"
    assert write([], path) == 0
    assert path.exists()


@every_format
def test_files_are_private(tmp_path: Path, write: Write) -> None:
    """An export may hold prompts: nobody else may read it, and no temporary file stays."""
    path = tmp_path / "out"
    write(EVENTS, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@every_format
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_an_interrupted_export_leaves_nothing(tmp_path: Path, write: Write, error: type[BaseException]) -> None:
    """Whatever ends an export early, there is no half file, and an older one stays as it was."""
    path = tmp_path / "out"
    path.write_bytes(b"older")

    def failing() -> Iterator[RecordedEvent]:
        yield EVENTS[0]
        raise error

    with pytest.raises((error, SondeError)):
        write(failing(), path, overwrite=True)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"older"


@every_format
def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path: Path, write: Write) -> None:
    """Overwriting is asked for, by name."""
    path = tmp_path / "out"
    path.write_bytes(b"older")
    with pytest.raises(ConfigError, match="the file exists"):
        write(EVENTS, path)
    assert path.read_bytes() == b"older"
    write(EVENTS, path, overwrite=True)
    assert path.read_bytes() != b"older"


def test_a_file_that_comes_up_meanwhile_is_kept(tmp_path: Path) -> None:
    """Two exports to one name: the second to finish fails instead of replacing the first."""
    path = tmp_path / "out"

    def racing() -> Iterator[RecordedEvent]:
        yield EVENTS[0]
        path.write_bytes(b"faster")

    with pytest.raises(ConfigError, match="the file exists"):
        jsonl.write(racing(), path)
    assert path.read_bytes() == b"faster"
    assert list(tmp_path.iterdir()) == [path]


def test_an_open_file_is_written_to_and_left_open() -> None:
    """A binary file of the caller's own is theirs to close."""
    out = io.BytesIO()
    jsonl.write(EVENTS, out)
    table.write(EVENTS, out)
    assert out.getvalue().count(b"tool.completed") == 6


def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    """A pipe or device is not replaced by a file."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        jsonl.write(EVENTS, fifo)
        assert os.read(reader, 1 << 16).count(b"\n") == 3
        assert stat.S_ISFIFO(fifo.stat().st_mode)
    finally:
        os.close(reader)


def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    """The file behind a link is replaced, not the link."""
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    jsonl.write(EVENTS, link)
    assert link.is_symlink()
    assert target.read_bytes().count(b"\n") == 3


def test_gz_is_compressed(tmp_path: Path) -> None:
    """A name that ends in .gz gives a gzip file, the same bytes each time."""
    first, second = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"
    jsonl.write(EVENTS, first)
    jsonl.write(EVENTS, second)
    assert gzip.decompress(first.read_bytes()).count(b"\n") == 3
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["missing/out", "."])
def test_an_impossible_place_is_named(tmp_path: Path, name: str) -> None:
    """A folder that is not there, or that is one, gives an error with the path."""
    with pytest.raises(SondeError, match="cannot export to") as caught:
        jsonl.write(EVENTS, tmp_path / name)
    assert str(tmp_path) in str(caught.value)


@every_format
def test_secrets_are_taken_out(tmp_path: Path, write: Write) -> None:
    """Every export is redacted, whatever way its events came into the store, unless told otherwise."""
    events = [recorded(1, password="hunter2"), recorded(2, tool="a")]
    write(events, tmp_path / "safe")
    write(events, tmp_path / "raw", redactor=NoRedactor())
    assert b"hunter2" not in (tmp_path / "safe").read_bytes()
    assert b"hunter2" in (tmp_path / "raw").read_bytes()
    assert events[0].data == {"password": "hunter2"}


@every_format
def test_progress_is_reported(tmp_path: Path, write: Write) -> None:
    """The last report is the number of events."""
    reported: list[int] = []
    write(EVENTS, tmp_path / "out", progress=reported.append)
    assert reported[-1] == 3
