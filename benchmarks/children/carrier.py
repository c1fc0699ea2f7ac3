"""Carriers: one way for a made-up agent to speak to nobody, to sonde, to OpenTelemetry and to Logfire."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol


class Handle(Protocol):
    """An operation that is open."""

    def set(self, **data: Any) -> object:
        """Add what came of it."""


class Carrier(Protocol):
    """What the agent calls."""

    def task(self, title: str) -> AbstractContextManager[object]:
        """One of its tasks."""

    def model(self, messages: list[dict[str, str]]) -> AbstractContextManager[Handle]:
        """One turn of the model, with all that is sent to it."""

    def tool(self, name: str, path: str) -> AbstractContextManager[Handle]:
        """One call of a tool."""

    def emit(self, kind: str, text: str) -> object:
        """Something that happens within."""

    def close(self) -> object:
        """The end."""


class _Deaf:
    def set(self, **data: Any) -> None:
        """Hear nothing."""


class Nobody:
    """The agent alone."""

    def __init__(self, _folder: Path) -> None:
        self._handle = nullcontext(_Deaf())

    def task(self, title: str) -> AbstractContextManager[object]:  # noqa: D102  # as in Carrier, here and below
        return self._handle

    def model(self, messages: list[dict[str, str]]) -> AbstractContextManager[Handle]:  # noqa: D102
        return self._handle

    def tool(self, name: str, path: str) -> AbstractContextManager[Handle]:  # noqa: D102
        return self._handle

    def emit(self, kind: str, text: str) -> None:  # noqa: D102
        return None

    def close(self) -> None:  # noqa: D102
        return None


class Sonde:
    """``record()`` as it comes, to disk, with all content; without the extra ``prices``."""

    def __init__(self, folder: Path) -> None:
        import sonde  # each of them only where it is measured: imports cost memory

        self._rec = sonde.record(folder / "runs.db", session_id="bench", prices=sonde.NoPrices())
        self.task = self._rec.task
        self.close = self._rec.close

    def model(self, messages: list[dict[str, str]]) -> AbstractContextManager[Handle]:  # noqa: D102
        return self._rec.model("some-model", provider="bench", messages=messages)

    def tool(self, name: str, path: str) -> AbstractContextManager[Handle]:  # noqa: D102
        return self._rec.tool(name, path=path)

    def emit(self, kind: str, text: str) -> None:  # noqa: D102
        self._rec.emit(kind, text=text)


class _Span:
    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, **data: Any) -> None:
        """Attributes of the span."""
        self._span.set_attributes(data)


class OpenTelemetry:
    """Spans, events on spans, batch processor, exporter that discards; messages as JSON, as instrumentations do it."""

    def __init__(self, _folder: Path) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace import get_current_span

        from benchmarks.peers.opentelemetry import batch_span_processor

        provider = TracerProvider()
        provider.add_span_processor(batch_span_processor())
        self._start = provider.get_tracer("bench").start_as_current_span
        self._current = get_current_span
        self.close = provider.shutdown

    @contextmanager
    def _span(self, name: str, attributes: Mapping[str, str]) -> Iterator[Handle]:
        with self._start(name, attributes=attributes) as span:
            yield _Span(span)

    def task(self, title: str) -> AbstractContextManager[object]:  # noqa: D102
        return self._span("task", {"title": title})

    def model(self, messages: list[dict[str, str]]) -> AbstractContextManager[Handle]:  # noqa: D102
        return self._span("chat some-model", {"gen_ai.input.messages": json.dumps(messages)})

    def tool(self, name: str, path: str) -> AbstractContextManager[Handle]:  # noqa: D102
        return self._span(f"execute_tool {name}", {"path": path})

    def emit(self, kind: str, text: str) -> None:  # noqa: D102
        self._current().add_event(kind, {"text": text})


class Logfire:
    """Spans and records, sending and console off, batch processor, exporter that discards, scrubbing as it comes."""

    def __init__(self, _folder: Path) -> None:
        from benchmarks.peers.logfire import configured

        self._logfire = configured()
        self.close = self._logfire.shutdown

    @contextmanager
    def _span(self, name: str, **attributes: Any) -> Iterator[Handle]:
        with self._logfire.span(name, **attributes) as span:
            yield _Span(span)

    def task(self, title: str) -> AbstractContextManager[object]:  # noqa: D102
        return self._span("task", title=title)

    def model(self, messages: list[dict[str, str]]) -> AbstractContextManager[Handle]:  # noqa: D102
        return self._span("chat", messages=messages)

    def tool(self, name: str, path: str) -> AbstractContextManager[Handle]:  # noqa: D102
        return self._span("execute_tool", tool=name, path=path)

    def emit(self, kind: str, text: str) -> None:  # noqa: D102
        self._logfire.info(kind, text=text)


CARRIERS: Mapping[str, type[Nobody] | type[Sonde] | type[OpenTelemetry] | type[Logfire]] = {
    "nobody": Nobody,
    "sonde": Sonde,
    "opentelemetry": OpenTelemetry,
    "logfire": Logfire,
}
