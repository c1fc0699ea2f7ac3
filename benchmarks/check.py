"""Check: does a run keep the budgets? ``python -m benchmarks.check [RUN.json]`` names what falls short, and exits 1.

Run by hand and read by people: on a busy machine a budget may be missed by luck, which is why no test does this.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.budgets import Standing
from benchmarks.document import LATEST, RESULTS, load_document
from benchmarks.report import print_budgets


def main() -> None:
    """Judge the run that is named, else the last whole one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, default=RESULTS / LATEST, help="default: the last whole run")
    parser.add_argument("--fresh", action="store_true", help="measure first")
    options = parser.parse_args()
    if options.fresh and subprocess.run([sys.executable, "-m", "benchmarks"], check=False).returncode:
        sys.exit("the run did not measure everything: it is not judged, and an older one would say nothing about today")
    if not options.run.exists():
        sys.exit(f"there is no run {options.run}: measure all first, with make bench")
    document = load_document(options.run)
    print(f"run of {document['when']}, {document['load']}: {options.run}")
    verdicts = print_budgets(document)
    if unmeasured := [verdict.budget.what for verdict in verdicts if verdict.standing is Standing.UNMEASURED]:
        print(f"not measured in this run: {'; '.join(unmeasured)}")
    if short := [verdict.budget.what for verdict in verdicts if verdict.standing is Standing.SHORT]:
        sys.exit(f"falls short: {'; '.join(short)}")


if __name__ == "__main__":
    main()
