"""The ASGI application: the page inside a web application that is there anyway."""

import asyncio
import gzip
import sys
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from sonde.errors import MissingExtraError
from sonde.exporters.prometheus import metrics_app, render_prometheus
from sonde.metrics import Family, Registry

Messages = list[dict[str, Any]]


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.counter("calls_total").inc(2)
    registry.gauge("load").set(1)
    return registry


def call(sources: Any, scope: dict[str, Any], received: Messages | None = None) -> Messages:
    """What the application sends."""
    sent: Messages = []
    waiting = iter(received or [{"type": "http.request", "body": b""}])

    async def receive() -> dict[str, Any]:
        return next(waiting)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    asyncio.run(metrics_app(sources)(scope, receive, send))
    return sent


def http(method: str = "GET", query: bytes = b"", **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": "/", "query_string": query, "headers": pairs}


def test_a_request_gets_the_page(registry: Registry) -> None:
    """As text, with the headers that name it."""
    start, body = call(registry, http(accept="*/*"))
    assert (start["type"], start["status"], body["type"]) == ("http.response.start", 200, "http.response.body")
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert body["body"] == render_prometheus(registry)


def test_the_format_is_as_asked_for(registry: Registry) -> None:
    """OpenMetrics, compressed, of some names: all of it as over HTTP."""
    scope = http(query=b"name[]=load", accept="application/openmetrics-text;version=1.0.0", accept_encoding="gzip")
    start, body = call([registry], scope)
    assert dict(start["headers"])[b"content-encoding"] == b"gzip"
    (family,) = parse_openmetrics(gzip.decompress(body["body"]).decode())
    assert (family.name, family.samples[0].value) == ("load", 1)


def test_head_and_other_methods(registry: Registry) -> None:
    """HEAD has no body; what would change something is refused."""
    start, body = call(registry, http("HEAD"))
    assert (start["status"], body["body"]) == (200, b"")
    start, body = call(registry, http("POST"))
    assert (start["status"], dict(start["headers"])[b"allow"]) == (405, b"GET, HEAD")


def test_lifespan_is_answered(registry: Registry) -> None:
    """Servers that run the application by itself wait for it."""
    events: Messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert [message["type"] for message in call(registry, {"type": "lifespan"}, events)] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


def test_other_protocols_are_refused(registry: Registry) -> None:
    """A websocket has no business here, and the error says so."""
    with pytest.raises(ValueError, match="cannot answer a 'websocket' scope"):
        call(registry, {"type": "websocket"})


def test_the_event_loop_goes_on_meanwhile() -> None:
    """The page is made in another thread: a source that takes its time stops no other task."""

    async def serve() -> str:
        loop = asyncio.get_running_loop()
        others_turn = asyncio.Event()

        class Slow:
            def families(self) -> list[Family]:
                # Only a loop that runs can set the event that this waits for.
                asyncio.run_coroutine_threadsafe(others_turn.wait(), loop).result(20)
                return []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            pass

        request = asyncio.create_task(metrics_app(Slow())(http(), receive, send))
        await asyncio.sleep(0)
        others_turn.set()
        await request
        return "done"

    assert asyncio.run(serve()) == "done"


def test_without_the_extra_making_it_fails(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the program starts, and not at the first scrape."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sonde\[prometheus\]'"):
        metrics_app(registry)
