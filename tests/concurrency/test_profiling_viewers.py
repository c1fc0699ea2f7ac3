"""Viewers read our profiles: ``go tool pprof``, built once from its own sources, and what speedscope expects."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

import sonde
from sonde.errors import MissingExtraError, ProfileError
from sonde.profiling import Frame, Profile, Sample, ValueType, from_pprof, labels_of, to_pprof, to_speedscope
from sonde.profiling.pyspy import profile_of_raw

# The parts of speedscope's file format that its viewer relies on, written down from its documentation.
SPEEDSCOPE = {
    "type": "object",
    "required": ["$schema", "shared", "profiles"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "name": {"type": "string"},
        "exporter": {"type": "string"},
        "activeProfileIndex": {"type": "integer", "minimum": 0},
        "shared": {
            "type": "object",
            "required": ["frames"],
            "additionalProperties": False,
            "properties": {
                "frames": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string"},
                            "file": {"type": "string"},
                            "line": {"type": "number"},
                            "col": {"type": "number"},
                        },
                    },
                }
            },
        },
        "profiles": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["type", "name", "unit", "startValue", "endValue", "samples", "weights"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "sampled"},
                    "name": {"type": "string"},
                    "unit": {"enum": ["none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"]},
                    "startValue": {"type": "number"},
                    "endValue": {"type": "number"},
                    "samples": {
                        "type": "array",
                        "items": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    },
                    "weights": {"type": "array", "items": {"type": "number", "minimum": 0}},
                },
            },
        },
    },
    "additionalProperties": False,
}

WORK, MAIN = Frame("work", "/src/agent.py", 12, 10), Frame("main", "/src/agent.py", 30, 28)


def known_profile() -> Profile:
    """70 % in one tool, 20 % in another, 10 % in none."""
    shares = {"read_file": 700, "grep": 200, "none": 100}
    return Profile(
        sample_types=(ValueType("samples", "count"), ValueType("wall", "nanoseconds")),
        samples=tuple(
            Sample(
                (WORK, MAIN) if tool != "none" else (MAIN,),
                (count // 100, count * 1_000_000),
                labels_of({"session": "s-1", "tool": tool, "thread": tool, "bytes": 4096}),
            )
            for tool, count in shares.items()
        ),
        period_type=ValueType("wall", "nanoseconds"),
        period=100_000_000,
        time_ns=1_700_000_000 * 10**9,
        duration_ns=10**9,
        default_sample_type="wall",
        comments=("a comment",),
        label_units={"bytes": "bytes"},
    )


@pytest.fixture(scope="session")
def pprof() -> str:
    """The Go toolchain's pprof, whose sources come with the wheel: built once in an environment, without network."""
    go = Path(sys.executable).with_name("go")
    if not go.exists():
        pytest.skip("the Go toolchain is not in this environment")
    folder = Path(sys.prefix) / ".cache" / "sonde-tests"
    settings = {
        "HOME": str(folder),
        "GOCACHE": str(folder / "go"),
        "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
        "PATH": os.environ["PATH"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([go, "version"], capture_output=True, text=True, env=settings, check=True).stdout.split()[
        2
    ]
    program = folder / f"pprof-{version}"
    if not program.exists():
        building = folder / f"pprof-{version}.{os.getpid()}"
        subprocess.run([go, "build", "-o", building, "cmd/pprof"], env=settings, cwd=folder, check=True, timeout=600)
        building.rename(program)
        shutil.rmtree(folder / "go", ignore_errors=True)  # 100 MB that nobody needs any more
    return str(program)


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.timeout(700)  # where pprof has to be built first
def test_pprof_reads_shares_and_labels(pprof: str, tmp_path: Path) -> None:
    """``-top`` shows the shares and the comment, ``-tagroot=session,tool`` the tools, ``-tags`` numbers with units."""
    path = tmp_path / "cpu.pb.gz"
    path.write_bytes(to_pprof(known_profile()))
    top = output_of(pprof, "-top", str(path))
    assert "a comment" in top
    assert "Type: wall" in top
    assert re.search(r"900ms 90\.00% .* work\b", top)
    rooted = output_of(pprof, "-tagroot=session,tool", "-top", str(path))
    assert re.search(r"700ms 70\.00%  read_file", rooted)
    assert re.search(r"200ms 20\.00%  grep", rooted)
    assert re.search(r"1000ms   100%  s-1", rooted)
    assert "4kB" in output_of(pprof, "-tags", str(path))
    lines = output_of(pprof, "-lines", "-sample_index=samples", "-top", str(path))
    assert re.search(r"9 90\.00% .* work /src/agent\.py:12", lines)


@pytest.mark.timeout(700)
def test_pprof_reads_what_a_profile_of_this_process_writes(pprof: str, tmp_path: Path) -> None:
    """A real profile of a tool has the tool at its root, with the time that it took."""
    path = tmp_path / "cpu.pb.gz"
    profile = sonde.cpu_profile(path, hz=500, mode="cpu")
    with sonde.record(":memory:", session_id="s-9") as rec, profile, rec.tool("count"):
        end = time.perf_counter() + 0.6
        while time.perf_counter() < end:
            pass
    rooted = output_of(pprof, "-tagroot=session,tool", "-traces", str(path))
    assert re.search(r"test_pprof_reads_what_a_profile[^-]*\n +count\n +s-9\n", rooted), rooted


@pytest.mark.timeout(700)
def test_pprof_reads_a_heap_profile(pprof: str, tmp_path: Path) -> None:
    """``-top`` shows bytes by default and counts if asked, and ``-diff_base`` what grew between two of them."""
    first, second = tmp_path / "first.pb.gz", tmp_path / "second.pb.gz"

    def take(n: int) -> list[bytearray]:
        return [bytearray(10_000) for _ in range(n)]

    with sonde.heap_window(60, nframe=3):
        held = take(300)
        sonde.write_heap_profile(first)
        held += take(200)
        sonde.write_heap_profile(second)
    top = output_of(pprof, "-unit=kB", "-top", str(first))
    assert "Type: inuse_space" in top
    flat = re.search(r"([\d.]+)kB +[\d.]+% .* test_pprof_reads_a_heap_profile.<locals>.take.<locals>.<listcomp>", top)
    assert flat is not None, top
    assert float(flat[1]) == pytest.approx(300 * 10_057 / 1024, rel=0.02)
    counts = output_of(pprof, "-sample_index=inuse_objects", "-top", str(first))
    assert re.search(r"\b60\d +[\d.]+% .*<listcomp>", counts), counts
    grown = output_of(pprof, "-unit=kB", "-top", f"-diff_base={first}", str(second))
    flat = re.search(r"([\d.]+)kB +[\d.]+% .*take.<locals>.<listcomp>", grown)
    assert flat is not None, grown
    assert float(flat[1]) == pytest.approx(200 * 10_057 / 1024, rel=0.02)
    assert len(held) == 500


def test_speedscope_files_fit_the_viewers_schema() -> None:
    """One profile for each thread, the largest first; an empty profile is still a file that opens."""
    for profile in (known_profile(), Profile(sample_types=(ValueType("samples", "count"),))):
        document = json.loads(to_speedscope(profile, name="agent"))
        jsonschema.validate(document, SPEEDSCOPE)
        for part in document["profiles"]:
            assert len(part["samples"]) == len(part["weights"])
            assert sum(part["weights"]) == part["endValue"]
            assert all(number < len(document["shared"]["frames"]) for stack in part["samples"] for number in stack)
    document = json.loads(to_speedscope(known_profile()))
    assert [part["name"] for part in document["profiles"]] == ["read_file", "grep", "none"]
    names = [frame["name"] for frame in document["shared"]["frames"]]
    assert [names[number] for number in document["profiles"][0]["samples"][0]] == ["main", "work"]


def test_py_spy_sees_the_program_from_outside(tmp_path: Path) -> None:
    """Where tracing is allowed its stacks come in any of our formats; where not, the message says what to do."""
    code = (
        "import sys, time, sonde\n"
        "def outside():\n"
        "    end = time.perf_counter() + 1\n"
        "    while time.perf_counter() < end: pass\n"
        "try:\n"
        "    sonde.start_cpu_profile(sys.argv[1], backend='py-spy', hz=200)\n"
        "except sonde.ProfileError as error:\n"
        "    print(error); sys.exit(3)\n"
        "outside()\n"
        "print(sonde.stop_cpu_profile())\n"
    )
    path = tmp_path / "cpu.pb.gz"
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=90, check=False
    )
    if run.returncode == 3:
        assert "tracing has to be allowed" in run.stdout
        assert "backend='sonde'" in run.stdout
        return
    assert run.returncode == 0, run.stderr
    profile = from_pprof(path.read_bytes())
    inside = sum(one.values[0] for one in profile.samples if any(frame.function == "outside" for frame in one.stack))
    assert inside > 0.5 * profile.total("samples") > 0


def test_a_py_spy_that_cannot_run_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message names it and what to do, and no temporary folder is left."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "py-spy").write_bytes(b"\x7fELF no program")
    (tmp_path / "py-spy").chmod(0o700)
    with pytest.raises(ProfileError, match=r"cannot run py-spy as '.*py-spy': .*; use backend='sonde'"):
        sonde.start_cpu_profile(io.BytesIO(), backend="py-spy")
    assert sonde.stop_cpu_profile() is None
    assert [one.name for one in tmp_path.iterdir()] == ["py-spy"]


def test_py_spys_lines_are_read() -> None:
    """Threads become labels, functions keep file and line, and a count becomes time."""
    raw = "thread (0x7F): MainThread;main (/a b/agent.py:3);work (/a b/agent.py:9) 4\nidle (x.py) 1\nodd\n"
    profile = profile_of_raw(raw, hz=100, mode="wall", time_ns=1, duration_s=1.0)
    first, second = profile.samples
    assert first.stack == (Frame("work", "/a b/agent.py", 9), Frame("main", "/a b/agent.py", 3))
    assert first.values == (4, 40_000_000)
    assert dict(first.labels) == {"thread": "thread (0x7F): MainThread"}
    assert second.stack == (Frame("idle", "x.py"),)


def test_py_spy_that_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And in mode waiting it is refused, since it sees threads only."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"sonde\[profile\]"):
        sonde.start_cpu_profile(io.BytesIO(), backend="py-spy")
    with pytest.raises(ProfileError, match="mode 'waiting'"):
        sonde.start_cpu_profile(io.BytesIO(), backend="py-spy", mode="waiting")
    assert sonde.stop_cpu_profile() is None
