"""The import contract of pyproject.toml holds, and covers the whole package."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def declared_rooms() -> list[set[str]]:
    """The rooms of the layers contract, top floor first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    return [{room.strip(" ()") for room in floor.split("|")} for floor in layers]


def existing_rooms() -> set[str]:
    package = ROOT / "src" / "sonde"
    packages = {init.parent.name for init in package.glob("*/__init__.py")}
    return packages | {module.stem for module in package.glob("*.py")} - {"__init__"}


def test_import_contract_is_kept() -> None:
    """No module imports upward, sideways, or a package that belongs to another room."""
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    done = subprocess.run([*lint, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_is_declared() -> None:
    """A new module has its floor in the contract before it has an importer."""
    assert existing_rooms() <= set().union(*declared_rooms())


def test_no_room_is_on_two_floors() -> None:
    """The contract names each module once."""
    rooms = [room for floor in declared_rooms() for room in floor]
    assert len(rooms) == len(set(rooms))
