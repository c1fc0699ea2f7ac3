"""ContentCapture: which content of operations is recorded, and which is only named."""

from __future__ import annotations

from typing import Any

import msgspec

WITHHELD = "$withheld"

_PROMPT_KEYS = frozenset(
    {
        "answer",
        "choices",
        "completion",
        "content",
        "input",
        "instructions",
        "messages",
        "output",
        "prompt",
        "prompts",
        "reasoning",
        "response",
        "system",
        "system_prompt",
        "text",
        "thinking",
    }
)
_TOOL_KEYS = frozenset({"args", "arguments", "result", "stderr", "stdout"})
_RAW_KEYS = frozenset(
    {"body", "headers", "raw", "raw_request", "raw_response", "request_body", "request_headers", "response_body"}
    | {"response_headers"}
)


class ContentCapture(msgspec.Struct, frozen=True):
    """Three switches over what people and tools said. Immutable, safe to share between threads.

    ``prompts``: prompts and answers (``prompt``, ``messages``, ``system``, ``input``, ``answer``, ``output``, …);
    ``tools``: arguments and results of tools, output of shells, and all but the first word of a command;
    ``raw_bodies``: bodies and headers of requests and responses (``raw_request``, ``response_body``, ``headers``, …).

    A key that is off is left out and its name listed under ``$withheld``. Names, times, tokens, costs, statuses and the
    texts of errors are always recorded. The switches work on keys at the top level of an operation's data; free events
    (``emit``) are not touched, redaction is another thing.

    >>> ContentCapture(prompts=False).withhold({"model": "m", "prompt": "secret"})
    {'model': 'm', '$withheld': ['prompt']}
    """

    prompts: bool = True
    tools: bool = True
    raw_bodies: bool = True

    @property
    def complete(self) -> bool:
        """Whether nothing is withheld."""
        return self.prompts and self.tools and self.raw_bodies

    def withhold(self, data: dict[str, Any]) -> dict[str, Any]:
        """A copy of ``data`` without what is switched off."""
        off: frozenset[str] = frozenset()
        if not self.prompts:
            off |= _PROMPT_KEYS
        if not self.tools:
            off |= _TOOL_KEYS
            if "tool" in data or "command" in data:  # what a tool takes and gives has these names too
                off |= _PROMPT_KEYS
        if not self.raw_bodies:
            off |= _RAW_KEYS
        before = data.get(WITHHELD)  # of what has gone through here already
        named = {key for key in before if isinstance(key, str)} if isinstance(before, list) else set()
        withheld = sorted(named | {key for key in data if key in off})
        kept = {key: value for key, value in data.items() if key not in off}
        if not self.tools and "command" in kept:
            program = _program(kept["command"])
            if program != kept["command"] and "command arguments" not in withheld:
                kept["command"] = program
                withheld.append("command arguments")
        if withheld:
            kept[WITHHELD] = withheld
        return kept


def _program(command: Any) -> str:
    """The program that a command runs, without its arguments and without assignments before it (they hold secrets)."""
    words = command.split(maxsplit=20) if isinstance(command, str) else command
    if not isinstance(words, list | tuple):
        return ""
    return next((word for word in words[:20] if isinstance(word, str) and "=" not in word), "")
