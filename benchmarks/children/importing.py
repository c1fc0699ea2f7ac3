"""Runs a statement and says which modules came with it: ``importing STATEMENT``."""

from __future__ import annotations

import sys

_UNWANTED = ("click", "rich", "opentelemetry", "starlette", "uvicorn", "http.server", "socketserver", "asyncio")
_STATEMENT = sys.argv[1]


def main() -> None:
    """Count what a program that only records has no use for."""
    exec(_STATEMENT, {})
    print(f'{{"unwanted": {sum(name in sys.modules for name in _UNWANTED)}, "modules": {len(sys.modules)}}}')


if __name__ == "__main__":
    main()
