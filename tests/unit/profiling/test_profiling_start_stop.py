"""Starting and stopping a CPU profile: what is written, and what is refused when."""

from __future__ import annotations

import asyncio
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sonde
from sonde.errors import ConfigError, ProfileError
from sonde.profiling import from_pprof


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    yield
    sonde.stop_cpu_profile()


def spin() -> int:
    return sum(number * number for number in range(200_000))


@pytest.mark.parametrize("ending", ["pb.gz", "pprof", "speedscope.json", "collapsed", "txt"])
def test_the_ending_of_the_path_chooses_the_format(tmp_path: Path, ending: str) -> None:
    """Each format is written whole, with mode 0600, and nothing else is left in the folder."""
    path = tmp_path / f"cpu.{ending}"
    sonde.start_cpu_profile(path, hz=1000)
    spin()
    report = sonde.stop_cpu_profile()
    assert report is not None
    assert report.target == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [path.name]
    content = path.read_bytes()
    if report.format == "pprof":
        profile = from_pprof(content)
        assert profile.total("samples") == report.samples
        assert profile.comments[0].startswith("sonde wall profile, ")
        assert "Hz of 1000 asked for" in profile.comments[0]
    elif report.format == "speedscope":
        document = json.loads(content)
        assert "Hz of 1000 asked for" in document["name"]
    else:
        assert report.format == "collapsed"


def test_a_binary_file_gets_pprof_and_stays_open() -> None:
    """The caller's file is the caller's to close."""
    file = io.BytesIO()
    with sonde.cpu_profile(file):
        spin()
    assert not file.closed
    assert from_pprof(file.getvalue()).default_sample_type == "wall"


def test_mode_waiting_sees_tasks_and_not_threads(tmp_path: Path) -> None:
    """Two tasks that wait for all of the profile have twice its duration, each with its own labels."""
    path = tmp_path / "waiting.pb.gz"

    async def main() -> None:
        with sonde.record(":memory:", session_id="s-3") as rec:
            is_over = asyncio.Event()

            async def wait(tool: str) -> None:
                with rec.tool(tool):
                    await is_over.wait()

            tasks = [asyncio.create_task(wait("one")), asyncio.create_task(wait("two"))]
            await asyncio.sleep(0)
            with sonde.cpu_profile(path, mode="waiting", hz=500):
                await asyncio.sleep(0.4)
            is_over.set()
            await asyncio.gather(*tasks)

    asyncio.run(main())
    profile = from_pprof(path.read_bytes())
    for tool in ("one", "two"):
        waited_ns = profile.total("waiting", tool=tool, session="s-3")
        assert waited_ns == pytest.approx(profile.duration_ns, rel=0.5)  # which on a loaded machine is longer
    leaves = {sample.stack[0].function.rpartition(".")[2] for sample in profile.samples}
    assert "sleep" in leaves <= {"sleep", "main", "wait"}


def test_the_report_says_what_it_cost() -> None:
    """Asked and real rate, looks, and the sampler's own CPU."""
    sonde.start_cpu_profile(io.BytesIO(), hz=500, mode="cpu")
    spin()
    report = sonde.stop_cpu_profile()
    assert report is not None
    assert (report.mode, report.backend, report.hz_asked, report.failures) == ("cpu", "sonde", 500, 0)
    assert report.duration_s > 0
    assert report.ticks is not None
    assert report.sampler_cpu_s is not None


def test_a_second_start_says_who_started(tmp_path: Path) -> None:
    """The message names file, line and thread of the first start, and its target; the first goes on."""
    path = tmp_path / "first.pb.gz"
    sonde.start_cpu_profile(path)
    with pytest.raises(ProfileError, match=rf"first\.pb\.gz' is on, started .* ago by {__file__}:\d+ in thread Main"):
        sonde.start_cpu_profile(tmp_path / "second.pb.gz")
    with pytest.raises(ProfileError, match="call stop_cpu_profile"), sonde.cpu_profile(tmp_path / "third.pb.gz"):
        pass
    assert sonde.stop_cpu_profile() is not None
    assert os.listdir(tmp_path) == ["first.pb.gz"]


def test_a_stop_without_a_start_does_nothing() -> None:
    """Twice, too, and after a stop."""
    assert sonde.stop_cpu_profile() is None
    sonde.start_cpu_profile(io.BytesIO())
    assert sonde.stop_cpu_profile() is not None
    assert sonde.stop_cpu_profile() is None


def test_an_unwritable_target_fails_at_the_start(tmp_path: Path) -> None:
    """The message names path and remedy, and no profile is on afterwards."""
    (tmp_path / "folder.pb.gz").mkdir()
    file = tmp_path / "a-file"
    file.touch()
    for target in (tmp_path / "no" / "cpu.pb.gz", tmp_path / "folder.pb.gz", file / "cpu.pb.gz", "/proc/cpu.pb.gz"):
        with pytest.raises(ProfileError, match=r"cannot write a profile to '.*\.pb\.gz'.*give another path"):
            sonde.start_cpu_profile(target)
    with pytest.raises(ProfileError, match="null byte; give another path"):
        sonde.start_cpu_profile("a\0.pb.gz")
    with pytest.raises(ProfileError, match="mode 'wb'"):
        sonde.start_cpu_profile(io.StringIO())  # type: ignore[arg-type]
    with (tmp_path / "a-file").open("rb") as reading, pytest.raises(ProfileError, match="for reading"):
        sonde.start_cpu_profile(reading)
    assert sonde.stop_cpu_profile() is None


def test_a_pipe_is_written_directly() -> None:
    """``/dev/stdout`` in front of another program is a link to something that has no path."""
    code = "import sonde\nwith sonde.cpu_profile('/dev/stdout', format='pprof', hz=1000): sum(range(3_000_000))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert from_pprof(run.stdout).default_sample_type == "wall"


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """By its name, and by the path's ending; a backend too."""
    with pytest.raises(ProfileError, match=r"from the name 'cpu.svg'.*\.pb\.gz.*format='pprof'"):
        sonde.start_cpu_profile(tmp_path / "cpu.svg")
    with pytest.raises(ProfileError, match="'svg': expected one of pprof"):
        sonde.start_cpu_profile(tmp_path / "cpu.svg", format="svg")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="backend 'perf'"):
        sonde.start_cpu_profile(io.BytesIO(), backend="perf")  # type: ignore[arg-type]
    assert sonde.stop_cpu_profile() is None


def test_an_exception_in_the_block_goes_through_and_the_profile_is_written(tmp_path: Path) -> None:
    """A block that fails is what one wants to see."""
    path = tmp_path / "cpu.pb.gz"
    with pytest.raises(ZeroDivisionError), sonde.cpu_profile(path):
        spin() // 0
    assert path.exists()


def test_a_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    """The old file stays as it was, no part of the new one is left, and the message says what to do."""
    path = tmp_path / "cpu.pb.gz"
    path.write_bytes(b"old")
    code = (
        "import resource, signal, sys, sonde\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "sonde.start_cpu_profile(sys.argv[1])\n"
        "sum(range(1_000_000))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        "try:\n"
        "    sonde.stop_cpu_profile()\n"
        "except sonde.ProfileError as error:\n"
        "    print(error)\n"
        "print(sonde.stop_cpu_profile())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert f"bytes to '{path}': File too large; nothing was kept: make room" in run.stdout
    assert run.stdout.endswith("None\n")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["cpu.pb.gz"]


def test_exit_while_profiling_writes_the_profile(tmp_path: Path) -> None:
    """A program that just ends keeps what was seen, and ends at once."""
    path = tmp_path / "cpu.pb.gz"
    code = "import sys, sonde; sonde.start_cpu_profile(sys.argv[1], hz=1000)\nfor _ in range(5_000_000): pass"
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stderr == ""
    assert from_pprof(path.read_bytes()).total("samples") > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_has_no_profile_and_the_parents_goes_on(tmp_path: Path) -> None:
    """The child may start its own; the parent's holds what the parent did after the fork, too."""
    code = (
        "import os, sys, time, sonde\n"
        "def after_fork():\n"
        "    end_s = time.monotonic() + 2\n"  # on a slow machine the governor looks some ten times a second
        "    while time.monotonic() < end_s: pass\n"
        "sonde.start_cpu_profile(sys.argv[1] + '/parent.pb.gz', hz=1000)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    assert sonde.stop_cpu_profile() is None\n"
        "    sonde.start_cpu_profile(sys.argv[1] + '/child.pb.gz', hz=1000)\n"
        "    sum(range(1_000_000))\n"
        "    sonde.stop_cpu_profile()\n"
        "    os._exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "after_fork()\n"
        "sonde.stop_cpu_profile()\n"
        "assert sys.getswitchinterval() == 0.005, sys.getswitchinterval()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60, check=True)
    assert sorted(os.listdir(tmp_path)) == ["child.pb.gz", "parent.pb.gz"]
    parent = from_pprof((tmp_path / "parent.pb.gz").read_bytes())
    assert "after_fork" in {frame.function for sample in parent.samples for frame in sample.stack}
