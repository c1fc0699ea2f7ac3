"""Works 6.8 ms of each 10 ms and sleeps the rest; prints which share was work, and which share a profile saw."""

import json
import sys
import time

from sonde.profiling import Sampler


def work(until_s: float) -> None:
    while time.perf_counter() < until_s:
        pass


def main() -> None:
    """The first argument is the duration in seconds, the second the seed."""
    sampler = Sampler(hz=100, seed=int(sys.argv[2]), cpu_ratio=0.05)
    sampler.start()
    began_s = time.perf_counter()
    worked_s = 0.0
    while (now_s := time.perf_counter()) < began_s + float(sys.argv[1]):
        work(now_s + 0.0068)
        worked_s += time.perf_counter() - now_s
        time.sleep(max(0.0, now_s + 0.010 - time.perf_counter()))
    profile = sampler.stop()
    main = [one for one in profile.samples if dict(one.labels)["thread"] == "MainThread"]
    seen = sum(one.values[1] for one in main if any(frame.function == "work" for frame in one.stack))
    total = sum(one.values[1] for one in main)
    sys.stdout.write(json.dumps({"worked": worked_s / (time.perf_counter() - began_s), "seen": seen / total}))


if __name__ == "__main__":
    main()
