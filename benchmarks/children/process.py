"""What the operating system says of this process."""

from __future__ import annotations

from pathlib import Path


def resident_mb(field: str = "VmRSS") -> float:
    """Resident memory now, or its ``VmHWM``, the highest so far. In MB; Linux only."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"no {field} in /proc/self/status; expected Linux")
