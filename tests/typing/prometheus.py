"""What type checkers say about the metrics page in user code. Checked by mypy, never run."""

from typing import assert_type

import sonde
from sonde.exporters.prometheus import Source

with sonde.record("runs.db") as rec, rec.serve_metrics(9464, host="::1") as server:
    assert_type(server, sonde.MetricsServer)
    assert_type(server.port, int)
    assert_type(server.url, str)
    sources: list[Source] = [rec, sonde.Registry(), sonde.DEFAULT_REGISTRY]
    assert_type(sonde.render_prometheus(rec), bytes)
    assert_type(sonde.render_prometheus(sources, openmetrics=True), bytes)
    sonde.metrics_app(rec)
    sonde.metrics_app(sources)
    sonde.MetricsServer(sources, port=9464)
