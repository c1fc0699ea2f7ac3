"""Process: what a session says about the program that recorded it."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

from sonde.instrument.fault import report_fault


def process_facts() -> dict[str, Any]:
    """``pid``, ``argv``, ``host`` and ``versions`` (python, sonde, platform) of this process.

    Takes some 1 ms and never raises.
    """
    facts: dict[str, Any] = {"pid": os.getpid()}
    try:
        facts["argv"] = list(getattr(sys, "argv", ()))
        facts["host"] = platform.node()
        facts["versions"] = {
            "python": platform.python_version(),
            "sonde": _own_version(),
            "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        }
    except Exception:  # noqa: BLE001 - a session without a host name is still a session
        report_fault("describe this process")
    return facts


def _own_version() -> str:
    try:
        return metadata.version("sonde")
    except metadata.PackageNotFoundError:  # run from a source tree that nobody installed
        return ""
