"""The promised JSON fields and commands are documented, and every command teaches by example."""

import re
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from sonde.cli import documents, metric_documents, profile_documents, stats_documents
from sonde.cli.main import COMMANDS, Commands
from sonde.events import Event

MANUAL = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
DOCUMENTS = [
    value
    for module in (documents, stats_documents, metric_documents, profile_documents)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
]


def command(name: str) -> click.Command:
    found = Commands().get_command(click.Context(click.Group()), name)
    assert found is not None
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.__name__)
def test_every_field_is_documented(document: type[msgspec.Struct]) -> None:
    """docs/cli.md explains each field that --json prints."""
    missing = [field for field in document.__struct_fields__ if f"`{field}`" not in MANUAL]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.__name__)
def test_fields_are_snake_case(document: type[msgspec.Struct]) -> None:
    """No field of ours is camelCase; the wire form is the export's business."""
    assert all(re.fullmatch("[a-z][a-z0-9_]*", field) for field in document.__struct_fields__)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    """docs/cli.md has a heading for each command."""
    assert re.search(rf"^### `sonde {name}\b", MANUAL, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_long_option_is_documented_where_it_matters(name: str) -> None:
    """Each option of a command is named in docs/cli.md."""
    options = [text for option in command(name).params for text in option.opts if text.startswith("--")]
    assert not [text for text in options if text not in MANUAL]


@pytest.mark.parametrize(
    "name",
    ["sessions", "show", "tail", "replay", "stats", "metrics", "profile", "export", "import", "backup", "doctor"],
)
def test_help_has_an_example(name: str, sonde: Any) -> None:
    """--help of each command shows how it is used."""
    assert f"sonde {name}" in sonde(name, "--help").out.partition("Examples:")[2]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "completion"])
def test_help_lists_the_json_fields(name: str, sonde: Any) -> None:
    """--help of each command with --json lists the fields."""
    assert "JSON fields" in sonde(name, "--help").out


def test_an_event_from_no_store_has_no_place() -> None:
    """What only a store gives is empty for an event that comes from none, and of the right type."""
    document = documents.event_document(Event("tick", 1))
    assert (document.position, document.version, document.stream_id, document.seq) == ("", 0, "", 0)
