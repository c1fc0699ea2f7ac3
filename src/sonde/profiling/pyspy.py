"""PySpy: sampling from another process, by the program ``py-spy``, which sees what holds the GIL too."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sonde.errors import MissingExtraError, ProfileError
from sonde.profiling.encoding import encode_profile
from sonde.profiling.profile import Frame, Profile, Sample, ValueType
from sonde.profiling.report import ProfileReport
from sonde.profiling.target import Target

_ATTACH_S = 10.0
_FINISH_S = 30.0
_LINE = re.compile(r"^(?P<function>.*?) \((?P<file>.*?)(?::(?P<line>\d+))?\)$")
_PR_SET_PTRACER = 0x59616D61
_ANYBODY, _NOBODY = -1, 0


class PySpy:
    """A profile taken by ``py-spy record``. It has no labels: another process cannot see scopes."""

    def __init__(self, *, hz: float, mode: str) -> None:
        """Start it and wait until it is attached.

        Raises:
            MissingExtraError: the program is not installed.
            ProfileError: it may not look into this process.
        """
        if mode == "waiting":
            raise ProfileError("cannot use py-spy in mode 'waiting': it sees threads only; use backend='sonde'")
        program = _program()
        self._mode = mode
        self._hz = max(1, round(hz))
        self._pid = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix="sonde-py-spy-"))
        self._out = self._folder / "raw"
        command = [program, "record", "--pid", str(self._pid), "--rate", str(self._hz), "--format", "raw"]
        command += ["--full-filenames", "--threads", "--duration", "unlimited", "--output", str(self._out)]
        command += ["--idle"] if mode == "wall" else []
        self._time_ns, self._began_s = time.time_ns(), time.monotonic()
        _let_trace(_ANYBODY)
        try:
            self._process = subprocess.Popen(  # a session of its own: Ctrl-C is for the program, not for its profiler
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self._clear()
            raise ProfileError(f"cannot run py-spy as {program!r}: {error}; use backend='sonde'") from error
        try:
            self._wait_until_attached()
        except BaseException:
            self.abandon()
            raise

    def finish(self, target: Target) -> ProfileReport:
        """Stop it, and write what it saw."""
        duration_s = time.monotonic() - self._began_s
        try:
            self._process.send_signal(signal.SIGINT)
            self._process.communicate(timeout=_FINISH_S)
            raw = self._out.read_text("utf-8", "replace")
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProfileError(
                f"cannot get the profile from py-spy (process {self._process.pid}): {error}; use backend='sonde'"
            ) from error
        finally:
            self.abandon()
        profile = profile_of_raw(raw, hz=self._hz, mode=self._mode, time_ns=self._time_ns, duration_s=duration_s)
        target.write(encode_profile(profile, target.format))
        return ProfileReport(
            target=target.name,
            format=target.format,
            mode=self._mode,
            backend="py-spy",
            duration_s=duration_s,
            hz_asked=float(self._hz),
            samples=profile.total("samples"),
            stacks=len(profile.samples),
        )

    def abandon(self) -> None:
        """End what is left of it. In a forked child it is the parent's, and is left alone."""
        if os.getpid() != self._pid:
            return
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._clear()

    def _clear(self) -> None:
        _let_trace(_NOBODY)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_until_attached(self) -> None:
        """It says "Sampling process", or why it cannot."""
        said, deadline_s = b"", time.monotonic() + _ATTACH_S
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - a pipe was asked for
        while b"Sampling process" not in said:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([stream], [], [], left_s)[0]:
                break
            piece = os.read(stream.fileno(), 65_536)
            if not piece:
                break
            said += piece
        else:
            return
        why = " ".join(said.decode("utf-8", "replace").split())[:300] or f"no answer within {_ATTACH_S:.0f} s"
        raise ProfileError(
            f"cannot attach py-spy to process {self._pid}: {why}; tracing has to be allowed (root, CAP_SYS_PTRACE, in "
            "a container --cap-add SYS_PTRACE, or kernel.yama.ptrace_scope=0); or use backend='sonde'"
        )


def profile_of_raw(raw: str, *, hz: int, mode: str, time_ns: int, duration_s: float) -> Profile:
    """What py-spy writes as ``raw``: collapsed stacks that begin with the thread."""
    period = round(1e9 / hz)
    samples = []
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if not stack or not count.isdigit():
            continue
        parts = stack.split(";")
        thread = parts.pop(0) if parts[0].startswith("thread (") else ""
        frames = tuple(_frame_of(part) for part in reversed(parts))
        number = int(count)
        labels = (("thread", thread),) if thread else ()
        samples.append(Sample(frames, (number, number * period), labels))
    return Profile(
        sample_types=(ValueType("samples", "count"), ValueType(mode, "nanoseconds")),
        samples=tuple(samples),
        period_type=ValueType(mode, "nanoseconds"),
        period=period,
        time_ns=time_ns,
        duration_ns=round(duration_s * 1e9),
        default_sample_type=mode,
        comments=(f"py-spy {mode} profile, {hz} Hz asked for",),
    )


def _frame_of(text: str) -> Frame:
    found = _LINE.match(text)
    return Frame(found["function"], found["file"], int(found["line"] or 0)) if found else Frame(text)


def _program() -> str:
    beside = Path(sys.executable).with_name("py-spy")  # in a virtual environment that is not activated
    program = str(beside) if beside.is_file() else shutil.which("py-spy")
    if program is None:
        raise MissingExtraError(
            "cannot profile with backend 'py-spy': the program is not installed; pip install 'sonde[profile]'"
        )
    return program


def _let_trace(who: int) -> None:
    """Where only parents may trace (Yama, scope 1), a process can allow it to all of its user, and take that back."""
    if sys.platform == "linux":
        with contextlib.suppress(Exception):  # without it py-spy says itself that it may not
            import ctypes

            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PTRACER, ctypes.c_ulong(who), 0, 0, 0)
