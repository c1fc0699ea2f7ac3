"""Child: starts a program of this package and takes the JSON that it prints last."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def call(program: str, *arguments: object, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run ``benchmarks.children.<program>`` to its end."""
    command = [sys.executable, "-m", f"benchmarks.children.{program}", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def report(**found: Any) -> None:
    """What :func:`call` returns."""
    print(json.dumps(found))
