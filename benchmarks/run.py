"""Run: each comparison in a process of its own, then one document, tables, a plot, and the budgets."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import Load
from benchmarks.comparisons.catalogue import MODULES, load_bench
from benchmarks.document import RESULTS, begin_document, bench_document, save
from benchmarks.report import print_bench, print_budgets

ROOT = Path(__file__).parent.parent
PLOTS = ROOT / "docs" / "img"
_LONGEST_S = 300.0
_LONGEST_FULL_S = 4 * 3600.0


def main() -> None:
    """Measure, print, keep, plot; say which budgets are met."""
    options = _options()
    load = Load(quick=options.quick, full=options.full)
    if options.child:
        bench = load_bench(options.child)
        json.dump(bench_document(bench, bench.run(load, rounds=options.rounds)), sys.stdout)
        return
    chosen = [name for name in MODULES if not options.only or any(word in name for word in options.only)]
    if options.list or not chosen:
        print("\n".join(MODULES))
        sys.exit(0 if options.list else f"no comparison is named {' or '.join(options.only)}; those above are")
    # A machine may forbid compiled modules, and each child would compile all that it imports.
    modules = tempfile.TemporaryDirectory(prefix="sonde-bench-modules-")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = modules.name
    document = begin_document(load)
    began_s = time.monotonic()
    for number, name in enumerate(chosen, 1):
        print(f"{number} of {len(chosen)}: {name}", file=sys.stderr)
        bench_began_s = time.monotonic()
        found = _run_child(name, options)
        if found is None:
            document["failed"].append(name)
            continue
        found["took_s"] = round(time.monotonic() - bench_began_s, 1)
        document["benches"][name] = found
        print_bench(name, found)
    document["took_s"] = round(time.monotonic() - began_s, 1)
    print_budgets(document)
    is_whole = not (options.only or options.quick or document["failed"])
    path = save(document, is_whole=is_whole)
    if not options.no_plot:
        from benchmarks.plot import draw  # matplotlib takes a second to load

        draw(document, PLOTS if is_whole else RESULTS)
    print(f"took {document['took_s']:.0f} s; kept in {path.relative_to(ROOT)}")
    if document["failed"]:
        sys.exit(f"could not be measured: {', '.join(document['failed'])}")


def _run_child(name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """One comparison in a fresh process: neither what the others loaded nor how they end can touch it."""
    command = [sys.executable, "-m", "benchmarks", "--child", name]
    command += ["--quick"] * options.quick + ["--full"] * options.full
    command += [] if options.rounds is None else ["--rounds", str(options.rounds)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            timeout=_LONGEST_FULL_S if options.full else _LONGEST_S,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"{name} could not be measured: {error}", file=sys.stderr)
        return None
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="comparisons with this in their name; repeat")
    parser.add_argument("--rounds", type=int, metavar="N", help="at most so many rounds that count")
    parser.add_argument("--quick", action="store_true", help="small loads: a look, no figures")
    parser.add_argument("--full", action="store_true", help="10 M events in memory, 30 M in the store")
    parser.add_argument("--list", action="store_true", help="list the comparisons")
    parser.add_argument("--no-plot", action="store_true", help="draw nothing")
    parser.add_argument("--child", choices=MODULES, help=argparse.SUPPRESS)
    return parser.parse_args()
