"""Response: a page in the format that a scraper asks for."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterable
from typing import NamedTuple

from sonde.errors import MissingExtraError
from sonde.exporters.prometheus.source import Source, sources_of

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_COMPRESS_LEVEL = 1  # the rest takes several times as long for some 10 % less, beside an agent


class Response(NamedTuple):
    """What a scrape gets.

    Attributes:
        body: the page.
        headers: names and values, ``Content-Length`` included.
    """

    body: bytes
    headers: list[tuple[str, str]]


def require_extra(operation: str) -> None:
    """Raise :class:`~sonde.errors.MissingExtraError` unless ``prometheus_client`` is there."""
    try:
        import prometheus_client  # noqa: F401 - whether it can be imported is all that is asked
    except ImportError as error:
        raise MissingExtraError(f"cannot {operation}: {error}; pip install 'sonde[prometheus]'") from error


def render_prometheus(
    sources: Source | Iterable[Source], *, openmetrics: bool = False, names: Collection[str] = ()
) -> bytes:
    """Metrics as a page of Prometheus: its text format 0.0.4, or OpenMetrics 1.0. UTF-8.

    Counters end in ``_total`` in both formats, also those named without it. A histogram's figures are all of one
    moment. Of families that claim the same name, the first is shown, and the others are left out and logged once. What
    is past the largest float is shown as that. Some 10 µs a line; does not block otherwise.

    Args:
        sources: a registry, a recorder, or several of them in order of precedence.
        openmetrics: OpenMetrics, which has units, instead of the text format.
        names: only samples of these names, as with Prometheus' ``name[]``; all if empty.

    Raises:
        MissingExtraError: ``prometheus_client`` is not installed.

    >>> from sonde.metrics import Registry
    >>> registry = Registry()
    >>> registry.counter("tool_calls_total", {"tool_name": "read_file"}).inc()
    >>> print(render_prometheus(registry).decode(), end="")
    # HELP tool_calls_total Calls of tools.
    # TYPE tool_calls_total counter
    tool_calls_total{tool_name="read_file"} 1.0
    """
    require_extra("render metrics for Prometheus")
    from prometheus_client import exposition
    from prometheus_client.openmetrics import exposition as openmetrics_exposition

    from sonde.exporters.prometheus.page import Page

    page = Page(sources_of(sources), names=names)
    # Our names need no escaping under any scheme, and "underscores" would turn the colons of samples into "_", and of
    # their family not.
    escaping = openmetrics_exposition.ALLOWUTF8
    encode = openmetrics_exposition.generate_latest if openmetrics else exposition.generate_latest
    return encode(page, escaping=escaping)


def respond(
    sources: Source | Iterable[Source], *, accept: str = "", accept_encoding: str = "", names: Collection[str] = ()
) -> Response:
    """The page for a scraper, by the values of its headers ``Accept`` and ``Accept-Encoding``.

    OpenMetrics 1.0 where the scraper takes that version, which Prometheus does; otherwise the text format 0.0.4, as for
    browsers and curl. Compressed with gzip where that is accepted. Errors as of :func:`render_prometheus`.
    """
    require_extra("render metrics for Prometheus")
    from prometheus_client.exposition import choose_encoder, gzip_accepted

    try:
        # For its choice only: the encoder that it gives has the escaping that we cannot use, and the content type
        # promises whatever version was asked for.
        is_openmetrics = choose_encoder(accept)[1].startswith("application/openmetrics-text")
    except TypeError:  # a version that is no number
        is_openmetrics = False
    body = render_prometheus(sources, openmetrics=is_openmetrics, names=names)
    headers = [("Content-Type", OPENMETRICS if is_openmetrics else TEXT), ("Vary", "Accept, Accept-Encoding")]
    if gzip_accepted(accept_encoding):
        body = gzip.compress(body, _COMPRESS_LEVEL)
        headers.append(("Content-Encoding", "gzip"))
    headers.append(("Content-Length", str(len(body))))
    return Response(body, headers)
