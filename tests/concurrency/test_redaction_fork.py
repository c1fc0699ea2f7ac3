"""Secrets are looked for in threads, and processes fork meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from sonde.redaction.linear import compile_bytes

LIMIT_S = 20

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

# A process of its own, since what RE2 builds under a lock, it mostly builds at the first search of a process.
PROGRAM = f"""
import os, random, signal, sys, threading, time, warnings
from sonde.redaction import SecretRedactor

warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork of a process with threads
chance = random.Random(int(sys.argv[1]))
texts = [bytes(chance.choices(range(97, 123), k=3000)) for _ in range(100)]
redactor = SecretRedactor()
inside = threading.Event()
def search():
    inside.set()
    redactor.suspects(texts)
thread = threading.Thread(target=search)
thread.start()
inside.wait()
time.sleep(chance.random() * 0.002)
pid = os.fork()
if pid == 0:
    redactor.suspects(texts[:3])
    os._exit(0)
until_s = time.monotonic() + {LIMIT_S}
while os.waitpid(pid, os.WNOHANG)[0] == 0:
    if time.monotonic() > until_s:
        os.kill(pid, signal.SIGKILL)
        sys.exit("the child hangs in its first search")
    time.sleep(0.001)
thread.join()
"""


@pytest.mark.parametrize("seed", range(5))
def test_a_child_that_is_forked_in_the_middle_of_a_search_can_search(seed: int) -> None:
    """RE2 holds locks without the GIL; a fork waits until no thread is in there."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seed)], capture_output=True, text=True, timeout=3 * LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_signal_handler_that_searches_does_not_wait_for_its_own_thread() -> None:
    """Turns are re-entrant: a handler may come between taking a turn and giving it back."""
    pattern = compile_bytes(rb"b+z")
    text = b"b" * 50_000
    found = []
    before = signal.signal(signal.SIGALRM, lambda *_: found.append(pattern.search(b"abbbz")))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        until_s = time.monotonic() + LIMIT_S
        while len(found) < 200 and time.monotonic() < until_s:
            pattern.search(text)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(found) >= 200
    assert all(found)
