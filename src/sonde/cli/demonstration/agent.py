"""A small coding agent, recorded. All there is to know about recording one is in here: copy it.

Whatever happens inside an operation belongs to it: the tools to the task, the shell command to the tool.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sonde
from sonde.cli.demonstration.model import MODEL, PROVIDER, ScriptedModel, ToolCall

GOAL = "Make the tests of this repository pass."


def work(rec: sonde.Recorder, model: ScriptedModel, folder: Path, *, environment: Mapping[str, str]) -> None:
    """Ask the model, do what it says, and tell it what came of it, until it wants nothing more."""

    @rec.tool
    def read_file(path: str) -> str:
        return (folder / path).read_text(encoding="utf-8")

    @rec.tool
    def edit_file(path: str, old: str, new: str) -> str:
        text = (folder / path).read_text(encoding="utf-8")
        (folder / path).write_text(text.replace(old, new, 1), encoding="utf-8")
        return f"{text.count(old)} place in {path}"

    @rec.tool
    def run_tests() -> str:
        command = [sys.executable, "-B", "-m", "unittest"]
        with rec.shell(command) as shell:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            shell.set(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)
        return f"exit code {done.returncode}\n{done.stdout}{done.stderr}"

    tools: dict[str, Callable[..., str]] = {"read_file": read_file, "edit_file": edit_file, "run_tests": run_tests}

    def use(call: ToolCall) -> str:
        try:
            return tools[call.tool](**call.args)
        except OSError as error:  # recorded already, as a failed tool; the model has to know it too
            return f"{call.tool} failed: {error}"

    def ask(messages: list[dict[str, str]]) -> str:
        with rec.model(MODEL, provider=PROVIDER, messages=messages, scripted=True) as call:
            words = []
            for word in model.stream(messages):
                call.first_token()
                words.append(word)
            answer = "".join(words).strip()
            call.set(answer=answer, **model.usage)
        return answer

    messages = [{"role": "user", "content": GOAL}]
    with rec.plan(GOAL), ThreadPoolExecutor() as pool:
        for title in model.plan:
            with rec.task(title):
                while True:
                    messages.append({"role": "assistant", "content": ask(messages)})
                    if not model.calls:
                        break
                    # The tools of one answer run in parallel. A plain thread does not know in whose name it works:
                    # sonde.propagate tells it (asyncio tasks know).
                    results = pool.map(sonde.propagate(use), model.calls)
                    messages += [{"role": "tool", "content": result} for result in results]
