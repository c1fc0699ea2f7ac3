"""Importing: without a loss, once, and with every bad line named."""

import gzip
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sonde.errors import ConfigError, EventDecodeError, StoreError
from sonde.events import Event
from sonde.exporters import jsonl
from sonde.receivers import import_jsonl, import_original, intake
from sonde.redaction import NoRedactor
from sonde.store import SQLiteStore

ORIGINAL = Path(__file__).parents[4] / "shared" / "data" / "go-original"
TABLE = """CREATE TABLE telemetry_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream_id TEXT NOT NULL, event_type TEXT NOT NULL, version INTEGER NOT NULL,
    session_id TEXT NOT NULL DEFAULT '', plan_id TEXT NOT NULL DEFAULT '', task_id TEXT NOT NULL DEFAULT '',
    data TEXT NOT NULL DEFAULT '{}', timestamp TIMESTAMP NOT NULL, UNIQUE(stream_id, version))"""
TIMES = ["2026-02-11 09:30:0%d.630343314 +0000 UTC m=+0.012", "2026-02-11 09:30:0%d.5+00:00", "2026-02-11T09:30:0%dZ"]


@pytest.fixture
def store() -> Iterator[SQLiteStore]:
    with SQLiteStore(":memory:") as opened:
        yield opened


def original_file(name: str, folder: Path) -> Path:
    """A copy of one of the files that the original wrote."""
    if not (ORIGINAL / name).exists():
        pytest.skip(f"the original's {name} is not beside the project")
    copy = Path(shutil.copy(ORIGINAL / name, folder))
    copy.chmod(0o600)
    return copy


def line(number: int = 0, **data: Any) -> bytes:
    return Event("tool.completed", 10**18 + number, "s-1", data=data).to_json()


def write_lines(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def exported(store: SQLiteStore) -> list[Any]:
    out = io.BytesIO()
    jsonl.write(store.read_all(), out, redactor=NoRedactor())
    found = [json.loads(text) for text in out.getvalue().splitlines()]
    assert all(document.pop("writerId") and document.pop("seq") for document in found)
    return found


def rows() -> list[tuple[str, str, str, str, str, str, str]]:
    """Events in the original's columns, in all the forms that it leaves behind."""
    data = ['{"tool":"a","nested":{"none":null,"big":3784204342339455}}', "null", "{}", '{"title":"\\u003cb\\u003e ü"}']
    return [
        (f"s-{n % 2}", "tool.completed", f"s-{n % 2}", "p", "t" * (n % 3), data[n % 4], TIMES[n % 3] % n)
        for n in range(9)
    ]


def make_original(path: Path) -> Path:
    """A database as the original makes it."""
    versions: dict[str, int] = {}
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(TABLE)
        for stream, kind, session, plan, task, data, timestamp in rows():
            versions[stream] = versions.get(stream, 0) + 1
            connection.execute(
                "INSERT INTO telemetry_events"
                " (stream_id, event_type, version, session_id, plan_id, task_id, data, timestamp)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (stream, kind, versions[stream], session, plan, task, data, timestamp),
            )
    connection.close()
    return path


@pytest.mark.parametrize("name", ["telemetry.db", "telemetry-times.db", "events.jsonl"])
def test_what_the_original_wrote_is_imported_without_a_loss(store: SQLiteStore, tmp_path: Path, name: str) -> None:
    """The original's files come out again as it writes them itself: order, ids, data and every nanosecond."""
    path = original_file(name, tmp_path)
    take = import_jsonl if name.endswith(".jsonl") else import_original
    report = take(store, path, redactor=NoRedactor())
    expected = [json.loads(text) for text in original_file("events.jsonl", tmp_path).read_bytes().splitlines()]
    assert exported(store) == expected
    assert (report.read, report.imported, report.duplicates) == (len(expected), len(expected), 0)
    assert report.streams == {"s-alpha": 190, "s-beta": 190}
    assert [info.last_version for info in store.streams()] == [190, 190]


def test_a_database_of_the_original_s_shape_is_imported(store: SQLiteStore, tmp_path: Path) -> None:
    """A made-up database in the original's schema: streams, ids, ``null`` data and all forms of time arrive."""
    report = import_original(store, make_original(tmp_path / "go.db"), redactor=NoRedactor())
    assert (report.read, report.imported) == (9, 9)
    assert report.streams == {"s-0": 5, "s-1": 4}
    events = list(store.read_all())
    assert [event.stream_id for event in events] == [row[0] for row in rows()]
    assert [event.task_id for event in events] == [row[4] for row in rows()]
    assert [event.data for event in events] == [json.loads(row[5]) or {} for row in rows()]
    assert [event.time_ns % 10**9 for event in events[:3]] == [630343314, 500000000, 0]
    assert {event.writer_id for event in store.read("s-1")} == {"import-s-1"}


def test_the_same_events_in_another_format_are_known(store: SQLiteStore, tmp_path: Path) -> None:
    """Identity is content: after the database, the JSON lines of the same events add nothing."""
    import_original(store, make_original(tmp_path / "go.db"))
    path = tmp_path / "go.jsonl"
    jsonl.write(store.read_all(), path)
    report = import_jsonl(store, path)
    assert (report.imported, report.duplicates) == (0, 9)


def test_what_sonde_exported_keeps_its_identity(store: SQLiteStore) -> None:
    """Lines of sonde's own export are known by writer and number, also where redaction changed them since."""
    store.append("s-1", [Event("tick", 1, "s-1", data={"password": "hunter2"}), Event("tick", 1), Event("", 2)])
    out = io.BytesIO()
    jsonl.write(store.read_all(), out)
    report = import_jsonl(store, io.BytesIO(out.getvalue()))
    assert (report.read, report.imported, report.duplicates) == (3, 0, 3)
    with SQLiteStore(":memory:") as other:
        assert import_jsonl(other, io.BytesIO(out.getvalue())).imported == 3
        found = [(event.writer_id, event.seq) for event in other.read_all()]
    assert found == [(event.writer_id, event.seq) for event in store.read_all()]


def test_half_an_identity_is_none(store: SQLiteStore) -> None:
    """A line with only one of ``writerId`` and ``seq``, or with them in its data, is known by what it says."""
    for text in (
        b'{"type":"a","seq":5}',
        b'{"type":"b","writerId":"w"}',
        b'{"type":"c","data":{"writerId":1,"seq":2}}',
    ):
        assert import_jsonl(store, io.BytesIO(text)).imported == 1
    assert {event.writer_id for event in store.read_all()} == {"import-default"}


def test_a_second_import_adds_nothing_and_a_grown_file_the_rest(store: SQLiteStore, tmp_path: Path) -> None:
    """Equal lines of one file are all kept, and still recognised the next time."""
    path = write_lines(tmp_path / "log.jsonl", line(1), line(1), line(2), line(1))
    assert import_jsonl(store, path).imported == 4
    again = import_jsonl(store, path)
    assert (again.read, again.imported, again.duplicates) == (4, 0, 4)
    with path.open("ab") as file:
        file.write(line(1) + b"\n" + line(3) + b"\n")
    assert import_jsonl(store, path).imported == 2
    assert store.head("s-1") == 6


def test_other_redaction_does_not_make_other_events(store: SQLiteStore, tmp_path: Path) -> None:
    """A file imported with redaction and then without is known: what is stored stays redacted."""
    path = write_lines(tmp_path / "log.jsonl", line(password="hunter2"), line(tool="a"))
    import_jsonl(store, path)
    assert import_jsonl(store, path, redactor=NoRedactor()).duplicates == 2
    first, second = store.read("s-1")
    assert "hunter2" not in str(first.data)
    assert second.data == {"tool": "a"}


def test_no_redactor_keeps_a_file_as_it_is(store: SQLiteStore, tmp_path: Path) -> None:
    """Who asks for it gets the data unchanged."""
    import_jsonl(store, write_lines(tmp_path / "log.jsonl", line(password="hunter2")), redactor=NoRedactor())
    assert next(store.read("s-1")).data == {"password": "hunter2"}


def test_streams_are_named_by_argument_session_or_default(store: SQLiteStore) -> None:
    """An argument wins, then the event's session, then ``default``."""
    text = line() + b"\n" + Event("debug", 1).to_json()
    assert import_jsonl(store, io.BytesIO(text)).streams == {"s-1": 1, "default": 1}
    assert import_jsonl(store, io.BytesIO(text), stream_id="mine").streams == {"mine": 2}
    assert [event.session_id for event in store.read("mine")] == ["s-1", ""]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line()[:-10], "truncated"),
        (b"not json", "malformed"),
        (b'{"timestamp":"2026-02-11T09:30:00Z"}', "missing required field `type`"),
        (b'{"type":"a","writerId":"","seq":1}', "its `writerId` is no name"),
        (b'{"type":"a","writerId":7,"seq":1}', "its `writerId` is no name"),
        (b'{"type":"a","writerId":"w","seq":0}', "its `seq` is no 64-bit number"),
        (b'{"type":"a","writerId":"w","seq":"1"}', "its `seq` is no 64-bit number"),
        (b'{"type":"a","writerId":"w","seq":9223372036854775808}', "its `seq` is no 64-bit number"),
        (b'{"type":"a.b","data":{"x":1e400}}', "the number 1e400 is out of range"),
        (b'{"type":"a.b","timestamp":"noon"}', "cannot read timestamp 'noon'"),
        (b'{"type":"a.b","timestamp":"2999-01-01T00:00:00Z"}', "outside the years"),
        (b'{"type":"a.b","data":[1]}', "array"),
        (b"\xff\xfe{\x00", "cannot read event"),
        (b"[" * 5_000, "cannot read event"),
    ],
)
def test_a_bad_line_is_named(store: SQLiteStore, tmp_path: Path, bad: bytes, reason: str) -> None:
    """The error has file, line number and reason; what stood before it is imported, and the rest after mending."""
    path = write_lines(tmp_path / "log.jsonl", line(1), b"", bad, line(2))
    with pytest.raises(EventDecodeError) as caught:
        import_jsonl(store, path)
    assert f"cannot import '{path}', line 3: " in str(caught.value)
    assert reason in str(caught.value)
    assert store.head("s-1") == 1
    report = import_jsonl(store, path, skip_bad=True)
    assert (report.read, report.imported, report.skipped_count) == (2, 1, 1)
    ((number, why),) = report.skipped
    assert number == 3
    assert reason in why


def test_blank_lines_line_ends_and_a_byte_order_mark_are_fine(store: SQLiteStore) -> None:
    """What editors and Windows add is no error."""
    text = b"\xef\xbb\xbf\r\n" + line(1) + b"\r\n\r\n  \n" + line(2)
    assert import_jsonl(store, io.BytesIO(text)).imported == 2


def test_gzip_is_read_by_its_suffix(store: SQLiteStore, tmp_path: Path) -> None:
    """A compressed file is read; one that is cut off, or is none, is an error whatever is skipped; the rest is kept."""
    path = tmp_path / "log.jsonl.gz"
    data = gzip.compress(b"".join(line(n, noise=os.urandom(64).hex()) + b"\n" for n in range(300)))
    path.write_bytes(data)
    assert import_jsonl(store, path).imported == 300
    path.write_bytes(data[: len(data) // 2])
    for skip_bad in (False, True):
        with SQLiteStore(tmp_path / f"{skip_bad}.db") as cut:
            with pytest.raises(ConfigError, match=r"from line \d+ on: .*; expected a whole file; .* kept: ") as caught:
                import_jsonl(cut, path, skip_bad=skip_bad)
            kept = int(str(caught.value).rpartition(" ")[2])
            assert 0 < kept == cut.head("s-1") < 300
    path.write_bytes(line(1))
    with pytest.raises(ConfigError, match=r"from line 1 on: .*; expected gzip data, as the name says; .* kept: 0"):
        import_jsonl(store, path, skip_bad=True)


def test_long_lines_and_small_batches_arrive(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of many megabytes is an event; batches end by size and by number, and progress is told at each."""
    monkeypatch.setattr(intake, "BATCH_EVENTS", 2)
    reported: list[int] = []
    text = b"\n".join([line(1, text="x" * 9_000_000), line(2), line(3), line(4)])
    assert import_jsonl(store, io.BytesIO(text), progress=reported.append).imported == 4
    assert reported == [1, 3, 4]
    assert len(next(store.read("s-1")).data["text"]) == 9_000_000


def test_numbers_past_64_bits_are_kept_as_text(store: SQLiteStore) -> None:
    """What a store cannot hold as a number is kept readable, and listed."""
    import_jsonl(store, io.BytesIO(b'{"type":"a.b","data":{"n":123456789012345678901234567890}}'))
    (event,) = store.read_all()
    assert event.data == {
        "n": "123456789012345678901234567890",
        "$replaced": {"/n": "int past 64 bits as text"},
    }


def test_a_lone_surrogate_is_kept_as_a_visible_escape(store: SQLiteStore) -> None:
    """A line that Python's ``json.dumps`` wrote is imported, once; what no store can hold is replaced and listed."""
    text = json.dumps({"type": "x", "sessionId": "s\ud800", "data": {"x": "\ud800", "n": float("inf")}}).encode()
    assert import_jsonl(store, io.BytesIO(text)).imported == 1
    assert import_jsonl(store, io.BytesIO(text)).duplicates == 1
    (event,) = store.read_all()
    assert (event.session_id, event.data["x"], event.data["n"]) == ("s\\ud800", "\\ud800", "Infinity")
    assert set(event.data["$replaced"]) == {"/x", "/n"}


def test_a_file_that_is_not_there_is_named(store: SQLiteStore, tmp_path: Path) -> None:
    """No such file, a folder, and a database that is none give errors with the path."""
    for path in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(ConfigError, match="cannot import") as caught:
            import_jsonl(store, path)
        assert str(path) in str(caught.value)
    with pytest.raises(StoreError):
        import_original(store, tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()


def test_an_import_leaves_the_original_alone(store: SQLiteStore, tmp_path: Path) -> None:
    """The database that is read keeps its bytes, and gets no files beside it that stay."""
    path = make_original(tmp_path / "go.db")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    import_original(store, path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
