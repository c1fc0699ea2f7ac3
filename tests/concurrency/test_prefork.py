"""A server that forks its workers: gunicorn, with a recorder that was opened before the fork."""

from __future__ import annotations

import importlib.util
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import sonde
from sonde.events import EventType, RecordedEvent
from sonde.store import SQLiteStore

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="needs fork"),
    pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed"),
]

PATIENCE_S = 60

APP = """
import os
import sonde

rec = sonde.record(os.environ["STORE"], session_id="s", durability=os.environ["DURABILITY"])
rec.emit("app.loaded", pid=os.getpid())

def app(environ, start_response):
    pid = os.getpid()
    with rec.task("request", pid=pid):
        rec.emit("n", i=int(environ["QUERY_STRING"]), pid=pid)
    body = str(pid).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


class Server:
    """A running gunicorn, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.said: list[str] = []
        self.port = 0
        self.answered: dict[int, int] = {}
        """Number of a request → pid of the worker that answered it."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.put(line)
        self._lines.put("")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The next line that it says and that has ``pattern`` in it."""
        limit_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < limit_s:
            line = self._lines.get(timeout=PATIENCE_S)
            self.said.append(line)
            if found := re.search(pattern, line):
                return found
            assert line, f"gunicorn ended: {''.join(self.said)}"
        raise AssertionError(f"gunicorn never said {pattern!r}: {''.join(self.said)}")

    def ask(self, numbers: range) -> None:
        """Send requests, four at a time; those that no worker answered are left out."""
        with ThreadPoolExecutor(4) as pool:
            for number, pid in zip(numbers, pool.map(self._answer, numbers), strict=True):
                if pid is not None:
                    self.answered[number] = pid

    def _answer(self, number: int) -> int | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/?{number}", timeout=PATIENCE_S) as reply:
                return int(reply.read())
        except (OSError, urllib.error.URLError):  # its worker was killed
            return None

    def ask_until(self, is_done: Callable[[], bool], *, start: int) -> int:
        """Send requests in tens until it is so; returns the next number."""
        limit_s = time.monotonic() + PATIENCE_S
        while not is_done():
            assert time.monotonic() < limit_s, Counter(self.answered.values())
            self.ask(range(start, start + 10))
            start += 10
        return start

    def workers(self, *, since: int = 0) -> set[int]:
        """Who has answered requests from that number on."""
        return {pid for number, pid in self.answered.items() if number >= since}


@contextmanager
def serving(folder: Path, *, durability: str, options: list[str]) -> Iterator[tuple[Server, subprocess.Popen[str]]]:
    (folder / "app.py").write_text(APP)
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "-b", "127.0.0.1:0", "--worker-tmp-dir", str(folder)]
    environment = {**os.environ, "STORE": str(folder / "runs.db"), "DURABILITY": durability}
    with subprocess.Popen(
        [*command, "--no-control-socket", "--graceful-timeout", str(PATIENCE_S), *options, "app:app"],
        cwd=folder, env=environment, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            server = Server(process)
            server.port = int(server.wait_for(r"Listening at: http://127.0.0.1:(\d+)")[1])
            yield server, process
        finally:
            process.kill()


def stored(path: Path) -> list[RecordedEvent]:
    with SQLiteStore(path, mode="ro") as store:
        events = list(store.read("s"))
        assert not list(store.verify())
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    return events


@pytest.mark.parametrize(
    ("durability", "options"),
    [
        ("commit", ["--preload"]),
        pytest.param("emit", ["--preload"], marks=pytest.mark.long),
        pytest.param("commit", [], marks=pytest.mark.long),
        pytest.param("emit", ["--preload", "-k", "gthread", "--threads", "4"], marks=pytest.mark.long),
    ],
)
def test_what_workers_answered_is_recorded(tmp_path: Path, durability: str, options: list[str]) -> None:
    """A worker is killed, all are replaced (SIGHUP), the server is stopped: each answered request is in the store once.

    Under one writer for each worker. What the kill took is in a gap of that worker's, and at durability "emit" nothing.
    """
    with serving(tmp_path, durability=durability, options=options) as (server, process):
        next_number = server.ask_until(lambda: len(server.workers()) == 2, start=0)
        victim = min(server.workers())
        server.ask(range(next_number, next_number + 200))
        os.kill(victim, signal.SIGKILL)
        killed_at = next_number + 200
        next_number = server.ask_until(lambda: len(server.workers(since=killed_at) - {victim}) == 2, start=killed_at)
        before = server.workers()
        process.send_signal(signal.SIGHUP)
        next_number = server.ask_until(lambda: len(server.workers() - before) == 2, start=next_number)
        server.ask(range(next_number, next_number + 100))
        process.send_signal(signal.SIGTERM)
        server.wait_for("Shutting down: Master")
        assert process.wait(PATIENCE_S) == 0, "".join(server.said)
    assert len(server.workers()) >= 5
    sonde.record(tmp_path / "runs.db", session_id="next").close()
    events = stored(tmp_path / "runs.db")
    requests = [event for event in events if event.type == "n"]
    times = Counter(event.data["i"] for event in requests)
    assert set(times.values()) == {1}
    assert all(server.answered.get(event.data["i"], event.data["pid"]) == event.data["pid"] for event in requests)
    writers = defaultdict(set)
    for event in requests:
        writers[event.data["pid"]].add(event.writer_id)
    assert len({writer for found in writers.values() for writer in found}) == len(writers)
    assert all(len(found) == 1 for found in writers.values())
    loaded = [event for event in events if event.type == "app.loaded"]
    assert len({event.data["pid"] for event in loaded}) == len(loaded) == (1 if "--preload" in options else 5)
    if "--preload" in options:  # the session is the master's: it ends once
        ends = [event for event in events if event.type == "session.ended"]
        assert [event.data["status"] for event in ends] == ["completed"]
    missing = [pid for number, pid in server.answered.items() if number not in times]
    gaps = [event for event in events if event.type == EventType.GAP]
    assert set(missing) <= {victim}
    assert not missing or durability == "commit"
    assert sum(gap.data["missed"] for gap in gaps) >= len(missing)
    assert all(gap.writer_id.startswith(writer) for gap in gaps for writer in writers[victim])
