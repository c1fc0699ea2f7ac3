"""A recorder's metrics page: how sonde does, what it derives, and what the program keeps by hand."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

import sonde
from sonde.errors import ConfigError
from sonde.metrics import DEFAULT_REGISTRY
from sonde.recorder.health import Health

Page = dict[str, dict[str, float]]


def page_of(rec: sonde.Recorder) -> Page:
    """By the name of a sample and the values of its labels."""
    page: Page = {}
    for family in parse(sonde.render_prometheus(rec, openmetrics=True).decode()):
        for sample in family.samples:
            page.setdefault(sample.name, {})[",".join(sample.labels.values())] = sample.value
    return page


def test_the_ledgers_are_on_the_page(tmp_path: Path) -> None:
    """Published, delivered, dropped, committed and pending are those of ``stats()``, and the store tells its size."""
    with sonde.record(tmp_path / "runs.db", session_id="s") as rec:
        for _ in range(10):
            rec.emit("note.taken", text="hello")
        rec.flush()
        page, stats = page_of(rec), rec.stats()
        assert page["sonde_events_published_total"] == {"": 11} == {"": stats.hub.published}
        assert page["sonde_events_delivered_total"] == page["sonde_events_committed_total"] == {"": 11}
        assert page["sonde_pending_events"] == page["sonde_pending_bytes"] == page["sonde_queued_events"] == {"": 0}
        assert page["sonde_store_up"] == {"": 1}
        assert page["sonde_store_events"] == {"": 11}
        assert page["sonde_store_size_bytes"]["db"] == os.path.getsize(tmp_path / "runs.db")
        assert page["sonde_store_size_bytes"]["wal"] > 0
        (commits,) = page["sonde_commit_duration_seconds_count"].values()
        assert 1 <= commits <= 11
        assert 0 < page["sonde_commit_duration_seconds_sum"][""] < 60
        assert list(page["sonde_build_info"].values()) == [1]


def test_drops_are_told_by_reason_from_the_start() -> None:
    """Each reason has its 0 before the first drop, as rates need it; a live subscription has its own row while open."""
    with sonde.record(":memory:", hub_config=sonde.HubConfig(queue_size=1, subscriber_queue_size=1)) as rec:
        before = page_of(rec)
        for name in ("sonde_events_dropped_total", "sonde_events_lost_total", "sonde_live_events_missed_total"):
            assert set(before[name].values()) == {0}
        with rec.hub.subscribe() as slow:
            for _ in range(50):
                rec.emit("note.taken")
            rec.hub.flush()
            page = page_of(rec)
            assert page["sonde_subscription_events_missed_total"] == {slow.id: slow.dropped}
            assert sum(page["sonde_live_events_missed_total"].values()) == slow.dropped >= 48
            assert page["sonde_subscription_queued_events"] == {slow.id: 1}
            assert page["sonde_subscriptions"] == {"": 2}
        after = page_of(rec)
        assert "sonde_subscription_queued_events" not in after
        assert not any(slow.id in key for key in rec._health._highest._numbers)  # nor is it remembered
        assert after["sonde_live_events_missed_total"] == page["sonde_live_events_missed_total"]


def test_derived_metrics_win_over_those_kept_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    """A call that is recorded and counted by hand is on the page once; hand-made metrics of other names are there."""
    sonde.record_tool_call("by_hand")
    sonde.gauge("test_metrics_page_ratio").set(0.5)
    with caplog.at_level(logging.WARNING, logger="sonde"), sonde.record(":memory:") as rec:
        assert "by_hand" in page_of(rec)["tool_calls_total"]  # nothing is derived yet
        with rec.tool("recorded"):
            pass
        rec.flush()
        page = page_of(rec)
    assert page["tool_calls_total"] == {"recorded": 1}
    assert page["test_metrics_page_ratio"] == {"": 0.5}
    assert DEFAULT_REGISTRY.get_counter("tool_calls_total", {"tool_name": "by_hand"}) is not None


def test_a_store_that_is_away_is_said_so() -> None:
    """The page is there without it; failures are counted by kind."""
    with sonde.SQLiteStore(":memory:") as store:
        rec = sonde.record(store=store)
        rec.flush()
        store.close()
        rec.emit("note.taken")
        assert not rec.flush()
        page = page_of(rec)
        assert page["sonde_store_up"] == {"": 0}
        assert "sonde_store_size_bytes" not in page
        assert page["sonde_events_lost_total"]["store_closed"] >= 1
        rec.close()


def test_counters_never_go_down_while_events_flow() -> None:
    """Prometheus takes any step down for a restart, and would count everything again."""
    with sonde.record(":memory:") as rec:
        done = threading.Event()

        def emit() -> None:
            while not done.is_set():
                rec.emit("note.taken")

        def churn() -> None:
            while not done.is_set():
                rec.hub.subscribe(queue_size=1).close()

        threads = [threading.Thread(target=emit), threading.Thread(target=churn)]
        for thread in threads:
            thread.start()
        try:
            last: dict[tuple[str, str], float] = {}
            for _ in range(15):
                for family in rec._health.families():
                    if family.type == "counter" and "subscription" not in family.name:
                        for series in family.series:
                            key = (family.name, str(series.labels))
                            value = series.get()  # type: ignore[union-attr]  # a counter
                            assert value >= last.get(key, 0)
                            last[key] = value
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert last["sonde_events_published_total", "{}"] > 100


def test_a_figure_that_dips_is_held() -> None:
    """Of a ledger that is read row by row, the highest value so far is shown."""
    with sonde.record(":memory:") as rec:
        failures = {"write": 3}
        health = Health(rec.hub, rec._persister, rec.store, failures=lambda: failures)

        def shown() -> float:
            (family,) = (family for family in health.families() if family.name == "sonde_failures_total")
            return family.series[0].get()  # type: ignore[union-attr]  # a counter

        assert shown() == 3
        failures["write"] = 2
        assert shown() == 3
        failures["write"] = 5
        assert shown() == 5


def test_it_is_served_until_the_recorder_is_closed() -> None:
    """Over HTTP, on loopback; closing gives the port back, and a closed recorder serves no more."""
    rec = sonde.record(":memory:")
    server = rec.serve_metrics()
    with urlopen(server.url, timeout=20) as response:
        assert b"sonde_events_published_total 1.0\n" in response.read()
    rec.close()
    with pytest.raises(OSError, match="refused"):
        urlopen(server.url, timeout=20)
    with pytest.raises(ConfigError, match="closed recorder"):
        rec.serve_metrics()
    assert sonde.render_prometheus(rec)  # what it was at the end can still be rendered


def test_a_port_in_use_does_not_end_the_recording() -> None:
    """The error is the caller's; the recorder goes on."""
    with sonde.record(":memory:") as rec, rec.serve_metrics() as server:
        with pytest.raises(ConfigError, match="Address already in use"):
            rec.serve_metrics(server.port)
        rec.emit("note.taken")
        assert rec.flush()


def test_a_disabled_recorder_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """``SONDE_DISABLED`` holds for the server, too, without the extra; what was written for it still runs."""
    monkeypatch.setenv("SONDE_DISABLED", "1")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with sonde.record() as rec, rec.serve_metrics(9464) as server:
        assert server.url == "http://127.0.0.1:9464/metrics"
        assert rec.families() == []
        assert "sonde-metrics" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_shows_its_own_figures() -> None:
    """It does not serve, and what it renders by itself begins anew; the parent's page goes on."""
    code = """if True:
        import os, sonde
        from urllib.request import urlopen
        rec = sonde.record(":memory:")
        server = rec.serve_metrics()
        for _ in range(50):
            rec.emit("note.taken")
        rec.flush()
        assert b"sonde_events_published_total 51.0" in sonde.render_prometheus(rec)
        child = os.fork()
        if child == 0:
            rec.emit("note.taken")
            page = sonde.render_prometheus(rec)
            os._exit(0 if b"sonde_events_published_total 1.0" in page else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert b"sonde_events_published_total 51.0" in urlopen(server.url, timeout=20).read()
        rec.close()
        print("served")
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout, run.stderr) == ("served\n", "")
