"""A made-up agent at work: ``working CARRIER TURNS``. Four tasks at once; each turn resends all that was said so far.

The model is a pause, as it is for the agent's process; so are parts of the tools, and the rest of them really computes.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
import zlib
from pathlib import Path

from benchmarks.children.carrier import CARRIERS, Carrier
from benchmarks.children.child import report
from benchmarks.children.process import resident_mb
from benchmarks.measure import quantile

TASKS = 4
TOOLS_A_TURN = 5
CHUNKS = 20
_CHUNK_S = 0.003
_TOOL_S = 0.012
_TOOL_WORK = 15_000  # some 1 ms of arithmetic
_ANSWER_CHARS = 400
_RESULT_CHARS = 1_000
_IDLE_S = 0.5


class Agent:
    """One task of the agent. Its texts are made before the clock starts."""

    def __init__(self, number: int, turns: int, carrier: Carrier, took_ns: list[int]) -> None:
        chance = random.Random(number)
        words = [f"{chance.getrandbits(32):08x}" for _ in range(20_000)]

        def text(length: int) -> str:
            return " ".join(chance.choices(words, k=length // 9))

        self._number = number
        self._carrier = carrier
        self._took_ns = took_ns
        self._turns = [
            (text(_ANSWER_CHARS), [(f"src/{text(20)}.py", text(_RESULT_CHARS)) for _ in range(TOOLS_A_TURN)])
            for _ in range(turns)
        ]

    @property
    def texts(self) -> set[str]:
        """Everything that is said, once."""
        answers = {answer for answer, _ in self._turns}
        return answers | {text for _, tools in self._turns for call in tools for text in call}

    async def work(self) -> None:
        """All turns, with their tools."""
        messages = [{"role": "user", "content": f"Task {self._number}: make the tests pass."}]
        with self._carrier.task(f"Task {self._number}"):
            for answer, tools in self._turns:
                await self._ask(messages, answer)
                messages.append({"role": "assistant", "content": answer})
                for path, result in tools:
                    await self._use(path, result)
                    messages.append({"role": "tool", "content": result})

    async def _ask(self, messages: list[dict[str, str]], answer: str) -> None:
        with self._carrier.model(messages) as call:
            size = len(answer) // CHUNKS
            for start in range(0, size * CHUNKS, size):
                await asyncio.sleep(_CHUNK_S)
                began_ns = time.perf_counter_ns()
                self._carrier.emit("answer.streamed", answer[start : start + size])
                self._took_ns.append(time.perf_counter_ns() - began_ns)
            call.set(answer=answer, input_tokens=len(messages) * 200, output_tokens=100)

    async def _use(self, path: str, result: str) -> None:
        with self._carrier.tool("read_file", path) as call:
            _ = sum(number * number for number in range(_TOOL_WORK))
            await asyncio.sleep(_TOOL_S)
            call.set(result=result)


async def _work(agents: list[Agent]) -> None:
    await asyncio.gather(*(agent.work() for agent in agents))


def main() -> None:
    """Let the agent work, and say what that took."""
    name, turns = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="sonde-bench-") as folder:
        took_ns: list[int] = []
        carrier = CARRIERS[name](Path(folder))
        agents = [Agent(number, turns // TASKS, carrier, took_ns) for number in range(TASKS)]
        began_s, began_cpu_s, began_own_s = time.perf_counter(), time.process_time(), time.thread_time()
        asyncio.run(_work(agents))
        own_s = time.thread_time() - began_own_s
        wall_s = time.perf_counter() - began_s
        time.sleep(_IDLE_S)  # what is left to do in the background is part of the cost
        cpu_s = time.process_time() - began_cpu_s
        closing_s = time.perf_counter()
        carrier.close()
        close_s = time.perf_counter() - closing_s
        unique = "".join(sorted(set[str]().union(*(agent.texts for agent in agents)))).encode()
        stored_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
    took_ns.sort()
    report(
        wall=wall_s,
        cpu=cpu_s,
        own=own_s,
        rss=resident_mb("VmHWM"),
        close=close_s * 1000,
        **{"emit p50": quantile(took_ns, 0.5) / 1000, "emit p99.9": quantile(took_ns, 0.999) / 1000},
        stored=stored_bytes / len(unique),
        **{"stored, compressed": stored_bytes / len(zlib.compress(unique, 6))},
    )


if __name__ == "__main__":
    main()
