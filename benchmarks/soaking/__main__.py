"""``python -m benchmarks.soaking``: run the soak, say how far it is, and judge it."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sonde
from benchmarks.soaking.verdict import Soak, verdict

_RESULTS = Path(__file__).parents[1] / "results"
_FOLLOW_S = 20.0
_PAUSE_S = 10.0


def main() -> None:
    """Exit 1 if it failed."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="sonde-soak-"))
    try:
        document = run(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if not options.no_plot:
        from benchmarks.soaking.plot import draw  # needs matplotlib, which a test of the soak need not have

        draw(document, out)
    for line in document["verdict"]:
        print(line)
    print(f"{'passed' if document['passed'] else 'FAILED'}; written to {out / 'soak.json'}")
    sys.exit(0 if document["passed"] else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soaking", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=5_000, help="events a second")
    parser.add_argument("--max-mb", type=float, default=128.0, help="what retention keeps, in millions of bytes")
    parser.add_argument("--session-s", type=float, default=60.0, help="how long each agent's session takes")
    parser.add_argument("--sample-s", type=float, default=10.0)
    parser.add_argument("--out", default=str(_RESULTS), help="the folder for soak.json and the plot")
    parser.add_argument("--no-plot", action="store_true")
    return parser.parse_args()


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Let the load work, with a follower that comes and goes; then look at what it left."""
    db = folder / "soak.db"
    seconds = options.minutes * 60
    when = datetime.now(UTC).isoformat(timespec="seconds")
    numbers = (seconds, options.rate, int(options.max_mb * 1e6), options.session_s, options.sample_s)
    command = [sys.executable, "-m", "benchmarks.soaking.load", str(db), *map(str, numbers)]
    load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    followers = _Followers(db, min(_FOLLOW_S, seconds / 4))
    samples: list[dict[str, Any]] = []
    assert load.stdout is not None
    try:
        for line in load.stdout:
            followers.tend()
            found = json.loads(line)
            if "complete" in found:
                samples.append({"end": found})
                continue
            samples.append(found)
            _say(found, samples[-2] if len(samples) > 1 else None, seconds)
        load.wait()
    finally:  # Ctrl-C, above all: nobody goes on in a folder that is about to be removed
        load.kill()
        load.wait()
        if sys.exc_info()[0] is not None:
            followers.stop()
    if load.returncode != 0 or not samples or "end" not in samples[-1]:
        raise SystemExit(f"the load ended with exit code {load.returncode}")
    end = samples.pop()["end"]
    seen = followers.finish()
    print("verifying", flush=True)
    soak = Soak(samples, end, seen, _remains(db), max_bytes=int(options.max_mb * 1e6))
    lines, failed = verdict(soak)
    return {
        "when": when,
        "python": platform.python_version(),
        "sonde": version("sonde"),
        "minutes": options.minutes,
        "rate": options.rate,
        "max_bytes": soak.max_bytes,
        "session_s": options.session_s,
        "passed": not failed,
        "failed": failed,
        "verdict": lines,
        "end": end,
        "followers": seen,
        "remains": soak.remains,
        "samples": samples,
    }


def _say(now: dict[str, Any], before: dict[str, Any] | None, seconds: float) -> None:
    past_s = now["s"] - (before["s"] if before else 0.0)
    rate = (now["committed"] - (before["committed"] if before else 0)) / past_s if past_s else 0.0
    left_s = max(0.0, seconds - now["s"])
    print(
        f"{now['s']:7,.0f} s  {rate:7,.0f} events/s  rss {now['rss_bytes'] / 1e6:6.1f} MB  "
        f"db {now['db_bytes'] / 1e6:6.1f} + {now['wal_bytes'] / 1e6:5.1f} MB  threads {now['threads']}  "
        f"fds {now['fds']}  pending {now['pending']:,}  dropped {now['dropped']}  "
        f"removed {now['removed_events']:,}  ETA {left_s / 60:.1f} min",
        flush=True,
    )


class _Followers:
    """One reader after the other, with pauses."""

    def __init__(self, db: Path, follow_s: float) -> None:
        self._db = db
        self._follow_s = follow_s
        self._process: subprocess.Popen[str] | None = None
        self._next_s = time.monotonic() + 1.0
        self.seen: list[dict[str, int]] = []

    def tend(self) -> None:
        """Start one, or take in what the last one saw."""
        if self._process is not None and self._process.poll() is not None:
            self._take_in()
        if self._process is None and time.monotonic() >= self._next_s and self._db.exists():
            command = [sys.executable, "-m", "benchmarks.soaking.follower", str(self._db), str(self._follow_s)]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def _take_in(self) -> None:
        assert self._process is not None
        out, _ = self._process.communicate(timeout=120)
        if self._process.returncode != 0:
            raise SystemExit(f"a follower ended with exit code {self._process.returncode}")
        self.seen.append(json.loads(out))
        self._process = None
        self._next_s = time.monotonic() + min(_PAUSE_S, self._follow_s / 2)

    def stop(self) -> None:
        """End the one that reads now."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def finish(self) -> dict[str, int]:
        """What all of them saw."""
        if self._process is not None:
            self._take_in()
        total = {"readers": len(self.seen)}
        for one in self.seen:
            for key, number in one.items():
                total[key] = total.get(key, 0) + number
        return total


def _remains(db: Path) -> dict[str, Any]:
    """What is in the store at the end, and whether it is sound."""
    with sonde.SQLiteStore(str(db)) as store:
        damage = [str(found) for found in store.verify()]
        events = sum(1 for _ in store.read_all())
        noted = sum(1 for _ in store.read("sonde.retention"))
        removed_events, removed_sessions = store.removed()
        streams = store.streams()
    return {
        "damage": damage[:10],
        "events": events,
        "notes": noted,
        "removed_events": removed_events,
        "removed_sessions": removed_sessions,
        "streams": len(streams),
        "streams_with_events": sum(1 for stream in streams if stream.first_version),
        "files": sorted(path.name for path in db.parent.iterdir()),
    }


if __name__ == "__main__":
    main()
