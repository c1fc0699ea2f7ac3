"""Examples in docstrings as code blocks: Markdown would take their prompts for quotations."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import griffe


class FencedExamples(griffe.Extension):
    """Puts each paragraph that begins with ``>>>`` between fences."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each object once it is read."""
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """The text with its doctests in fences.

    >>> fenced("It adds.\\n\\n>>> 1 + 1\\n2")
    'It adds.\\n\\n```pycon\\n>>> 1 + 1\\n2\\n```'
    """
    paragraphs = []
    for is_blank, lines in groupby(text.split("\n"), key=lambda line: not line.strip()):
        paragraph = "\n".join(lines)
        paragraphs.append(f"```pycon\n{paragraph}\n```" if not is_blank and paragraph.startswith(">>> ") else paragraph)
    return "\n".join(paragraphs)
