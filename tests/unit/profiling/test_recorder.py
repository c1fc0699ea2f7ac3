import math
import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import sonde
from sonde import ConfigError, ProfileConfig, ProfileRecorder

KIND = {"kind": "peak_rss"}
ON_A_MACHINE_THAT_TELLS = pytest.mark.skipif(sys.platform == "win32", reason="no peak_rss")


def forget() -> None:
    sonde.gauge(sonde.MEMORY_USAGE_BYTES, KIND).set(0)


def is_known(timeout_s: float = 30) -> bool:
    """Whether the gauge is set by somebody until the time is over."""
    deadline_s = time.monotonic() + timeout_s
    while not sonde.gauge(sonde.MEMORY_USAGE_BYTES, KIND).get():
        if time.monotonic() > deadline_s:
            return False
    return True


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sonde-profile-recorder"]


@ON_A_MACHINE_THAT_TELLS
def test_memory_is_recorded_at_the_start() -> None:
    """``start`` has set the gauges when it returns, however long the interval is."""
    forget()
    recorder = ProfileRecorder()
    assert recorder.config == ProfileConfig(memory_interval_s=30.0)
    recorder.start()
    assert is_known(0)
    recorder.stop()


@ON_A_MACHINE_THAT_TELLS
def test_memory_is_recorded_every_interval() -> None:
    """After the start it goes on, until it is stopped; then it can be started again."""
    recorder = ProfileRecorder(ProfileConfig(memory_interval_s=0.001))
    for _ in range(3):
        recorder.start()
        recorder.start()
        assert recorder.is_running
        for _ in range(3):
            forget()
            assert is_known()
        assert len(threads()) == 1
        (thread,) = threads()
        recorder.stop()
        recorder.stop()
        assert not recorder.is_running
        thread.join(30)
        forget()
        assert not is_known(0.02)
    assert recorder.failures.counts == {}


def test_stop_before_start_does_nothing() -> None:
    """``stop`` may be called at any time."""
    ProfileRecorder().stop()


@pytest.mark.parametrize("interval_s", [0, -1, math.nan, math.inf, True, "30", None])
def test_an_interval_says_what_is_allowed(interval_s: Any) -> None:
    """What is no interval is an error before anything starts."""
    with pytest.raises(ConfigError, match=r"cannot record memory every .* a finite number above 0 is expected; give"):
        ProfileConfig(memory_interval_s=interval_s)


def test_a_failure_is_counted_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gauge of that name that somebody made as a counter fails each time, and nobody has to care."""
    registry = sonde.Registry()
    registry.counter(sonde.MEMORY_USAGE_BYTES)
    monkeypatch.setattr("sonde.metrics.predefined.gauge", registry.gauge)
    recorder = ProfileRecorder()
    recorder.start()
    recorder.stop()
    assert recorder.failures.counts == {"memory": 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_records_too() -> None:
    """The child's gauges are set by a thread of its own, and stopping it there leaves the parent's alone."""
    code = """
import os, time, sonde
gauge = sonde.gauge(sonde.MEMORY_USAGE_BYTES, {"kind": "peak_rss"})
def known():
    gauge.set(0)
    deadline_s = time.monotonic() + 30
    while not gauge.get():
        if time.monotonic() > deadline_s:
            return False
    return True
recorder = sonde.ProfileRecorder(sonde.ProfileConfig(memory_interval_s=0.005))
recorder.start()
pid = os.fork()
if pid == 0:
    ok = known()
    recorder.stop()
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert known()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, "")
