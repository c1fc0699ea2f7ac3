"""What a sampler must not do to the program that it lives in, whatever that program is like."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import pytest

import sonde
from sonde.context import Scope, current_scope
from sonde.profiling import Frame, Sampler
from sonde.profiling.correlation import Correlation
from sonde.profiling.secrets import MAX_LABEL_CHARS, redact_labels
from sonde.profiling.walker import MORE_CODE, Walker


def samplers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sonde-profiler"]


def look_until(sampler: Sampler, looks: int) -> None:
    """So many looks of an idle process."""
    waited = threading.Event()
    for _ in range(3_000):
        if sampler._window.ticks >= looks:
            return
        waited.wait(0.01)
    raise AssertionError(f"{sampler._window.ticks} looks of {looks}")


@pytest.mark.parametrize("first", [0, 1])
def test_two_samplers_leave_the_switch_interval_as_it_was(first: int) -> None:
    """In whatever order they end: a profile of a program whose recorder profiles, too, is nothing rare."""
    found_s = sys.getswitchinterval()
    both = Sampler(hz=1000, cpu_ratio=1), Sampler(hz=1000, cpu_ratio=1)
    for sampler in both:
        sampler.start()
    for sampler in both:
        look_until(sampler, 3)
    both[first].stop()
    look_until(both[1 - first], both[1 - first]._window.ticks + 3)
    both[1 - first].stop()
    assert sys.getswitchinterval() == found_s
    assert not samplers()


def test_a_sampler_that_dies_puts_the_switch_interval_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends its thread."""
    found_s = sys.getswitchinterval()
    sampler = Sampler(hz=1000, cpu_ratio=1)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    sampler.start()
    look_until(sampler, 3)
    assert sys.getswitchinterval() < found_s
    monkeypatch.setattr(sampler._governor, "learn", lambda **costs: 1 / 0)
    thread = sampler._thread
    assert thread is not None
    thread.join(30)
    assert sys.getswitchinterval() == found_s
    sampler.stop()


def test_an_interrupt_while_it_starts_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes while the starter waits for the thread, which nobody has in hand yet."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    sampler = Sampler()
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sampler.start()
    monkeypatch.undo()
    for thread in samplers():
        thread.join(30)
    assert not samplers()
    sampler.start()
    assert samplers()
    sampler.stop()


def test_code_that_is_made_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound new lines are one, and those known are still told apart."""
    monkeypatch.setattr("sonde.profiling.walker.MAX_LINES", 5)
    walker = Walker()
    numbers = [walker.number(Frame("made", f"<made {number}>", 1)) for number in range(10)]
    assert [walker.stack_of((number,))[0].file for number in numbers[:3]] == ["<made 0>", "<made 1>", "<made 2>"]
    assert {walker.stack_of((number,))[0] for number in numbers[3:]} == {MORE_CODE}
    assert walker.number(Frame("made", "<made 1>", 1)) == numbers[1]
    assert len(walker.frames) == 5


def test_nothing_of_the_programs_own_is_run() -> None:
    """Globals may be of a class of the program's own, whose methods a look must not call."""

    class Globals(dict[str, Any]):
        def get(self, *_: Any) -> Any:
            raise AssertionError("called")

    made = Globals(walk=Walker().walk, sys=sys)
    exec("def f(): return walk(sys._getframe())", made)
    assert len(made["f"]().stack) > 1


def test_a_look_that_fails_keeps_no_frames_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Handlers may keep records, and a traceback keeps what the functions in it had in hand."""
    sampler = Sampler(hz=1000, cpu_ratio=1)
    monkeypatch.setattr(sampler._census._correlation, "labels", lambda scope: 1 / 0)  # type: ignore[attr-defined]
    with caplog.at_level(logging.DEBUG, "sonde"):
        looking = threading.Thread(target=sampler._look, args=(sampler._census, 1))
        looking.start()
        looking.join(30)
    (record,) = [one for one in caplog.records if one.exc_info]
    assert record.exc_info is not None
    traceback: TracebackType | None = record.exc_info[2]
    kept = []
    while traceback is not None:
        kept += [one for one in traceback.tb_frame.f_locals.values() if isinstance(one, FrameType)]
        traceback = traceback.tb_next
    assert sampler._window.failures == 1
    assert not kept


def test_an_odd_thread_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one cannot be looked at, the rest is counted, and so is the failure."""
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, name=f"waits-{number}") for number in range(3)]
    for thread in threads:
        thread.start()
    sampler = Sampler(hz=1000, cpu_ratio=1)
    walk = sampler._walker.walk
    odd = threads[1].ident

    def walk_but_for_one(frame: FrameType) -> Any:
        assert sys._current_frames()[odd or 0] is not frame
        return walk(frame)

    monkeypatch.setattr(sampler._walker, "walk", walk_but_for_one)
    sampler._look(sampler._census, 1)
    profile, window = sampler.finish()
    end.set()
    for thread in threads:
        thread.join()
    assert window.failures == 1
    assert [profile.total("samples", thread=thread.name) for thread in threads] == [1, 0, 1]


def test_ids_that_are_no_text_are_labels_all_the_same() -> None:
    """An agent may number its tasks; of other things the type is named, and nothing of theirs is run."""

    class Odd:
        def __str__(self) -> str:
            raise AssertionError("called")

    labels = dict(Correlation().labels(Scope(session_id=7, plan_id=Odd())))  # type: ignore[arg-type]
    assert (labels["session"], labels["plan"], labels["task"]) == ("7", "Odd", "none")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_sampler_can_be_stopped_in_a_forked_child() -> None:
    """Though the thread that looked held the lock; the child's switch interval is the program's again."""
    code = """
        import os, sys, sonde.profiling
        sampler = sonde.profiling.Sampler(hz=1000, cpu_ratio=1)
        sampler.start()
        while sampler._window.ticks < 3:
            os.sched_yield()
        sampler._lock.acquire()  # as the thread does while it looks
        pid = os.fork()
        if pid == 0:
            is_restored = sys.getswitchinterval() == 0.005
            sampler.stop()
            os._exit(7 if is_restored else 8)
        sampler._lock.release()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        sampler.stop()
        assert sys.getswitchinterval() == 0.005
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=True)


def test_half_a_secret_is_not_shown() -> None:
    """Labels are cut after the redaction: before it, what is left of a secret would have no shape to know it by."""
    title = "x" * 60 + " https://bob:" + "hunter2" * 10 + "@example.org/x"
    with sonde.record(":memory:", session_id="s-1") as rec, rec.task(title):
        labels = dict(redact_labels(Correlation().labels(current_scope())))
    operation = labels["operation"]
    assert isinstance(operation, str)
    assert len(operation) == MAX_LABEL_CHARS
    assert "hunter2" not in operation
    assert "https://bob:[REDA" in operation


def test_a_tool_around_in_another_process_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program does outside its own tools says so under ``sonde run`` too, whose command is around all of it."""
    monkeypatch.setenv("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-01")
    with sonde.record(":memory:", session_id="s-1") as rec, rec.model("m-1"):
        labels = dict(Correlation().labels(current_scope()))
    assert (labels["operation"], labels["tool"]) == ("model m-1", "none")


def test_a_long_name_of_wide_characters_can_be_written(tmp_path: Path) -> None:
    """Where the name fits, the temporary file beside it does."""
    path = tmp_path / ("\N{MUSICAL SYMBOL G CLEF}" * 60 + ".txt")
    with sonde.cpu_profile(path):
        pass
    assert list(tmp_path.iterdir()) == [path]
