"""Heap profiles: known allocations are told, by function and line; windows end, and there is one at a time."""

import io
import math
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde import ConfigError, ProfileError, heap_window, write_heap_profile
from sonde.profiling import Frame, Profile, Sample, ValueType, diff, from_pprof, heap_profile, labels_of
from sonde.profiling.heap import SONDE_OWN

KB = 1000
AGENT = """\
class Reader:
    def read(self, n):
        return [bytearray(1000) for _ in range(n)]  # line 3

def load(n):
    return Reader().read(n)

double = lambda n: bytearray(2 * n)  # line 8
"""


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Tests begin and end without tracing."""
    assert not tracemalloc.is_tracing()
    yield
    was_tracing = tracemalloc.is_tracing()
    tracemalloc.stop()
    assert not was_tracing


@pytest.fixture
def agent(tmp_path: Path) -> ModuleType:
    """A module in a file of its own, whose lines are known."""
    path = tmp_path / "agent.py"
    path.write_text(AGENT, encoding="ascii")
    module = ModuleType("agent")
    exec(compile(AGENT, str(path), "exec"), module.__dict__)
    return module


def held_by(profile: Profile, function: str) -> tuple[int, int]:
    """Objects and bytes whose stack has the function innermost."""
    found = [sample.values for sample in profile.samples if sample.stack and sample.stack[0].function == function]
    return sum(values[0] for values in found), sum(values[1] for values in found)


def run(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, **environment},
    )


def test_known_allocations_are_told(agent: ModuleType, tmp_path: Path) -> None:
    """Bytes within a few per cent, at the right function, file and line, with its callers behind it."""
    path = tmp_path / "heap.pb.gz"
    with heap_window(60, nframe=4):
        held = agent.load(500), agent.double(200 * KB)
        write_heap_profile(path)
    profile = from_pprof(path.read_bytes())
    assert [(one.type, one.unit) for one in profile.sample_types] == [
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ]
    assert profile.default_sample_type == "inuse_space"
    # Objects: each bytearray is two blocks, the object and its bytes.
    objects, size_bytes = held_by(profile, "Reader.read.<locals>.<listcomp>")
    assert size_bytes == pytest.approx(500 * 1057, rel=0.03)
    assert objects == pytest.approx(1000, rel=0.03)
    assert held_by(profile, "<lambda>")[1] == pytest.approx(400 * KB, rel=0.01)
    largest = profile.samples[0]
    assert [frame.function for frame in largest.stack[:3]] == [
        "Reader.read.<locals>.<listcomp>",
        "Reader.read",
        "load",
    ]
    assert [(frame.line, frame.first_line) for frame in largest.stack[:3]] == [(3, 3), (3, 2), (6, 5)]
    assert largest.stack[0].file.endswith("agent.py")
    assert len(held) == 2


def test_without_tracing_the_remedy_is_named(tmp_path: Path) -> None:
    """The message says how tracing is turned on, and nothing is written."""
    path = tmp_path / "heap.pb.gz"
    with pytest.raises(ProfileError, match=r"cannot write a heap profile to .*PYTHONTRACEMALLOC=25.*heap_window"):
        write_heap_profile(path)
    with pytest.raises(ProfileError, match=r"PYTHONTRACEMALLOC=25.*heap_window"):
        heap_profile()
    assert not path.exists()


def test_a_program_traced_from_its_start(tmp_path: Path) -> None:
    """With PYTHONTRACEMALLOC a profile may be written at any time, to a file object too."""
    code = """
        import sys, sonde
        held = bytearray(5_000_000)
        with open(sys.argv[1], "wb") as file:
            sonde.write_heap_profile(file)
    """
    path = tmp_path / "heap"
    done = run(code, path, PYTHONTRACEMALLOC="1")
    assert (done.returncode, done.stderr) == (0, "")
    profile = from_pprof(path.read_bytes())
    assert held_by(profile, "<string>:3")[1] == pytest.approx(5_000_000, rel=0.01)
    assert "nframe=1)" in profile.comments[0]


def test_sonde_is_one_frame(tmp_path: Path) -> None:
    """What sonde and tracemalloc hold is summed up under one name, and in no other stack is a frame of theirs."""
    import sonde

    with sonde.record(":memory:") as rec, heap_window(60, nframe=8) as window:

        @rec.tool
        def take() -> bytearray:
            return bytearray(100 * KB)

        held = take()
        heap_profile()
    assert window.profile is not None
    assert held_by(window.profile, SONDE_OWN.function)[1] > KB
    mine = [sample for sample in window.profile.samples if sample.stack[0].function.endswith("take")]
    assert sum(sample.values[1] for sample in mine) == pytest.approx(100 * KB, rel=0.02)
    files = {frame.file for sample in window.profile.samples for frame in sample.stack}
    assert not [file for file in files if "/src/sonde/" in file or file.endswith("tracemalloc.py")]
    assert len(held) == 100 * KB


def test_code_without_a_file_is_named_by_line(tmp_path: Path) -> None:
    """A source that is gone, is no Python, is a pipe, or never was a file gives the line, and no error."""
    broken = tmp_path / "template.txt"
    broken.write_text("{% not python %}", encoding="ascii")
    made: dict[str, Any] = {}
    exec(compile("def f(): return bytearray(50_000)", "<made up>", "exec"), made)
    exec(compile("def g(): return bytearray(60_000)", str(broken), "exec"), made)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # reading it would wait for ever
    exec(compile("def h(): return bytearray(70_000)", str(pipe), "exec"), made)
    with heap_window(60) as window:
        held = made["f"](), made["g"](), made["h"]()
    assert window.profile is not None
    assert held_by(window.profile, "<made up>:1")[1] >= 50_000
    assert held_by(window.profile, "template.txt:1")[1] >= 60_000
    assert held_by(window.profile, "pipe:1")[1] >= 70_000
    assert len(held) == 3
    assert sorted(tmp_path.iterdir()) == [pipe, broken]


@pytest.mark.parametrize(
    ("name", "start"), [("h.pb.gz", b"\x1f\x8b"), ("h.speedscope.json", b"{"), ("h.collapsed", b"")]
)
def test_the_name_chooses_the_format(tmp_path: Path, agent: ModuleType, name: str, start: bytes) -> None:
    """All formats of profiles, by the ending of the path."""
    with heap_window(60, target=tmp_path / name):
        held = agent.load(10)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(start)
    assert len(content) > 100
    assert len(held) == 10


def test_a_window_shows_what_was_allocated_in_it(agent: ModuleType) -> None:
    """Neither what was there before, nor what is freed at its end; its times are the window's."""
    before = agent.load(100)
    with heap_window(60) as window:
        freed = agent.load(200)
        del freed
        held = agent.double(10 * KB)
        assert window.profile is None
    assert window.profile is not None
    assert held_by(window.profile, "Reader.read.<locals>.<listcomp>")[1] < 5 * KB
    assert held_by(window.profile, "<lambda>")[1] == pytest.approx(20 * KB, rel=0.05)
    assert window.profile.duration_ns > 0
    assert window.overhead_bytes > 0
    assert (len(before), len(held)) == (100, 20 * KB)


def test_tracing_that_was_on_stays_on(agent: ModuleType) -> None:
    """Then the window is the difference between its ends, and what went is negative."""
    tracemalloc.start(3)
    try:
        before = agent.load(300)
        with heap_window(60) as window:
            held = agent.double(10 * KB)
            del before
        assert tracemalloc.is_tracing()
        assert tracemalloc.get_traceback_limit() == 3
    finally:
        tracemalloc.stop()
    assert window.profile is not None
    assert held_by(window.profile, "<lambda>")[1] == pytest.approx(20 * KB, rel=0.05)
    assert held_by(window.profile, "Reader.read.<locals>.<listcomp>")[1] == pytest.approx(-300 * 1057, rel=0.03)
    assert len(held) == 20 * KB


def test_a_window_that_cannot_open_leaves_tracing_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who traced before goes on tracing, though there is no memory for the first picture."""

    def no_room() -> None:
        raise MemoryError

    monkeypatch.setattr(tracemalloc, "take_snapshot", no_room)
    tracemalloc.start(1)
    try:
        with pytest.raises(MemoryError):
            heap_window(60).__enter__()
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()
    monkeypatch.undo()
    with heap_window(60):  # and the door is open
        pass


def test_a_window_ends_with_its_time(tmp_path: Path) -> None:
    """Though the block goes on: tracing is off, the profile is written, and another window may open."""
    path = tmp_path / "heap.pb.gz"
    with heap_window(0.05, target=path) as window:
        assert window._ended.wait(30)
        assert window.profile is not None
        assert not tracemalloc.is_tracing()
        assert path.exists()
        with heap_window(60):
            assert tracemalloc.is_tracing()
    assert not tracemalloc.is_tracing()


def test_a_window_may_be_run(agent: ModuleType) -> None:
    """``run()`` waits for the whole time and gives what other threads took meanwhile."""
    kept, ended = [], threading.Event()

    def work() -> None:
        while not ended.is_set():
            if tracemalloc.is_tracing() and not kept:
                kept.append(agent.double(50 * KB))

    worker = threading.Thread(target=work)
    worker.start()
    profile = heap_window(0.3).run()
    ended.set()
    worker.join()
    assert held_by(profile, "<lambda>")[1] == pytest.approx(100 * KB, rel=0.05)


def test_windows_do_not_nest() -> None:
    """A second one is refused, from any thread, and the first goes on; one object opens once."""
    with heap_window(60) as window:
        with pytest.raises(ProfileError, match="one is open already"):
            heap_window(1).run()
        assert tracemalloc.is_tracing()
    with pytest.raises(ProfileError, match=r"twice; make another with sonde.heap_window"):
        window.__enter__()
    with heap_window(60):
        pass


def test_an_error_in_the_block_ends_the_window() -> None:
    """It passes through, and tracing is off."""
    with pytest.raises(ZeroDivisionError), heap_window(60) as window:
        _ = 1 / 0
    assert not tracemalloc.is_tracing()
    assert window.profile is not None


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, True, "5", None])
def test_a_time_says_what_is_allowed(seconds: Any) -> None:
    """Before anything is traced."""
    with pytest.raises(ConfigError, match="a number above 0 is expected"):
        heap_window(seconds)


@pytest.mark.parametrize("nframe", [0, -1, 65_536, 2.5, True])
def test_frames_say_what_is_allowed(nframe: Any) -> None:
    """Before anything is traced."""
    with pytest.raises(ConfigError, match="a whole number from 1 to 65535 is expected"):
        heap_window(1, nframe=nframe)


def test_a_target_that_cannot_be_is_told_at_the_start(tmp_path: Path) -> None:
    """Before the window opens, with the path."""
    with pytest.raises(ProfileError, match=r"cannot write a profile to .*gone"):
        heap_window(1, target=tmp_path / "gone" / "heap.pb.gz")


def test_a_file_that_fails_is_told_at_the_end() -> None:
    """By the block's end, also if the time was over before; tracing is off all the same."""

    class Full(io.BytesIO):
        """A disk without room."""

        def write(self, content: Any, /) -> int:
            raise OSError(28, "No space left on device")

    for seconds in (60, 0.01):
        window = heap_window(seconds, target=Full())
        with pytest.raises(ProfileError, match="No space left on device"), window:
            assert seconds == 60 or window._ended.wait(30)
        assert not tracemalloc.is_tracing()


def test_a_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    """What was under the name stays, and no temporary file is left."""
    path = tmp_path / "heap.pb.gz"
    path.write_bytes(b"before")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    found = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with heap_window(60, nframe=1):
        held = [bytearray(n) for n in range(1000)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        try:
            with pytest.raises(ProfileError, match=r"cannot write the profile of \d+ bytes to .*File too large"):
                write_heap_profile(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            signal.signal(signal.SIGXFSZ, found)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    assert len(held) == 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_ends_the_childs_window() -> None:
    """The child isn't slowed down and may open a window of its own; the parent's goes on."""
    code = """
        import os, tracemalloc, sonde
        with sonde.heap_window(60) as window:
            pid = os.fork()
            if pid == 0:
                ok = not tracemalloc.is_tracing()
                with sonde.heap_window(60) as own:
                    held = bytearray(1000)
                os._exit(0 if ok and own.profile else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert tracemalloc.is_tracing()
        assert window.profile
    """
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")


_FRAMES = st.sampled_from([Frame("a", "x.py", 1), Frame("b", "x.py", 2), Frame("c", "y.py", 3)])
_SAMPLES = st.dictionaries(
    st.tuples(st.lists(_FRAMES, max_size=2).map(tuple), st.sampled_from([(), labels_of({"tool": "grep"})])),
    st.tuples(st.integers(-50, 50), st.integers(-50, 50)).filter(any),
    max_size=6,
)


def profile_of(samples: dict[Any, tuple[int, int]]) -> Profile:
    types = (ValueType("inuse_objects", "count"), ValueType("inuse_space", "bytes"))
    made = tuple(Sample(stack, values, labels) for (stack, labels), values in samples.items())
    return Profile(sample_types=types, samples=made)


def sums(profile: Profile) -> dict[Any, tuple[int, ...]]:
    return {(sample.stack, sample.labels): sample.values for sample in profile.samples if any(sample.values)}


@given(_SAMPLES, _SAMPLES)
def test_what_grew_and_what_was_before_make_what_is(before: Any, after: Any) -> None:
    """``before`` merged with ``diff(before, after)`` is ``after``, stack by stack; and pprof carries negatives."""
    first, second = profile_of(before), profile_of(after)
    growth = diff(first, second)
    assert sums(Profile.merge([first, growth])) == sums(second)
    assert diff(second, second).samples == ()
    assert set(sums(from_pprof_of(growth)).items()) == set(sums(growth).items())


def from_pprof_of(profile: Profile) -> Profile:
    from sonde.profiling import to_pprof

    return from_pprof(to_pprof(profile))


def test_profiles_of_different_kinds_are_not_compared() -> None:
    """Growth of memory against CPU time says nothing."""
    with pytest.raises(ConfigError, match=re.escape("cpu and inuse_objects/inuse_space")):
        diff(Profile(sample_types=(ValueType("cpu", "nanoseconds"),)), profile_of({}))
