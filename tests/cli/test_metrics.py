"""``sonde metrics``: a run's metrics from its events, for people, programs and Prometheus."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from sonde.cli.metric_documents import BucketDocument, MetricDocument, number_of
from sonde.cli.metric_sheets import number_text
from sonde.events import Event
from sonde.metrics import Counter, Registry
from sonde.store import SQLiteStore

AGENT = """
import sonde
rec = sonde.record(session_id="own-1")
with rec.tool("search", q="x"):
    sonde.counter("pages_read_total", {"site": "a"}).inc(3)
    sonde.histogram("page_bytes", buckets=[100, 1000]).observe(420)
rec.close()
"""


def metrics_event(registry: Registry, *, session: str = "fix-42", at_ns: int = 1_770_802_300 * 10**9) -> Event:
    """What a recorder writes of a program's own metrics."""
    return Event("sonde.metrics", at_ns, session, data=registry.snapshot().to_data())


@pytest.fixture
def own(recorded: Path, sample: Any) -> Path:
    """The session ``fix-42`` with metrics of its own, one of them named as a derived one."""
    registry = Registry()
    registry.describe("patch_bytes", "Sizes of patches.", "bytes")
    registry.counter("patches_total", {"kind": "fix", "repo": "r"}).inc(3)
    registry.counter("patches_total", {"kind": "new", "repo": "r"}).inc(1)
    registry.gauge("queue_length").set(2.5)
    registry.counter("tool_calls_total", {"tool_name": "by hand"}).inc(99)
    for size in range(1, 101):
        registry.histogram("patch_bytes").observe(size * 1024)
    sample.append(recorded, metrics_event(registry), writer_id="w-1", first_seq=100)
    return recorded


def series(ran: Any, name: str, *, origin: str = "derived", **labels: str) -> dict[str, Any]:
    (found,) = [
        document
        for document in ran.documents
        if (document["name"], document["origin"], document["labels"]) == (name, origin, labels)
    ]
    return found


def test_documents_have_the_promised_fields(own: Path, sonde: Any) -> None:
    """--json prints an object a series, the derived ones first, each with its documented fields."""
    documents = sonde("metrics", "--json").documents
    assert all(list(document) == list(MetricDocument.__struct_fields__) for document in documents)
    origins = [document["origin"] for document in documents]
    assert origins == ["derived"] * origins.count("derived") + ["own"] * 5
    buckets = [bucket for document in documents for bucket in document["buckets"] or []]
    assert all(list(bucket) == list(BucketDocument.__struct_fields__) for bucket in buckets)


def test_derived_metrics(recorded: Path, sonde: Any) -> None:
    """Calls, durations, tokens, cost and failures of a finished run are there, although no metric was ever touched."""
    ran = sonde("metrics", "--json")
    assert series(ran, "tool_calls_total", tool_name="read_file")["value"] == 1
    assert series(ran, "model_tokens_total", model="gpt-5", kind="input")["value"] == 1200
    assert series(ran, "model_cost_usd_total", model="gpt-5", source="reported")["value"] == 0.12
    assert series(ran, "operation_failures_total", kind="tool", error_type="OSError")["value"] == 1
    latency = series(ran, "model_latency_seconds", model="gpt-5")
    assert (latency["record"], latency["unit"], latency["count"], latency["sum"]) == ("histogram", "seconds", 1, 1.0)
    assert latency["min"] == latency["max"] == 1.0
    assert all(latency[p] == pytest.approx(1.0, rel=latency["relative_error"]) for p in ("p50", "p90", "p99"))
    assert latency["buckets"][0] == {"le": 0.001, "count": 0}
    assert latency["buckets"][-1] == {"le": None, "count": 1}


def test_own_metrics(own: Path, sonde: Any) -> None:
    """What the program counted by hand comes back from the events that the recorder made of it."""
    ran = sonde("metrics", "fix-42", "--json")
    assert series(ran, "patches_total", origin="own", kind="fix", repo="r")["value"] == 3
    assert series(ran, "queue_length", origin="own")["value"] == 2.5
    size = series(ran, "patch_bytes", origin="own")
    assert (size["help"], size["unit"], size["count"]) == ("Sizes of patches.", "bytes", 100)
    assert size["p90"] == pytest.approx(90 * 1024, rel=0.01)


def test_a_real_recorder_s_own_metrics(db: Path, sonde: Any) -> None:
    """A program that records and counts by hand leaves both in its file."""
    subprocess.run([sys.executable, "-c", AGENT], check=True, timeout=60)
    ran = sonde("metrics", "own-1", "--json")
    assert series(ran, "pages_read_total", origin="own", site="a")["value"] == 3
    assert series(ran, "page_bytes", origin="own")["sum"] == 420
    assert series(ran, "tool_calls_total", tool_name="search")["value"] == 1


def test_one_session_or_all(db: Path, sonde: Any, sample: Any) -> None:
    """A session has its own figures, and all together their sum; --session is the same as the argument."""
    for name in ("one", "two"):
        registry = Registry()
        registry.counter("patches_total").inc(2)
        events = [*sample.agent_run(name), metrics_event(registry, session=name)]
        sample.append(db, *events, writer_id=name)

    def figures(*arguments: str) -> list[float]:
        ran = sonde("metrics", *arguments, "--json")
        return [
            series(ran, "tool_calls_total", tool_name="read_file")["value"],
            series(ran, "patches_total", origin="own")["value"],
        ]

    assert figures("one") == figures("--session", "two") == figures("last") == [1, 2]
    assert figures() == [2, 4]


def test_tables_for_a_person(own: Path, sonde: Any) -> None:
    """Derived metrics first, then the program's own; labels that all series share stand beside the name."""
    ran = sonde("metrics")
    assert (ran.code, ran.err) == (0, "")
    lines = [line.rstrip() for line in ran.out.splitlines()]
    assert lines[0].startswith("derived from events · ")
    assert lines.index("the program's own · 4 metrics, 5 series") > 10
    assert ["model_requests_total", "model=gpt-5", "1"] in [line.split() for line in lines]
    start = lines.index("patches_total  repo=r")
    assert lines[start + 1].split() == ["kind=fix", "3", "######..", "75", "%"]
    assert lines[start + 2].split() == ["kind=new", "1", "##......", "25", "%"]
    (size,) = [line for line in lines if line.startswith("patch_bytes")]
    assert size.split()[1:4] == ["100", "1.0", "KiB"]
    assert size.endswith("@")
    assert lines[-1] == "distributions: from a metric's lowest to its highest value, on a log axis"


def test_without_plots(own: Path, sonde: Any) -> None:
    """--no-plots leaves figures and words."""
    shown = sonde("metrics", "--no-plots").out
    assert "P99" in shown
    assert not any(word in shown for word in ("SHARE", "DISTRIBUTION", "distributions"))


def test_metrics_with_many_series_are_cut(db: Path, sonde: Any, sample: Any) -> None:
    """The ten largest, and how many more there are; --full shows them, and JSON always has all."""
    calls = [sample.ended("tool", 100 * n + i, tool=f"t{n:02}") for n in range(1, 16) for i in range(n)]
    sample.append(db, *calls)
    shown = sonde("metrics").out
    table = shown.partition("tool_calls_total")[2].partition("more")[0]
    assert [line.split()[0] for line in table.splitlines()[1:11]] == [f"tool_name=t{n:02}" for n in range(15, 5, -1)]
    assert "⋯ 5 more; all with --full" in shown
    assert "tool_name=t01" in sonde("metrics", "--full").out
    assert series(sonde("metrics", "--json"), "tool_calls_total", tool_name="t01")["value"] == 1


@pytest.mark.parametrize("width", [50, 60, 72, 84, 120])
def test_lines_fit_every_terminal(own: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """No line runs over; the counts are always there."""
    monkeypatch.setenv("COLUMNS", str(width))
    shown = sonde("metrics").out
    assert max(len(line) for line in shown.splitlines()) <= width
    assert "COUNT" in shown


def test_labels_cannot_steer_the_terminal(db: Path, sonde: Any, sample: Any) -> None:
    """Escape sequences in a label's value are shown, not sent."""
    sample.append(db, sample.ended("tool", 1, tool="\x1b[31mred"))
    shown = sonde("metrics").out
    assert "\x1b" not in shown
    assert "\\x1b[31mred" in shown


@pytest.mark.parametrize(
    ("option", "parse"), [("--prometheus", text_families), ("--openmetrics", openmetrics_families)]
)
def test_a_page(own: Path, sonde: Any, caplog: pytest.LogCaptureFixture, option: str, parse: Any) -> None:
    """Parsers read the page; derived and own metrics are on it, and of a name that both have the derived one."""
    ran = sonde("metrics", option)
    assert ran.code == 0
    samples = [sample for family in parse(ran.out) for sample in family.samples]
    found = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
    assert found["patches_total", (("kind", "fix"), ("repo", "r"))] == 3
    assert found["tool_calls_total", (("tool_name", "read_file"),)] == 1
    assert ("tool_calls_total", (("tool_name", "by hand"),)) not in found
    assert found["patch_bytes_bucket", (("le", "+Inf"),)] == 100
    note = "(left out, since there are derived metrics of that name: the program's own tool_calls_total)\n"
    assert (ran.err, caplog.messages) == (note, [])  # said once
    assert (ran.out.endswith("# EOF\n")) == (option == "--openmetrics")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--prometheus", "--openmetrics"], "--prometheus and --openmetrics contradict each other; give one of them"),
        (["--openmetrics", "--json"], "--openmetrics and --json contradict each other; give one of them"),
        (["fix-42", "--session", "fix-42"], "SESSION and --session contradict each other; give one of them"),
    ],
)
def test_contradictions(own: Path, sonde: Any, arguments: list[str], says: str) -> None:
    """Two formats or two names of a session are a usage error that says what to do."""
    ran = sonde("metrics", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"sonde metrics: {says}\n"


def test_an_unknown_session(recorded: Path, sonde: Any) -> None:
    """Exit code 3, and the names that there are."""
    ran = sonde("metrics", "fix-43")
    assert (ran.code, ran.out) == (3, "")
    assert "did you mean 'fix-42'?" in ran.err


def test_an_empty_store(db: Path, sonde: Any) -> None:
    """Exit code 3: there is nothing to show, and what helps."""
    SQLiteStore(db).close()
    ran = sonde("metrics")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == f"sonde: cannot show metrics of '{db}': the store is empty; record a session first\n"


def test_no_metrics(db: Path, sonde: Any, sample: Any) -> None:
    """Events that give none are no error; a note says so."""
    sample.append(db, Event("note.taken", 10**18, "s"))
    ran = sonde("metrics", "s", "--json")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("(no metrics: ")


def test_without_the_extra(own: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page needs prometheus_client: one line says how to get it; tables and JSON do without."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    ran = sonde("metrics", "--prometheus")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("pip install 'sonde[prometheus]'\n")
    assert sonde("metrics", "--openmetrics", "--db", "/nonexistent/runs.db").code == 2  # told before a store is read
    assert sonde("metrics").code == sonde("metrics", "--json").code == 0


def test_figures_past_all_bounds(db: Path, sonde: Any, sample: Any) -> None:
    """A counter past 64 bits and floats at their limits are shown in every form."""
    registry = Registry()
    registry.counter("huge_total").add(2**70)
    registry.gauge("level").set(-sys.float_info.max)
    registry.histogram("odd").observe(0)
    registry.histogram("odd").observe(5e-324)
    registry.histogram("odd").observe(sys.float_info.max)
    registry.histogram("never_seconds")
    sample.append(db, metrics_event(registry, session="s"))
    ran = sonde("metrics", "--json")
    assert series(ran, "huge_total", origin="own")["value"] == 2.0**70
    vast = Counter("vast_total")
    vast.add(10**308)
    vast.add(10**308)
    assert number_of(vast) == sys.float_info.max
    odd = series(ran, "odd", origin="own")
    assert (odd["min"], odd["max"], odd["count"]) == (0, sys.float_info.max, 3)
    never = series(ran, "never_seconds", origin="own")
    assert (never["count"], never["p50"], never["min"]) == (0, None, None)
    assert sonde("metrics").code == sonde("metrics", "--openmetrics").code == 0


@pytest.mark.parametrize("value", [0, 1, 99.4, 999.6, 12345.6, 1e9, -1e9, 1e300, -0.001, math.pi])
def test_numbers_keep_three_digits(value: float) -> None:
    """What a number reads as is within 0.5 % of it, huge ones within 5 % or in G."""
    text = number_text(value).replace(",", "")
    read = float(text.removesuffix("G")) * (1e9 if text.endswith("G") else 1)
    assert read == pytest.approx(value, rel=0.005)
