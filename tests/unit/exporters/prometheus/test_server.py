"""The server: scraped as Prometheus does it, harmless to its host, and gone when it is closed."""

import gzip
import http.client
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sonde.errors import ConfigError, MissingExtraError
from sonde.exporters.prometheus import IdleMetricsServer, MetricsServer
from sonde.exporters.prometheus.server import CLIENT_TIMEOUT_S, MAX_CONNECTIONS, _Exchange
from sonde.metrics import Family, Registry

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    registry = Registry()
    registry.counter("calls_total", {"tool": "ü"}).inc(2)
    registry.gauge("job:load").set(1)
    with MetricsServer(registry) as server:
        yield server


def get(server: MetricsServer, path: str = "/metrics", **headers: str) -> tuple[int, str, bytes]:
    request = Request(
        server.url.replace("/metrics", path), headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    with urlopen(request, timeout=20) as response:
        return response.status, response.headers["Content-Type"], response.read()


@pytest.mark.parametrize(
    "accept",
    [PROMETHEUS_2, PROMETHEUS_3, "application/openmetrics-text", PROMETHEUS_3.replace("allow-utf-8", "dots"),
     PROMETHEUS_2.replace("1.0.0", "2.0.0")],
)  # fmt: skip
def test_prometheus_gets_openmetrics(server: MetricsServer, accept: str) -> None:
    """With the headers of real servers; and names are never escaped, since ours need no escaping."""
    status, content_type, page = get(server, Accept=accept)
    assert (status, content_type) == (200, OPENMETRICS)
    samples = [sample for family in parse_openmetrics(page.decode()) for sample in family.samples]
    assert [(sample.name, sample.labels, sample.value) for sample in samples] == [
        ("calls_total", {"tool": "ü"}, 2),
        ("job:load", {}, 1),
    ]


@pytest.mark.parametrize(
    "accept",
    ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "text/plain;version=0.0.4", "", "text/plain; version=1.0.0",
     "application/openmetrics-text;version=0.0.1", "application/openmetrics-text;version=x", ";;=,=;", "image/png"],
)  # fmt: skip
def test_all_others_get_text(server: MetricsServer, accept: str) -> None:
    """curl, browsers, old scrapers, and whatever else asks."""
    status, content_type, page = get(server, Accept=accept)
    assert (status, content_type) == (200, TEXT)
    assert {family.name for family in parse_text(page.decode())} == {"calls", "job:load"}


def test_gzip_where_it_is_accepted(server: MetricsServer) -> None:
    """Prometheus asks for it; the page is the same."""
    plain = get(server)[2]
    packed = get(server, Accept_Encoding="gzip")[2]
    assert packed != plain
    assert gzip.decompress(packed) == plain


def test_names_can_be_chosen_by_the_scraper(server: MetricsServer) -> None:
    """``params: {name[]: [...]}`` of a scrape configuration."""
    assert b"calls_total" not in get(server, "/metrics?name[]=job:load")[2]


def test_only_the_page_is_there(server: MetricsServer) -> None:
    """The root gives it, too; elsewhere is nothing, and nothing can be sent."""
    assert get(server, "/")[2] == get(server)[2]
    with pytest.raises(HTTPError, match="404") as missing:
        get(server, "/etc/passwd")
    assert missing.value.read() == b"Not found: the metrics are at /metrics\n"
    missing.value.close()
    with pytest.raises(HTTPError, match="501") as refused:
        urlopen(Request(server.url, data=b"x", method="POST"), timeout=20)
    refused.value.close()


def test_head_gives_the_headers_alone(server: MetricsServer) -> None:
    """As HTTP has it: with the length that the page would have."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    connection.request("HEAD", "/metrics")
    response = connection.getresponse()
    assert response.read() == b""
    assert int(response.headers["Content-Length"]) == len(get(server)[2])
    assert response.headers["Server"] == "sonde "  # and no version of anything
    connection.close()


def test_it_listens_on_loopback_alone(server: MetricsServer) -> None:
    """Unless told otherwise, since whoever reaches it can read it."""
    assert server.host == "127.0.0.1"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", server.url)
    assert repr(server) == f"<sonde.MetricsServer {server.url}, serving>"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 in this Python")
def test_ipv6_has_its_brackets() -> None:
    """An address with colons stands in brackets in the URL."""
    try:
        server = MetricsServer(Registry(), host="::1")
    except ConfigError:
        pytest.skip("this machine has no IPv6 loopback")
    with server:
        assert server.url.startswith("http://[::1]:")
        assert get(server)[0] == 200


def test_a_port_in_use_is_a_clear_error(server: MetricsServer) -> None:
    """It names the port and says what to do."""
    with pytest.raises(
        ConfigError,
        match=f"cannot serve metrics on '127.0.0.1', port {server.port}: Address already in use.*pass port=0",
    ):
        MetricsServer(Registry(), server.port)


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 70_000), ("127.0.0.1", -1), ("192.0.2.1", 0), ("no host", 0), ("", "x")]
)
def test_an_address_that_cannot_be_is_a_clear_error(host: str, port: int) -> None:
    """Whatever is wrong with it, it is a ConfigError in one line."""
    with pytest.raises(ConfigError, match="cannot serve metrics on") as caught:
        MetricsServer(Registry(), port, host=host)
    assert "\n" not in str(caught.value)


def test_closing_gives_the_port_back(server: MetricsServer) -> None:
    """And it can be done twice, from several threads, and leaves no thread."""
    server.close()
    server.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((server.host, server.port), timeout=20)
    with MetricsServer(Registry(), server.port) as second:
        assert second.port == server.port
    assert "sonde-metrics" not in {thread.name for thread in threading.enumerate()}
    assert "closed" in repr(server)


def test_stuck_clients_keep_nobody_out(server: MetricsServer) -> None:
    """Clients that send half a request hold a thread each; past the bound the oldest are cut off, and others served."""
    # A client that waits for less time than one may be silent.
    patience_s = CLIENT_TIMEOUT_S / 2
    stuck = [socket.create_connection((server.host, server.port), patience_s) for _ in range(MAX_CONNECTIONS + 3)]
    for client in stuck:
        client.sendall(b"GET /metrics HT")
    assert get(server)[0] == 200
    assert stuck[0].recv(1) == b""  # cut off
    threads = [thread for thread in threading.enumerate() if thread.name == "sonde-metrics-request"]
    assert len(threads) <= MAX_CONNECTIONS + 4
    server.close()
    for client in stuck:
        client.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_a_silent_client_is_cut_off_after_a_while(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread ends although nobody else comes."""
    monkeypatch.setattr(_Exchange, "timeout", 0.05)
    with socket.create_connection((server.host, server.port), CLIENT_TIMEOUT_S / 2) as client:
        client.sendall(b"GET /metrics HT")
        assert client.recv(1) == b""
    assert server.failures.counts == {}


def test_a_client_that_goes_away_is_no_failure(server: MetricsServer) -> None:
    """A reset in the middle of a request is the client's own business."""
    for _ in range(5):
        client = socket.create_connection((server.host, server.port), timeout=20)
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
        client.close()
    assert get(server)[0] == 200
    assert server.failures.counts == {}


def test_a_source_that_raises_is_a_500_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The scraper sees that the page failed, the log says why, and the next request is answered."""

    class Broken:
        def families(self) -> list[Family]:
            raise RuntimeError("out of order")

    with MetricsServer(Broken()) as server, caplog.at_level(logging.WARNING, logger="sonde"):
        for _ in range(2):
            with pytest.raises(HTTPError, match="500") as failed:
                get(server)
            failed.value.close()
        assert server.failures.counts == {"page": 2}
    assert [record.message for record in caplog.records] == [
        "cannot make the metrics page: RuntimeError('out of order')"
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_serve() -> None:
    """Its copies of the sockets are closed: when the parent closes, the port is free although the child lives on."""
    code = """if True:
        import os, socket, sys
        from urllib.request import urlopen
        from sonde.exporters.prometheus import MetricsServer
        from sonde.metrics import Registry
        server = MetricsServer(Registry())
        waiting = socket.create_connection((server.host, server.port))  # a request under way
        waiting.sendall(b"GET /metrics HT")
        go, gone = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(gone)
            waiting.close()
            server.close()  # does nothing, to the parent neither
            os.read(go, 1)  # lives until the parent ends
            os._exit(0)
        waiting.sendall(b"TP/1.0\\r\\n\\r\\n")
        assert waiting.recv(8) == b"HTTP/1.0"
        assert urlopen(server.url, timeout=20).status == 200
        server.close()
        second = MetricsServer(Registry(), server.port)
        assert urlopen(second.url, timeout=20).status == 200
        second.close()
        os.close(gone)
        assert os.waitpid(child, 0)[1] == 0
        print("served")
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout, run.stderr) == ("served\n", "")


def test_a_program_ends_although_it_serves() -> None:
    """The threads are daemons: a server that nobody closes keeps no program alive."""
    code = "import sonde; s = sonde.MetricsServer(sonde.Registry()); print(s.port > 0)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout, run.stderr, run.returncode) == ("True\n", "", 0)


def test_without_the_extra_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"cannot serve metrics: .*pip install 'sonde\[prometheus\]'"):
        MetricsServer(Registry())


def test_an_idle_server_looks_like_one() -> None:
    """What a disabled recorder gives can be printed and closed like any other."""
    with IdleMetricsServer(9464) as server:
        assert (server.port, server.url) == (9464, "http://127.0.0.1:9464/metrics")
        assert "closed" in repr(server)
