"""ScriptedModel: says what is written here, at the pace of a model, and counts tokens and cost as a provider would."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MODEL = "scripted-model"
PROVIDER = "sonde-demo"

_USD_PER_INPUT_TOKEN = 3e-6
_USD_PER_OUTPUT_TOKEN = 15e-6
_CHARS_PER_TOKEN = 4
_FIRST_WORD_S = 0.3
_WORD_S = 0.03


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model wants done."""

    tool: str
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer: what it says, and the tools that it calls, all at once; none, the task is done."""

    text: str
    calls: Sequence[ToolCall] = ()


TASKS: Mapping[str, Sequence[Turn]] = {
    "Find out what fails": (
        Turn(
            "I'll run the tests, and read them meanwhile.",
            [ToolCall("run_tests"), ToolCall("read_file", {"path": "test_cart.py"})],
        ),
        Turn(
            "Two of three fail. I'll read the code, and the notes on discounts if there are any.",
            [ToolCall("read_file", {"path": "cart.py"}), ToolCall("read_file", {"path": "docs/discounts.md"})],
        ),
        Turn("There are no notes, but the tests are clear: the discount is meant in percent."),
    ),
    "Mend the code": (
        Turn(
            "total() takes the percentage for a fraction.",
            [
                ToolCall(
                    "edit_file",
                    {"path": "cart.py", "old": "(1 - discount_percent)", "new": "(1 - discount_percent / 100)"},
                )
            ],
        ),
        Turn("Let me see whether that was all.", [ToolCall("run_tests")]),
        Turn(
            "One still fails: receipt() leaves out the last price.",
            [ToolCall("edit_file", {"path": "cart.py", "old": "prices[:-1]", "new": "prices"})],
        ),
        Turn("Once more.", [ToolCall("run_tests")]),
        Turn("All three pass. total() had mistaken a percentage for a fraction, and receipt() dropped the last price."),
    ),
}


class ScriptedModel:
    """Streams the turns of :data:`TASKS`, in order. For one thread.

    ``calls`` and ``usage`` are those of the last answer, once it was read to its end. Tokens are estimated from the
    real length of what was sent and said; the price is in the usual range.
    """

    def __init__(self, *, is_fast: bool = False) -> None:
        """``is_fast``: do not take the time that a model takes."""
        self.plan = list(TASKS)
        self.calls: Sequence[ToolCall] = ()
        self.usage: dict[str, Any] = {}
        self._turns = iter([turn for turns in TASKS.values() for turn in turns])
        self._answers = 0
        self._pace = 0.0 if is_fast else 1.0

    def stream(self, messages: Sequence[Mapping[str, str]]) -> Iterator[str]:
        """The words of the next answer, as they come."""
        turn = next(self._turns)
        time.sleep(_FIRST_WORD_S * self._pace)
        for word in turn.text.split(" "):
            yield f"{word} "
            time.sleep(_WORD_S * self._pace)
        self._answers += 1
        self.calls = turn.calls
        said = [turn.text, *(text for call in turn.calls for text in (call.tool, *call.args.values()))]
        input_tokens = _token_count(message["content"] for message in messages)
        output_tokens = _token_count(said)
        self.usage = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cost_usd": input_tokens * _USD_PER_INPUT_TOKEN + output_tokens * _USD_PER_OUTPUT_TOKEN,
            "finish_reason": "tool_calls" if turn.calls else "stop",
            "request_id": f"req-{self._answers}",
        }


def _token_count(texts: Iterable[str]) -> int:
    return -(-sum(map(len, texts)) // _CHARS_PER_TOKEN)
