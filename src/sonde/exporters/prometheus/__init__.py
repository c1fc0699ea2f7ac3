"""Prometheus: metrics as a page that Prometheus and others scrape. Needs the extra ``sonde[prometheus]``.

A page comes from anything with ``families()``: a :class:`~sonde.metrics.Registry`, a recorder, or several of them. It
is rendered by ``prometheus_client``, which is loaded on first use and not by importing this package.
"""

from sonde.exporters.prometheus.app import metrics_app
from sonde.exporters.prometheus.response import Response, render_prometheus, respond
from sonde.exporters.prometheus.server import IdleMetricsServer, MetricsServer
from sonde.exporters.prometheus.source import Source

__all__ = ["IdleMetricsServer", "MetricsServer", "Response", "Source", "metrics_app", "render_prometheus", "respond"]
