"""The page: valid whatever the metrics hold, the same figures in both formats, each name once."""

import logging
import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from sonde.errors import MissingExtraError
from sonde.exporters.prometheus import render_prometheus
from sonde.metrics import Registry

Shown = Callable[[Any], dict[tuple[str, tuple[tuple[str, str], ...]], float]]


def test_counters_gauges_and_histograms_come_out_as_they_are(shown: Shown) -> None:
    """Every figure of a registry is on its page, in both formats."""
    registry = Registry()
    registry.counter("tool_calls_total", {"tool_name": "a"}).inc(3)
    registry.counter("tool_calls_total", {"tool_name": "b"}).add(0.5)
    registry.gauge("load_ratio").set(-0.25)
    for value in (0.05, 0.5, 0.1, 7):
        registry.histogram("wait_seconds", {"queue": "x"}, buckets=[0.1, 1]).observe(value)
    queue = ("queue", "x")
    assert shown(registry) == {
        ("tool_calls_total", (("tool_name", "a"),)): 3,
        ("tool_calls_total", (("tool_name", "b"),)): 0.5,
        ("load_ratio", ()): -0.25,
        ("wait_seconds_bucket", (("le", "0.1"), queue)): 2,
        ("wait_seconds_bucket", (("le", "1.0"), queue)): 3,
        ("wait_seconds_bucket", (("le", "+Inf"), queue)): 4,
        ("wait_seconds_count", (queue,)): 4,
        ("wait_seconds_sum", (queue,)): 7.65,
    }


@pytest.mark.parametrize(
    "value",
    [
        *('"', "\\", "\n", "a\nb", '\\"', "\\n", "\\\\n", "}", "{", ",", "=", " ", ""),
        *("\r", "\t", "\0", "\x85", "\u2028", "\x1c", "# EOF", "ünïcodé 🎈", 'x",y="z', '{a="b"} 1 # {c="d"} 2'),
    ],
)
def test_any_label_value_comes_back(shown: Shown, value: str) -> None:
    """Quotes, backslashes, newlines, braces, line separators of every kind, and nothing at all."""
    registry = Registry()
    registry.counter("calls_total", {"tool": value}).inc()
    registry.gauge("load", {"tool": value, "other": "x"}).set(2)
    registry.histogram("wait_seconds", {"tool": value}).observe(1)
    found = shown(registry)
    assert found["calls_total", (("tool", value),)] == 1
    assert found["load", (("other", "x"), ("tool", value))] == 2
    assert found["wait_seconds_count", (("tool", value),)] == 1


def test_lone_surrogates_do_not_end_a_page(shown: Shown) -> None:
    """What no UTF-8 carries is shown as its escape, in labels and in help."""
    registry = Registry()
    registry.counter("calls_total", {"tool": "a\udc80"}).inc()
    registry.describe("calls_total", "Calls \udc80.")
    assert shown(registry) == {("calls_total", (("tool", "a\\udc80"),)): 1}


def test_values_that_are_no_measure_leave_the_page_valid(shown: Shown) -> None:
    """NaN, infinities and negative amounts are refused by the metrics and never reach a page."""
    registry = Registry()
    for value in (math.nan, math.inf, -math.inf, -1.0):
        registry.counter("calls_total").inc(value)
        registry.histogram("wait_seconds", buckets=[1]).observe(value)
        registry.gauge("load").set(value)
    assert shown(registry) == {
        ("calls_total", ()): 0,
        ("wait_seconds_bucket", (("le", "1.0"),)): 1,
        ("wait_seconds_bucket", (("le", "+Inf"),)): 1,
        ("wait_seconds_count", ()): 1,
        ("wait_seconds_sum", ()): 0,
        ("load", ()): -1,
    }


def test_integers_past_the_floats_are_shown_as_the_largest(shown: Shown) -> None:
    """A counter of integers knows no limit; Prometheus does."""
    registry = Registry()
    for _ in range(3):
        registry.counter("calls_total").inc(10**308)
    assert shown(registry) == {("calls_total", ()): sys.float_info.max}


def test_nothing_is_a_page_too(shown: Shown) -> None:
    """An empty registry, or none, is no error; OpenMetrics still has its end."""
    assert shown(Registry()) == shown([]) == {}
    assert render_prometheus(Registry(), openmetrics=True) == b"# EOF\n"


def test_the_overflow_series_is_one_like_others(shown: Shown) -> None:
    """What is past the limit of label sets shows under ``overflow="true"``."""
    registry = Registry(max_series=1)
    for tool in "abc":
        registry.counter("page_calls_total", {"tool": tool}).inc()
    assert shown(registry) == {
        ("page_calls_total", (("tool", "a"),)): 1,
        ("page_calls_total", (("overflow", "true"),)): 2,
    }


@pytest.mark.parametrize(
    ("name", "sample"),
    [("calls", "calls_total"), ("a_total_total", "a_total_total"), ("_total", "_total_total"), (":a:b", ":a:b_total")],
)
def test_a_counter_ends_in_total_however_it_is_named(shown: Shown, name: str, sample: str) -> None:
    """Both formats show the same name, so that no query depends on which one a scraper asked for."""
    registry = Registry()
    registry.counter(name).inc()
    assert shown(registry) == {(sample, ()): 1}


@pytest.mark.parametrize("make", ["counter", "gauge", "histogram"])
def test_colons_stay_in_names(shown: Shown, make: str) -> None:
    """The family and its samples keep the same name, where ``prometheus_client`` by itself renames the samples."""
    registry = Registry()
    getattr(registry, make)("job:wait_seconds")
    assert {name.removesuffix("_total") for name, _ in shown(registry)} >= (
        {"job:wait_seconds_sum"} if make == "histogram" else {"job:wait_seconds"}
    )


def test_buckets_below_zero_are_left_out(shown: Shown) -> None:
    """They are empty, and with them OpenMetrics would allow no sum."""
    registry = Registry()
    registry.histogram("shift", buckets=[-5, -0.0, 5]).observe(0)
    assert shown(registry) == {
        ("shift_bucket", (("le", "0.0"),)): 1,
        ("shift_bucket", (("le", "5.0"),)): 1,
        ("shift_bucket", (("le", "+Inf"),)): 1,
        ("shift_count", ()): 1,
        ("shift_sum", ()): 0,
    }


def test_help_and_unit_are_there() -> None:
    """A described name has its text in both formats and its unit in OpenMetrics; help of several lines stays one."""
    registry = Registry()
    registry.counter("sent_bytes_total").inc()
    registry.describe("sent_bytes_total", 'What was "sent"\nby \\us.', "bytes")
    registry.gauge("load").set(1)
    text = render_prometheus(registry).decode()
    assert '# HELP sent_bytes_total What was "sent"\\nby \\\\us.\n# TYPE sent_bytes_total counter\n' in text
    assert "# HELP load A gauge that nobody described.\n# TYPE load gauge\n" in text
    families = {
        family.name: family for family in parse_openmetrics(render_prometheus(registry, openmetrics=True).decode())
    }
    assert families["sent_bytes"].unit == "bytes"
    assert families["sent_bytes"].documentation == 'What was "sent"\nby \\us.'
    assert families["load"].unit == ""


def test_a_unit_that_the_name_does_not_end_in_is_left_out(shown: Shown) -> None:
    """A gauge may be named ``..._seconds_total``; its unit would make parsers refuse the whole page."""
    registry = Registry()
    registry.describe("busy_seconds_total", "How long.", "seconds")
    registry.gauge("busy_seconds_total").set(3)
    assert shown(registry) == {("busy_seconds_total", ()): 3}
    assert b"# UNIT" not in render_prometheus(registry, openmetrics=True)


def test_the_first_of_two_sources_wins(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    """One name on one page comes from one source: the other is never added to it, is left out, and logged once."""
    first, second = Registry(), Registry()
    first.counter("precedence_total", {"tool": "a"}).inc(2)
    second.counter("precedence_total", {"tool": "a"}).inc(40)
    second.counter("precedence_total", {"tool": "b"}).inc(40)
    second.gauge("own").set(1)
    with caplog.at_level(logging.WARNING, logger="sonde"):
        assert shown([first, second]) == {("precedence_total", (("tool", "a"),)): 2, ("own", ()): 1}
        shown([first, second])
    assert [record.message for record in caplog.records] == [
        "metrics page leaves out a counter 'precedence_total': its name belongs to a counter 'precedence_total', which "
        "takes precedence, and they are not added up; rename it"
    ]


@pytest.mark.parametrize(
    ("kept", "left_out"),
    [
        ("counter:clash_a_total", "gauge:clash_a"),
        ("counter:clash_b", "counter:clash_b_total"),
        ("histogram:clash_c", "gauge:clash_c_count"),
        ("histogram:clash_d", "counter:clash_d_count_total"),
        ("gauge:clash_e_bucket", "histogram:clash_e"),
        ("histogram:clash_f", "counter:clash_f"),
        ("counter:clash_g", "gauge:clash_g_created"),
    ],
)
def test_names_that_only_clash_by_suffix_clash(shown: Shown, kept: str, left_out: str) -> None:
    """A parser of OpenMetrics refuses a whole page for them; so one family is left out instead."""
    registries = []
    for named in (kept, left_out):
        kind, _, name = named.partition(":")
        registries.append(Registry())
        getattr(registries[-1], kind)(name)
    assert shown(registries) == shown(registries[0])
    assert shown(registries[::-1]) == shown(registries[1])


def test_the_same_registry_given_twice_is_no_clash(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    """A recorder shows the default registry already; naming it again is no reason to complain."""
    registry = Registry()
    registry.counter("twice_total").inc()
    assert shown([registry, registry]) == {("twice_total", ()): 1}
    assert not caplog.records


def test_names_can_be_chosen() -> None:
    """As with the parameter ``name[]`` of Prometheus: samples of these names only, and no family without any."""
    registry = Registry()
    registry.gauge("a").set(1)
    registry.histogram("b_seconds").observe(1)
    page = render_prometheus(registry, names=["b_seconds_sum", "missing"])
    assert [line for line in page.decode().splitlines() if line[0] != "#"] == ["b_seconds_sum 1.0"]
    assert b"TYPE a" not in page


def test_a_page_taken_while_threads_observe_adds_up() -> None:
    """Buckets, count and sum of a histogram are of one moment, and no page has less than the one before."""
    registry = Registry()
    histogram = registry.histogram("busy_seconds", buckets=[0.5, 1.5])
    done = threading.Event()

    def observe() -> None:
        while not done.is_set():
            for _ in range(100):
                histogram.observe(1.0)

    threads = [threading.Thread(target=observe) for _ in range(3)]
    for thread in threads:
        thread.start()
    counts = []
    try:
        for _ in range(20):
            lines = render_prometheus(registry).decode().splitlines()
            figures = {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}
            assert figures.pop('busy_seconds_bucket{le="0.5"}') == 0
            (count,) = set(figures.values())
            counts.append(count)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert counts == sorted(counts)
    assert counts[-1] > 0


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where prometheus_client is missing, rendering is a clear error."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sonde\[prometheus\]'"):
        render_prometheus(Registry())
