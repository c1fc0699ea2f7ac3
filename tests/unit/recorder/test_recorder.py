"""The recorder: opened as one, closed as one, and harmless to its host."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import sonde
from sonde.errors import ConfigError
from sonde.events import EventType
from sonde.store import SQLiteStore


def types(path: Path, session_id: str) -> list[str]:
    with SQLiteStore(path, mode="ro") as store:
        return [event.type for event in store.read(session_id)]


def test_a_session_begins_and_ends_with_its_recorder(tmp_path: Path) -> None:
    """session.started says who records, session.ended how it ended; both are of one span."""
    path = tmp_path / "runs.db"
    with sonde.record(path, session_id="s", tags=["ci"]) as rec:
        rec.emit("note.taken", text="hello")
    with SQLiteStore(path, mode="ro") as store:
        started, note, ended = store.read("s")
    assert (started.type, note.type, ended.type) == ("session.started", "note.taken", "session.ended")
    assert started.data["pid"] == os.getpid()
    assert started.data["tags"] == ["ci"]
    assert started.data["versions"]["sonde"]
    assert started.data["host"]
    assert isinstance(started.data["argv"], list)
    assert ended.data["status"] == "completed"
    assert ended.data["duration_s"] >= 0
    assert started.span_id == ended.span_id != ""
    assert {started.writer_id, note.writer_id, ended.writer_id} == {rec.hub.writer_id}


def test_an_exception_fails_the_session_and_passes_through(tmp_path: Path) -> None:
    """The ``with`` block's exception is recorded as the session's, and is the caller's still."""
    path = tmp_path / "runs.db"
    error = RuntimeError("boom")
    with pytest.raises(RuntimeError) as caught, sonde.record(path, session_id="s"):
        raise error
    assert caught.value is error
    with SQLiteStore(path, mode="ro") as store:
        *_, ended = store.read("s")
    assert ended.data["status"] == "failed"
    assert (ended.data["error_type"], ended.data["error"]) == ("RuntimeError", "boom")


def test_reopening_a_session_continues_its_stream(tmp_path: Path) -> None:
    """A second recorder of the same session appends to it; versions go on without a hole."""
    path = tmp_path / "runs.db"
    for number in (1, 2):
        with sonde.record(path, session_id="s") as rec:
            rec.emit("note.taken", number=number)
    with SQLiteStore(path, mode="ro") as store:
        events = list(store.read("s"))
    assert [event.version for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.data["number"] for event in events if event.type == "note.taken"] == [1, 2]
    assert len({event.writer_id for event in events}) == 2


def test_operations_hang_under_the_session_in_every_thread(tmp_path: Path) -> None:
    """A plain thread without context still records into the session, under its span."""
    path = tmp_path / "runs.db"
    with sonde.record(path, session_id="s") as rec:

        def work() -> None:
            with rec.tool("read_file"):
                rec.emit("note.taken")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    with SQLiteStore(path, mode="ro") as store:
        started, tool, note, *_ = store.read("s")
    assert tool.parent_id == started.span_id
    assert tool.trace_id == started.trace_id
    assert note.parent_id == tool.span_id
    assert {tool.session_id, note.session_id} == {"s"}


def test_two_recorders_do_not_take_each_others_events(tmp_path: Path) -> None:
    """Side by side in one context, each recorder keeps its events and its operations in its own session."""
    with sonde.record(tmp_path / "a.db", session_id="a") as a, sonde.record(tmp_path / "b.db", session_id="b") as b:
        a.emit("from.a")
        b.emit("from.b")
        with a.tool("x"):
            pass
    assert types(tmp_path / "a.db", "a") == [
        "session.started",
        "from.a",
        "tool.started",
        "tool.completed",
        "session.ended",
    ]
    assert types(tmp_path / "b.db", "b") == ["session.started", "from.b", "session.ended"]


def test_close_is_idempotent_and_final(tmp_path: Path) -> None:
    """A second close does nothing and says the same; what is emitted afterwards is counted as dropped, never raised."""
    rec = sonde.record(tmp_path / "runs.db", session_id="s")
    report = rec.close()
    assert report
    assert rec.close() is report
    rec.emit("too.late")
    with rec.tool("too_late"):
        pass
    assert rec.stats().hub.dropped == {"closed": 3}
    assert types(tmp_path / "runs.db", "s") == ["session.started", "session.ended"]


def test_a_recorder_that_is_dropped_is_still_closed_at_exit(tmp_path: Path) -> None:
    """A program that never closes its recorder, and holds it no more, loses nothing at exit."""
    code = (
        "import sonde, gc, sys\n"
        "def main():\n"
        "    rec = sonde.record(sys.argv[1], session_id='s')\n"
        "    for i in range(1000): rec.emit('n', i=i)\n"
        "main(); gc.collect()\n"
    )
    run = _python(code, tmp_path / "runs.db")
    assert (run.returncode, run.stderr) == (0, "")
    assert types(tmp_path / "runs.db", "s") == ["session.started", *["n"] * 1000, "session.ended"]


def test_an_uncaught_exception_fails_the_session_at_exit(tmp_path: Path) -> None:
    """A script that dies of an exception without closing its recorder has a failed session, and its usual traceback."""
    code = "import sonde, sys\nrec = sonde.record(sys.argv[1], session_id='s')\nraise ValueError('boom')\n"
    run = _python(code, tmp_path / "runs.db")
    assert run.returncode == 1
    assert run.stderr.rstrip().endswith("ValueError: boom")
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        *_, ended = store.read("s")
    assert (ended.data["status"], ended.data["error"]) == ("failed", "boom")


def _python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_disabled_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SONDE_DISABLED=1 opens no file and starts no thread; every call works and does nothing."""
    monkeypatch.setenv("SONDE_DISABLED", "1")
    threads = set(threading.enumerate())
    with sonde.record(tmp_path / "no" / "runs.db", session_id="s") as rec:
        rec.emit("n", i=1)
        rec.publish(sonde.Event("n"))
        with rec.task("t"), rec.tool("x", path="p") as op:
            op.set(result=1)

        @rec.tool
        def double(x: int) -> int:
            return 2 * x

        assert double(4) == 8
        assert rec.flush()
        assert rec.stats().committed == 0
    assert set(threading.enumerate()) <= threads
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_not_disabled(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty and negative words leave recording on."""
    monkeypatch.setenv("SONDE_DISABLED", value)
    with sonde.record(":memory:") as rec:
        rec.emit("n")
        assert rec.flush()
        assert rec.stats().committed == 2


def test_the_environment_names_store_session_and_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SONDE_DB, SONDE_SESSION and TRACEPARENT place a program into the run that started it."""
    monkeypatch.setenv("SONDE_DB", str(tmp_path / "env.db"))
    monkeypatch.setenv("SONDE_SESSION", "outer")
    monkeypatch.setenv("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-01")
    with sonde.record() as rec:
        assert rec.session_id == "outer"
    with SQLiteStore(tmp_path / "env.db", mode="ro") as store:
        started, _ = store.read("outer")
    assert (started.trace_id, started.parent_id) == ("a" * 32, "b" * 16)


@pytest.mark.parametrize(
    "value",
    ["", "garbage", f"ff-{'a' * 32}-{'b' * 16}-01", f"00-{'0' * 32}-{'b' * 16}-01", f"00-{'a' * 32}-{'0' * 16}-01"],
)
def test_an_invalid_traceparent_is_ignored(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What W3C calls invalid starts a trace of its own."""
    monkeypatch.setenv("TRACEPARENT", value)
    with sonde.record(":memory:", session_id="s") as rec:
        rec.flush()
        (started,) = rec.store.read("s")
    assert started.parent_id == ""
    assert started.trace_id not in ("", "a" * 32)


def test_the_file_is_private(tmp_path: Path) -> None:
    """The store is made with mode 0600 in folders of mode 0700, whatever the umask."""
    path = tmp_path / "deep" / "er" / "runs.db"
    old = os.umask(0)
    try:
        sonde.record(path).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_empty_path_is_refused() -> None:
    """``record("")``, as of a variable that is not set, does not go to the default store."""
    with pytest.raises(ConfigError, match="cannot record to '': expected a path"):
        sonde.record("")


def test_contradicting_arguments_are_refused(tmp_path: Path) -> None:
    """A path and a store, or a bare string as tags, raise ConfigError with the remedy."""
    with SQLiteStore(":memory:") as store, pytest.raises(ConfigError, match="one of them"):
        sonde.Recorder(tmp_path / "x.db", store=store)
    with pytest.raises(ConfigError, match=r"tags=\['ci'\]"):
        sonde.record(":memory:", tags="ci")


def test_a_store_that_was_handed_in_stays_open() -> None:
    """Whoever opened the store closes it."""
    with SQLiteStore(":memory:") as store:
        sonde.record(store=store, session_id="s").close()
        assert store.head("s") == 2


def test_async_with_does_not_block_the_loop(tmp_path: Path) -> None:
    """``async with`` closes in a thread; operations inside tasks find their parents."""

    async def main() -> None:
        async with sonde.record(tmp_path / "runs.db", session_id="s") as rec:

            async def one(name: str) -> None:
                async with rec.tool(name):
                    await asyncio.sleep(0)

            async with rec.task("both"):
                await asyncio.gather(one("a"), one("b"))

    asyncio.run(main())
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        events = list(store.read("s"))
    task = next(event for event in events if event.type == "task.started")
    assert [event.parent_id for event in events if event.type == "tool.started"] == [task.span_id] * 2


def test_stats_balance(tmp_path: Path) -> None:
    """Every published event is committed, pending or dropped."""
    with sonde.record(tmp_path / "runs.db") as rec:
        for i in range(1000):
            rec.emit("n", i=i)
        rec.flush()
        stats = rec.stats()
        assert stats.hub.published == 1001
        assert (stats.committed, stats.pending, stats.dropped, stats.error) == (1001, 0, {}, None)
        assert stats.db == str(tmp_path / "runs.db")


def test_prices_are_added_before_the_write() -> None:
    """A model call with tokens and no cost is given one by the table, with its source and date."""

    class OneDollarAToken:
        name = "test"
        date = "2026-01-01"

        def cost_usd(self, model: str, provider: str | None, *, time_ns: int = 0, **tokens: int) -> float | None:
            return float(sum(tokens.values())) if model == "m" else None

    with sonde.record(":memory:", session_id="s", prices=OneDollarAToken()) as rec:
        with rec.model("m") as op:
            op.set(input_tokens=3, output_tokens=4)
        with rec.model("stranger") as op:
            op.set(input_tokens=3, output_tokens=4)
        with rec.model("m") as op:
            op.set(input_tokens=3, output_tokens=4, cost_usd=0.5)
        rec.flush()
        computed, unknown, reported = rec.store.read_by_type("s", EventType.MODEL_COMPLETED)
    assert (computed.data["cost_usd"], computed.data["cost_source"]) == (7.0, "computed")
    assert computed.data["price_date"] == "2026-01-01"
    assert "cost_usd" not in unknown.data
    assert unknown.data["cost_source"] == "unknown"
    assert (reported.data["cost_usd"], reported.data["cost_source"]) == (0.5, "reported")


def test_redaction_is_on_by_default_and_can_be_turned_off() -> None:
    """A password in a shell command is not written, unless one says redact=False."""
    command = "mysql --password=" + "hunter2x" + " -e 'select 1'"
    for redact, is_there in ((True, False), (False, True)):
        with sonde.record(":memory:", session_id="s", redact=redact) as rec:
            with rec.shell(command):
                pass
            rec.flush()
            text = str([event.data for event in rec.store.read("s")])
        assert ("hunter2x" in text) is is_there


def test_thirty_recorders_leave_no_thread(tmp_path: Path) -> None:
    """Opened and closed again and again, recorders leave no thread and no file descriptor behind."""

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

    sonde.record(tmp_path / "warm.db").close()
    gc.collect()
    threads, files = set(threading.enumerate()), descriptors()
    for number in range(30):
        with sonde.record(tmp_path / f"{number}.db") as rec:
            rec.emit("n")
    gc.collect()
    for thread in set(threading.enumerate()) - threads:
        thread.join(10)  # it has done its work, and may not have left yet
    assert set(threading.enumerate()) <= threads
    assert descriptors() == files
