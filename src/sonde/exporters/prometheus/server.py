"""MetricsServer: the page over HTTP, from a thread of the program that it tells about."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import weakref
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from sonde.errors import ConfigError
from sonde.exporters.prometheus.response import require_extra, respond
from sonde.exporters.prometheus.source import Source, sources_of
from sonde.failures import FailureLog

PATH = "/metrics"

CLIENT_TIMEOUT_S = 10.0
"""How long a client may take to send the next piece of its request, or to take its page."""

MAX_CONNECTIONS = 16
"""Past these, the oldest is cut off: so clients that are stuck never keep another one out."""

_PAUSE_S = 0.5
_JOIN_S = 5.0


class MetricsServer:
    """Serves a metrics page at ``url``, from a daemon thread and one more for each request, until it is closed.

    ``GET /metrics`` gives what :func:`~sonde.exporters.prometheus.respond` does. A slow client blocks nobody; one that
    is stuck is cut off, after 10 s or when 16 others have come. There is no encryption and no password: it listens on
    loopback unless told otherwise, and what it shows (names of tools, models, labels of your own) is for everybody who
    can reach it. A forked child does not serve: its copies of the sockets are closed.

    Thread-safe; making it blocks on a look-up of ``host`` at most. Failures in the background are counted in
    ``failures`` and logged once a minute.

    Raises:
        ConfigError: it cannot listen there; the message says why.
        MissingExtraError: ``prometheus_client`` is not installed.

    Attributes:
        host: the address that it listens on.
        port: the port that it listens on; if 0 was asked for, the free one that it was given.
        url: where to scrape.

    >>> from urllib.request import urlopen
    >>> from sonde.metrics import Registry
    >>> registry = Registry()
    >>> registry.gauge("queue_length").set(3)
    >>> with MetricsServer(registry) as server, urlopen(server.url) as page:
    ...     page.read().splitlines()[-1]
    b'queue_length 3.0'
    """

    def __init__(self, sources: Source | Iterable[Source], port: int = 0, *, host: str = "127.0.0.1") -> None:
        """Listen on ``host`` and ``port``, and serve a recorder, a registry, or several of them."""
        require_extra("serve metrics")
        self._sources = sources_of(sources)
        self._listener = _listen(host, port)
        address = self._listener.getsockname()
        self.host: str = address[0]
        self.port: int = address[1]
        self.url = _url(self.host, self.port)
        self.failures = FailureLog()
        """What went wrong in the background."""
        self._connections: dict[socket.socket, None] = {}  # oldest first; single operations only, from any thread
        self._waker, self._alarm = socket.socketpair()
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name="sonde-metrics", daemon=True)
        _SERVERS.add(self)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and give the port back; requests under way are cut off. Idempotent; takes milliseconds."""
        if self._is_closed:
            return
        self._is_closed = True
        self._waker.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)
        for connection in list(self._connections):
            _cut_off(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<sonde.MetricsServer {self.url}, {'closed' if self._is_closed else 'serving'}>"

    # -- the server's thread -------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        # No socketserver: it looks for its end twice a second, and lets any number of connections and threads pile up.
        with self._listener, self._alarm, selectors.DefaultSelector() as both, selectors.DefaultSelector() as alarm:
            both.register(self._listener, selectors.EVENT_READ)
            both.register(self._alarm, selectors.EVENT_READ)
            alarm.register(self._alarm, selectors.EVENT_READ)
            while True:
                both.select()
                if self._is_closed:
                    return
                try:
                    self._accept()
                except (OSError, RuntimeError) as error:  # too many open files or threads, which may pass
                    self.failures.add("accept", f"metrics server cannot take a connection: {error}", error=error)
                    alarm.select(_PAUSE_S)  # the connection still waits, so that without a pause this would spin

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # it has gone again
            return
        present = list(self._connections)
        for oldest in present[: max(0, len(present) - MAX_CONNECTIONS + 1)]:
            self._connections.pop(oldest, None)
            _cut_off(oldest)
        self._connections[connection] = None
        try:
            threading.Thread(
                target=self._attend, args=(connection, address), name="sonde-metrics-request", daemon=True
            ).start()
        except RuntimeError:
            self._forget(connection)
            raise

    # -- a thread for each request -------------------------------------------------------------------------------------

    def _attend(self, connection: socket.socket, address: Any) -> None:
        try:
            _Exchange(connection, address, self)  # type: ignore[arg-type]  # it only hands its server on
        except OSError:  # cut off, by the client or by us
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours; the host goes on
            self.failures.add("request", f"metrics server cannot answer a request: {error!r}", error=error)
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        self._connections.pop(connection, None)
        connection.close()

    def _after_fork_in_child(self) -> None:
        # Closing only gives up the child's copies. A shutdown would end the parent's connections, and a listener kept
        # open would keep the port after the parent's death.
        self._is_closed = True
        for held in (self._listener, self._waker, self._alarm, *self._connections):
            held.close()
        self._connections.clear()


class IdleMetricsServer(MetricsServer):
    """Opens nothing and serves nothing: what a disabled recorder gives. Needs no ``prometheus_client``."""

    def __init__(self, port: int = 0, *, host: str = "127.0.0.1") -> None:
        self.host, self.port, self.url = host, port, _url(host, port)
        self.failures = FailureLog()
        self._is_closed = True


class _Exchange(BaseHTTPRequestHandler):
    """One request and its response. HTTP/1.0: a connection that stays open for the next one would hold a thread."""

    timeout = CLIENT_TIMEOUT_S
    server_version = "sonde"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with its headers."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        server: Any = self.server
        target = urlsplit(self.path)
        if target.path not in ("/", PATH):
            self._send(404, [("Content-Type", "text/plain")], b"Not found: the metrics are at /metrics\n" * with_body)
            return
        try:
            response = respond(
                server._sources,
                accept=",".join(self.headers.get_all("Accept", [])),
                accept_encoding=",".join(self.headers.get_all("Accept-Encoding", [])),
                names=parse_qs(target.query).get("name[]", []),
            )
        except Exception as error:  # noqa: BLE001 - a source of the user's own; the scraper is told, and the host goes on
            server.failures.add("page", f"cannot make the metrics page: {error!r}", error=error)
            self._send(500, [("Content-Type", "text/plain")], b"Cannot make the page: see the log\n" * with_body)
            return
        self._send(200, response.headers, response.body if with_body else b"")

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a scrape each few seconds is no news."""


def _listen(host: str, port: int) -> socket.socket:
    try:
        if not 0 <= port <= 65_535:
            raise ValueError("no port number")
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server((str(address[0]), port), family=family)
    except (OSError, TypeError, ValueError) as error:  # a host of impossible characters is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot serve metrics on {host!r}, port {port!r}: {reason}; expected an address of this machine and a "
            "free port; end the program that has it, or pass port=0 to be given a free one"
        ) from error
    listener.setblocking(False)
    return listener


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"


def _cut_off(connection: socket.socket | None) -> None:
    """End a connection under the hands of its thread, which then closes it."""
    if connection is None:
        return
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended already
        return


_SERVERS: weakref.WeakSet[MetricsServer] = weakref.WeakSet()


def _close_in_child() -> None:
    for server in list(_SERVERS):
        server._after_fork_in_child()  # this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
