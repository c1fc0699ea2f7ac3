"""The agent that is soaked, in a process of its own: ``load DB SECONDS RATE MAX_BYTES SESSION_S SAMPLE_S``.

Four agents at a time, each in a session that is new after a while: many small events, tools with their results, models
that are sent all that was said so far. Beside them a live subscriber, metrics, and memory events. A line of JSON on
stdout for each sample, and one at the end.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from dataclasses import dataclass

import sonde
from sonde.metrics import get_rss

AGENTS = 4
_TICK_S = 0.02
_TOOLS_A_SECOND = 50  # of each agent
_TURNS_A_SECOND = 1.0
_TURNS_KEPT = 30  # then the agent begins a new conversation
_ANSWER_CHARS = 600
_RESULT_CHARS = 3_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    db: str
    seconds: float
    rate: int
    max_bytes: int
    session_s: float
    sample_s: float


class Agent:
    """One agent's thread: it keeps its share of the rate, on absolute deadlines."""

    def __init__(self, number: int, plan: Plan, rec: sonde.Recorder) -> None:
        self._number = number
        self._plan = plan
        self._rec = rec
        self._chance = random.Random(number)
        self._words = [f"{self._chance.getrandbits(32):08x}" for _ in range(20_000)]
        self.emitted = 0
        self.sessions = 0
        self.worst_s = 0.0
        self.thread = threading.Thread(target=self._run, name=f"agent-{number}")

    def _text(self, length: int) -> str:
        return " ".join(self._chance.choices(self._words, k=length // 9))

    def _run(self) -> None:
        began_s = time.monotonic()
        end_s = began_s + self._plan.seconds
        while time.monotonic() < end_s:
            # The first sessions are of different length, so that not all agents change at once.
            length_s = self._plan.session_s * (1 if self.sessions else (self._number + 1) / AGENTS)
            self.sessions += 1
            name = f"agent-{self._number}-{self.sessions:05}-{os.urandom(3).hex()}"
            with self._rec.session(session_id=name, tags=["soak"]):
                self._work(min(end_s, time.monotonic() + length_s), began_s)

    def _work(self, until_s: float, began_s: float) -> None:
        share = self._plan.rate / AGENTS
        tool_every = max(1, round(share / _TOOLS_A_SECOND))
        turn_every = max(1, round(share / _TURNS_A_SECOND))
        messages: list[dict[str, str]] = []
        next_tool = next_turn = 0
        made = 0
        with self._rec.task(f"task of agent {self._number}"):
            while (now_s := time.monotonic()) < until_s:
                due = int((now_s - began_s) * share) - self.emitted
                # Who was kept from working catches up a second's worth, not an hour's.
                for _ in range(min(due, int(share))):
                    made += 1
                    if made >= next_turn:
                        next_turn = made + turn_every
                        self._turn(messages)
                    elif made >= next_tool:
                        next_tool = made + tool_every
                        self._tool()
                    else:
                        self._small()
                time.sleep(_TICK_S)

    def _small(self) -> None:
        before_s = time.perf_counter()
        number = self.emitted
        self._rec.emit("step.done", n=number, file=f"src/part_{number % 97}.py", ms=number % 13, ok=True)
        self.worst_s = max(self.worst_s, time.perf_counter() - before_s)
        self.emitted += 1

    def _tool(self) -> None:
        name = ("read_file", "search", "edit", "run_tests")[self.emitted % 4]
        with self._rec.tool(name, path=f"src/part_{self.emitted % 97}.py") as op:
            op.set(result=self._text(_RESULT_CHARS if self.emitted % 10 == 0 else 200))
        sonde.counter("soak_tools_total", {"tool": name}).inc()
        self.emitted += 2

    def _turn(self, messages: list[dict[str, str]]) -> None:
        if len(messages) >= 2 * _TURNS_KEPT:
            messages.clear()
        messages.append({"role": "user", "content": self._text(_RESULT_CHARS)})
        answer = self._text(_ANSWER_CHARS)
        with self._rec.model("model-5", messages=list(messages)) as op:
            op.set(answer=answer, input_tokens=len(messages) * 700, output_tokens=150)
        messages.append({"role": "assistant", "content": answer})
        sonde.histogram("soak_turn_chars").observe(sum(len(message["content"]) for message in messages))
        self.emitted += 2


class Watcher:
    """A live subscriber, as a user interface has one."""

    def __init__(self, rec: sonde.Recorder) -> None:
        self._subscription = rec.hub.subscribe()
        self.taken = 0
        self.thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def _run(self) -> None:
        for batch in self._subscription.batches():
            self.taken += len(batch)


def sample(rec: sonde.Recorder, plan: Plan, began_s: float) -> dict[str, float]:
    """What is so now."""
    stats = rec.stats()
    removed_events, removed_sessions = rec.store.removed()  # type: ignore[attr-defined]  # it is a file
    return {
        "s": round(time.monotonic() - began_s, 1),
        "rss_bytes": get_rss() or 0,
        "threads": threading.active_count(),
        "fds": len(os.listdir("/proc/self/fd")),
        "db_bytes": _size(plan.db),
        "wal_bytes": _size(f"{plan.db}-wal"),
        "published": stats.hub.published,
        "committed": stats.committed,
        "pending": stats.pending,
        "dropped": sum(stats.dropped.values()) + sum(stats.hub.dropped.values()),
        "failures": sum(stats.failures.values()),
        "removed_events": removed_events,
        "removed_sessions": removed_sessions,
        "cpu_s": round(time.process_time(), 2),
    }


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def main() -> None:
    """Work for as long as is asked."""
    db, *numbers = sys.argv[1:]
    seconds, rate, max_bytes, session_s, sample_s = map(float, numbers)
    plan = Plan(db, seconds, int(rate), int(max_bytes), session_s, sample_s)
    rec = sonde.record(
        db,
        session_id="soak",
        metrics_interval_s=10,
        memory_interval_s=10,
        retention=sonde.Retention(max_bytes=plan.max_bytes),
    )
    watcher = Watcher(rec)
    watcher.thread.start()
    agents = [Agent(number, plan, rec) for number in range(AGENTS)]
    began_s = time.monotonic()
    for agent in agents:
        agent.thread.start()
    due_s = began_s
    while any(agent.thread.is_alive() for agent in agents):
        due_s += plan.sample_s
        while time.monotonic() < due_s and any(agent.thread.is_alive() for agent in agents):
            time.sleep(min(0.2, max(0.0, due_s - time.monotonic())))
        print(json.dumps(sample(rec, plan, began_s)), flush=True)
    for agent in agents:
        agent.thread.join()
    failures = dict(rec.stats().failures)
    report = rec.close()
    print(
        json.dumps(
            {
                "complete": report.complete,
                "committed": report.committed,
                "dropped": report.dropped,
                "failures": failures,
                "sessions": sum(agent.sessions for agent in agents),
                "emitted": sum(agent.emitted for agent in agents),
                "live_events": watcher.taken,
                "worst_emit_ms": round(1e3 * max(agent.worst_s for agent in agents), 1),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
