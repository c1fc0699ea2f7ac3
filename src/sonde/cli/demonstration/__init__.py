"""Demonstration: a small coding agent that really works, under a model that only recites."""

from sonde.cli.demonstration.agent import work
from sonde.cli.demonstration.model import MODEL, PROVIDER, ScriptedModel
from sonde.cli.demonstration.repository import API_KEY, make_repository

__all__ = ["API_KEY", "MODEL", "PROVIDER", "ScriptedModel", "make_repository", "work"]
