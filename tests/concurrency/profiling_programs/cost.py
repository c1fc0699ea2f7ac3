"""Twenty idle threads, thirty frames deep, and a busy one; prints what the sampler cost and saw."""

import json
import sys
import threading
import time

from sonde.profiling import Sampler


def wait(depth: int, end: threading.Event) -> None:
    if depth:
        wait(depth - 1, end)
    else:
        end.wait()


def spin(end: threading.Event) -> None:
    count = 0
    while not end.is_set():
        for number in range(1_000):
            count += number * number


def main() -> None:
    end = threading.Event()
    for number in range(20):
        threading.Thread(target=wait, args=(30, end), name=f"idle-{number}", daemon=True).start()
    threading.Thread(target=spin, args=(end,), name="busy", daemon=True).start()
    sampler = Sampler()
    sampler.start()
    time.sleep(float(sys.argv[1]))  # the load is the other threads'
    profile, window = sampler.finish()
    end.set()
    busy = sum(one.values[2] for one in profile.samples if dict(one.labels)["thread"] == "busy")
    threads = {dict(one.labels)["thread"] for one in profile.samples}
    sys.stdout.write(
        json.dumps(
            {
                "cpu_ratio": window.cpu_ratio,
                "hz": window.hz,
                "busy_share": busy / profile.total("cpu"),
                "threads": len(threads),
                "failures": window.failures,
                "wall_s": profile.total("wall", thread="idle-0") / 1e9,
                "duration_s": window.duration_s,
            }
        )
    )


if __name__ == "__main__":
    main()
