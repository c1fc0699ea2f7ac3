"""metrics_app: the page as an ASGI application, to be mounted in a web application that is there anyway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from sonde.exporters.prometheus.response import require_extra, respond
from sonde.exporters.prometheus.source import Source, sources_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]


def metrics_app(sources: Source | Iterable[Source]) -> ASGIApp:
    """An ASGI application that answers each request with the metrics of a recorder, a registry, or several of them.

    For Starlette and FastAPI: ``app.mount("/metrics", metrics_app(rec))``. It needs neither of them, only asyncio. The
    page is made in a thread, so that the event loop goes on meanwhile. GET and HEAD, whatever the path.

    Raises:
        MissingExtraError: ``prometheus_client`` is not installed.

    >>> import asyncio
    >>> from sonde.metrics import Registry
    >>> registry = Registry()
    >>> registry.gauge("queue_length").set(3)
    >>> sent = []
    >>> async def receive(): return {"type": "http.request"}
    >>> async def send(message): sent.append(message)
    >>> asyncio.run(metrics_app(registry)({"type": "http", "method": "GET", "headers": []}, receive, send))
    >>> sent[0]["status"], sent[1]["body"].splitlines()[-1]
    (200, b'queue_length 3.0')
    """
    require_extra("make a metrics app")
    shown = sources_of(sources)

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await _answer(shown, scope, send)
        else:
            raise ValueError(f"metrics app cannot answer a {scope['type']!r} scope: expected 'http'; mount it for HTTP")

    return app


async def _answer(sources: tuple[Source, ...], scope: Message, send: Send) -> None:
    method = scope.get("method", "GET")
    if method not in ("GET", "HEAD"):
        await _send(send, 405, [("Allow", "GET, HEAD"), ("Content-Length", "0")], b"")
        return
    import asyncio  # whoever calls an ASGI application has it; importing sonde must not

    response = await asyncio.to_thread(
        respond,
        sources,
        accept=_header(scope, b"accept"),
        accept_encoding=_header(scope, b"accept-encoding"),
        names=parse_qs(scope.get("query_string", b"").decode("latin-1")).get("name[]", []),
    )
    await _send(send, 200, response.headers, b"" if method == "HEAD" else response.body)


def _header(scope: Message, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == name)


async def _send(send: Send, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    """Nothing to open and nothing to close; servers that run the application by itself want an answer, though."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
