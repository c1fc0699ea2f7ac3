"""How much the file of an agent that resends its whole context takes, by the texts that were said."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sonde.events import Event
from sonde.store import Record, SQLiteStore

# Four tasks at once, 50 turns each, as `make bench` has them: benchmarks/children/working.py.
TASKS, TURNS, TOOLS, PIECES = 4, 50, 5, 20
MOST_RATIO = 1.5
START_NS = 1_770_802_200 * 10**9


class Agent:
    """What an agent says and hears; the same each time."""

    def __init__(self) -> None:
        self._chance = random.Random(1)
        self.texts: set[str] = set()
        self._now_ns = START_NS

    def turns(self) -> Iterator[list[Event]]:
        """The events of one turn after the other, of all tasks by turns; the first holds the session's beginning."""
        words = [[f"{self._chance.getrandbits(32):08x}" for _ in range(20_000)] for _ in range(TASKS)]
        talks = [[{"role": "user", "content": f"Task {task}: make the tests pass."}] for task in range(TASKS)]
        traces = [f"{self._chance.getrandbits(128):032x}" for _ in range(TASKS)]
        for _ in range(TURNS):
            for task in range(TASKS):
                yield self._turn(words[task], talks[task], traces[task], f"task-{task}")

    def _turn(self, words: list[str], messages: list[dict[str, str]], trace: str, task: str) -> list[Event]:
        def text(length: int) -> str:
            said = " ".join(self._chance.choices(words, k=length // 9))
            self.texts.add(said)
            return said

        def event(name: str, span: str, data: dict[str, object]) -> Event:
            self._now_ns += self._chance.randrange(3_000_000)
            return Event(name, self._now_ns, "bench", task_id=task, data=data, trace_id=trace, span_id=span)

        model: dict[str, object] = {"model": "some-model", "provider": "bench"}
        answer, span = text(400), f"{self._chance.getrandbits(64):016x}"
        events = [event("model.started", span, {**model, "messages": list(messages)})]
        size = len(answer) // PIECES
        events += [
            event("answer.streamed", span, {"text": answer[start : start + size]})
            for start in range(0, size * PIECES, size)
        ]
        usage: dict[str, object] = {"input_tokens": len(messages) * 200, "output_tokens": 100}
        lasted: dict[str, object] = {"duration_s": self._chance.random()}
        events.append(event("model.completed", span, {**model, **lasted, "answer": answer, **usage}))
        messages.append({"role": "assistant", "content": answer})
        for _ in range(TOOLS):
            path, result = f"src/{text(20)}.py", text(1_000)
            span = f"{self._chance.getrandbits(64):016x}"
            self.texts.add(path)
            events.append(event("tool.started", span, {"tool": "read_file", "args": {"path": path}}))
            lasted = {"duration_s": self._chance.random()}
            events.append(event("tool.completed", span, {"tool": "read_file", **lasted, "result": result}))
            messages.append({"role": "tool", "content": result})
        return events


@pytest.mark.parametrize("turns_at_once", [1, 8])
def test_a_resent_context_takes_its_texts_once(tmp_path: Path, turns_at_once: int) -> None:
    """Tended to the end, the file takes at most 1.5 times what zlib makes of all that was said, each text once."""
    agent, seq, waiting = Agent(), 0, list[Record]()
    path = tmp_path / "runs.db"
    with SQLiteStore(path) as store:
        for turn, events in enumerate(agent.turns(), 1):
            for event in events:
                seq += 1
                waiting.append(Record("bench", "w-1", seq, event))
            if turn % turns_at_once == 0:
                store.append_batch(waiting)
                waiting = []
        assert not waiting
        while store.tend(is_ending=True):
            pass
        assert list(store.verify()) == []
    assert [found.name for found in tmp_path.iterdir()] == ["runs.db"]
    once_bytes = len(zlib.compress("".join(sorted(agent.texts)).encode(), 6))
    ratio = path.stat().st_size / once_bytes
    assert ratio <= MOST_RATIO, f"{ratio:.2f} times the compressed text"
