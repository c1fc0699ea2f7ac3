"""Shell output: what a command printed, bounded to its head and tail."""

from __future__ import annotations

from typing import Any

from sonde.instrument.snapshot import MAX_BYTES

_HALF = MAX_BYTES // 2


def bound_output(data: dict[str, Any]) -> None:
    """Cut ``stdout`` and ``stderr`` in ``data`` to 64 k characters each, head and tail, and note the size they had.

    ``stdout_bytes`` and ``stderr_bytes`` appear where something was cut. Bytes become text, undecodable ones marked.

    >>> data = {"stdout": "a" * 100_000}
    >>> bound_output(data)
    >>> len(data["stdout"]) < 70_000, data["stdout_bytes"]
    (True, 100000)
    """
    for key in ("stdout", "stderr"):
        value = data.get(key)
        if isinstance(value, str):
            size = len(value)
            if size > MAX_BYTES:
                data[f"{key}_bytes"] = size if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
                data[key] = f"{value[:_HALF]}\n… {size - 2 * _HALF:,} characters left out …\n{value[-_HALF:]}"
        elif isinstance(value, bytes):
            size = len(value)
            if size > MAX_BYTES:
                data[f"{key}_bytes"] = size
                value = b"%b\n... %d bytes left out ...\n%b" % (value[:_HALF], size - 2 * _HALF, value[-_HALF:])
            data[key] = value.decode("utf-8", "replace")
