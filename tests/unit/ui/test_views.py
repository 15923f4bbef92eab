"""What pages show, decided without a cluster: lists, curves, timelines, differences and words."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from footplate.api.status import TrainingJobStatus
from footplate.client import Job
from footplate.ui.charts import MAX_POINTS, Line, charts, extent, metrics_table, sparkline
from footplate.ui.cluster_view import goodputs, queue
from footplate.ui.jobs_view import PAGE_ROWS, Query, show_jobs
from footplate.ui.rendering import Renderer
from footplate.ui.spec_diff import compare_specs
from footplate.ui.timeline import WIDTH, attempts, timeline
from footplate.ui.words import ago, brief, number, seconds, shown, size
from page_jobs import BEGAN, job, moment, progress

NOW = BEGAN + timedelta(hours=3)


def jobs(*manifests: dict[str, Any]) -> list[Job]:
    return [Job(None, manifest) for manifest in manifests]  # type: ignore[arg-type]


LIST = jobs(
    job("alpha", "a", phase="Succeeded", progress=progress(step=2400)),
    job("beta", "a", phase="Running", progress=progress(step=600)),
    job("gamma", "b", phase="Failed", reason="UserError", message="labels are wrong", progress=None),
    job("delta", "b", phase="Running", progress=progress(step=1200)),
)


@pytest.mark.parametrize(
    ("said", "names"),
    [
        pytest.param({}, ["beta", "delta", "gamma", "alpha"], id="the liveliest first"),
        pytest.param({"phase": "Running"}, ["beta", "delta"], id="one phase"),
        pytest.param({"phase": "<script>"}, ["beta", "delta", "gamma", "alpha"], id="a phase that is none"),
        pytest.param({"namespace": "b"}, ["delta", "gamma"], id="one namespace"),
        pytest.param({"q": "LABELS b/"}, ["gamma"], id="every word, in any text"),
        pytest.param({"q": "nowhere"}, [], id="nothing"),
        pytest.param({"sort": "name"}, ["alpha", "beta", "delta", "gamma"], id="by name"),
        pytest.param({"sort": "progress"}, ["beta", "delta", "alpha", "gamma"], id="unknown last"),
        pytest.param({"sort": "progress", "order": "down"}, ["alpha", "delta", "beta", "gamma"], id="and last again"),
        pytest.param({"page": "99"}, ["beta", "delta", "gamma", "alpha"], id="a page that isn't there"),
        pytest.param({"page": "-1", "sort": "x"}, ["beta", "delta", "gamma", "alpha"], id="nonsense"),
    ],
)
def test_the_list_shows_what_was_asked_for(said: dict[str, str], names: list[str]) -> None:
    assert [row.name for row in show_jobs(LIST, Query.read(said), now=NOW).rows] == names


def test_a_row_says_how_far_a_job_is() -> None:
    (row,) = show_jobs(LIST, Query.read({"q": "a/beta"}), now=NOW).rows
    assert (row.phase, row.nodes, row.accelerators, row.metric) == ("Running", "4/4", "32 gpu", "loss")
    assert row.spark.startswith("M0,")
    assert row.age == pytest.approx(3 * 3600, abs=2)


def test_network_cards_are_no_accelerators() -> None:
    manifest = job()
    manifest["spec"]["resources"] = {"limits": {"nvidia.com/gpu": "8", "rdma/hca": "1"}}
    (row,) = show_jobs(jobs(manifest), Query(), now=NOW).rows
    assert row.accelerators == "32 gpu"


def test_a_job_that_nobody_has_looked_at_is_pending() -> None:
    unseen = job("new")
    del unseen["status"]
    (row,) = show_jobs(jobs(unseen), Query(), now=NOW).rows
    assert (row.phase, row.nodes, row.metric, row.spark) == ("Pending", "", "", "")


def test_long_lists_have_pages_and_keep_the_query() -> None:
    many = jobs(*(job(f"job-{number:04}", phase="Running") for number in range(PAGE_ROWS + 1)))
    page = show_jobs(many, Query.read({"q": "job", "page": "2"}), now=NOW)
    assert (page.pages, [row.name for row in page.rows]) == (2, [f"job-{PAGE_ROWS:04}"])
    assert page.query.address(page=1) == "?q=job"
    assert page.query.sorted_by("name") == "?q=job&sort=name"
    assert Query.read({"sort": "name"}).sorted_by("name") == "?sort=name&order=down"


def test_a_metrics_name_neither_turns_nor_hides_text() -> None:
    (chart,) = charts([Line("a", [1], {"lo\u202ess\x9b31m": [1.0]})])
    assert chart["metric"] == "loss31m"


def test_charts_keep_metrics_apart_and_drop_what_is_not_known() -> None:
    lines = [
        Line("a", [0, 1, 2], {"loss": [3.0, None, 1.0], "accuracy": [math.nan, math.inf, 0.5]}),
        Line("b", [5, 3, 3], {"loss": [3.0, 2.0, 1.0]}),
    ]
    loss, accuracy = charts(lines)
    assert loss["metric"] == "loss"
    assert loss["lines"][0] == {"name": "a", "steps": [0, 2], "values": [3.0, 1.0]}
    assert loss["lines"][1] == {"name": "b", "steps": [3, 5], "values": [1.0, 3.0]}
    assert accuracy["lines"] == [{"name": "a", "steps": [2], "values": [0.5]}]
    assert [(metric, name) for metric, name, _ in metrics_table(lines)] == [
        ("loss", "a"),
        ("loss", "b"),
        ("accuracy", "a"),
    ]


def test_a_line_has_no_more_points_than_a_screen_shows() -> None:
    steps = list(range(100_000))
    (chart,) = charts([Line("a", steps, {"loss": [float(step) for step in steps]})])
    shown_steps = chart["lines"][0]["steps"]
    assert len(shown_steps) == MAX_POINTS
    assert (shown_steps[0], shown_steps[-1]) == (0, 99_999)


def test_extents_and_small_pictures() -> None:
    assert (extent([None, 2.0, 1.0, math.nan]).last, extent([]).last) == (1.0, None)
    assert sparkline([1.0, None, 3.0, 2.0]) == "M0,23L50,1L100,12"
    assert sparkline([5.0, 5.0]) == "M0,23L100,23"
    assert sparkline([1.0]) == ""


def status_of(**said: Any) -> TrainingJobStatus:
    return Job(None, job(**said)).status  # type: ignore[arg-type]


def test_the_timeline_fills_its_bar() -> None:
    phases = [{"phase": "Pending", "time": moment(0)}, {"phase": "Queued", "time": moment(0)}]
    phases += [{"phase": "Running", "time": moment(60)}]
    segments = timeline(status_of(transitions=phases), now=NOW)
    assert [(each.phase, round(each.seconds / 60), each.now) for each in segments] == [
        ("Pending", 0, False),
        ("Queued", 60, False),
        ("Running", 120, True),
    ]
    assert segments[-1].x + segments[-1].width == pytest.approx(WIDTH)
    assert all(each.width > 3 for each in segments)


def test_the_timeline_of_a_finished_run_ends_with_its_end() -> None:
    phases = [{"phase": "Running", "time": moment(0)}, {"phase": "Failed", "time": moment(30)}]
    (segment,) = timeline(status_of(phase="Failed", transitions=phases), now=NOW)
    assert (segment.phase, segment.seconds, segment.now) == ("Running", 1800, False)
    assert timeline(status_of(transitions=[]), now=NOW) == []


def test_the_timeline_is_that_of_the_present_run() -> None:
    phases = [("Running", 0), ("Succeeded", 30), ("Pending", 60), ("Running", 61)]
    said = [{"phase": phase, "time": moment(minute)} for phase, minute in phases]
    assert [each.phase for each in timeline(status_of(transitions=said), now=NOW)] == ["Pending", "Running"]


def test_attempts_say_what_was_done_again() -> None:
    first = {"attempt": 0, "startTime": moment(0), "endTime": moment(10), "reason": "NodeLost", "lastStep": 811}
    second = {"attempt": 1, "startTime": moment(11), "resumedFromStep": 800}
    newest, oldest = attempts(status_of(attempts=[first, second]), now=NOW)
    assert (newest.attempt.attempt, newest.current, newest.undone) == (1, True, None)
    assert (oldest.current, oldest.undone, oldest.seconds) == (False, 11, 600)


def test_specs_are_compared_field_by_field_and_lists_by_name() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    fields = compare_specs([{"nodes": 2, "env": env[1:]}, {"nodes": 4, "env": env}, {}])
    assert {field.path: list(field.values) for field in fields if "value" in field.path or field.path == "nodes"} == {
        "env[A].value": ["", "1", ""],
        "env[B].value": ["2", "2", ""],
        "nodes": ["2", "4", ""],
    }
    assert all(field.differs for field in fields)
    assert not any(field.differs for field in compare_specs([{"a": [1, {}]}, {"a": [1, {}]}]))


def test_other_words() -> None:
    assert (seconds(None), seconds(3725), brief(3725)) == ("–", "1 h 2 min", "1 h")
    assert (size(1_234_567), size(None)) == ("1.23 MB", "–")
    assert [number(value) for value in (None, 1234567, 0.00012345, 2.0, math.nan)] == [
        "–",
        "1,234,567",
        "0.0001234",
        "2",
        "nan",
    ]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert ago(now - timedelta(minutes=5), now) == "5 min ago"
    assert ago(now + timedelta(hours=1), now) == "just now"


def test_texts_lose_what_would_turn_or_break_a_page() -> None:
    assert shown("a\u202eb\x00c\nd") == "abc\nd"
    assert len(shown("x" * 1_000_000)) == 300_000
    assert shown(None) == ""


def test_who_has_waited_longest_is_first_in_the_queue() -> None:
    waits = [{"phase": "Queued", "time": moment(60)}]
    unseen = job("new")
    del unseen["status"]
    late = job("late", phase="Pending", message="no room", transitions=[{"phase": "Pending", "time": moment(170)}])
    found = queue(jobs(late, job("runs"), job("first", phase="Queued", transitions=waits), unseen), now=NOW)
    assert [(each.job.name, each.phase, round(each.seconds / 60)) for each in found] == [
        ("new", "Pending", 180),
        ("first", "Queued", 120),
        ("late", "Pending", 10),
    ]


@pytest.mark.parametrize(
    ("spec", "asked"),
    [
        pytest.param({}, "32 gpu", id="accelerators of its own"),
        pytest.param({"resources": {}}, "CPUs", id="none"),
        pytest.param({"resources": {}, "runtimeRef": {"name": "torch"}}, "as its runtime says", id="its runtime's"),
    ],
)
def test_what_is_waited_for_may_be_the_runtime_s(spec: dict[str, Any], asked: str) -> None:
    waits = job("a", phase="Queued")
    waits["spec"] |= spec
    assert [each.accelerators for each in queue(jobs(waits), now=NOW)] == [asked]


def test_goodput_is_weighed_by_what_was_held() -> None:
    small = job("a", "x", usage={"productiveSeconds": 10, "lostSeconds": 90})
    large = job("b", "x", usage={"productiveSeconds": 900, "lostSeconds": 0})
    (found,) = goodputs(jobs(small, large, job("c", "y")))
    assert (found.namespace, found.percent, found.seconds, found.jobs) == ("x", 91.0, 1000, 2)


@pytest.mark.parametrize(
    ("url", "is_link"),
    [
        ("https://mlflow.example.com/#/experiments/1/runs/2", True),
        ("http://mlflow:5000/#/experiments/1/runs/2", True),
        ("s3://models/digits/records-1-uid/tensorboard/", False),
        ("javascript:alert(1)", False),
        ('https://a/"onclick="alert(1)', True),
    ],
)
def test_a_trackers_page_is_a_link_and_nothing_else_is(url: str, is_link: bool) -> None:
    status = TrainingJobStatus.model_validate({"tracking": [{"name": "mlflow", "url": url}]})
    text = Renderer()("tracking.html", status=status)
    assert ("<a href=" in text, 'rel="noopener noreferrer"' in text) == (is_link, is_link)
    assert url.replace('"', "&#34;") in text
    assert '"onclick' not in text
