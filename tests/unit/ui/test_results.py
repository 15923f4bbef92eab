"""The tabs of a job's data and model: what a newcomer looks for, within bounds, whatever lies in storage."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from footplate.client import JobData, NotAllowed, NothingThere, StorageUnreadable
from footplate.client.artifacts import ArtifactDamaged
from footplate.machinery.resources import CONFIG_MAPS
from footplate.ui.data_view import MAX_COLUMNS
from footplate.ui.evaluation_view import MAX_CLASSES, MAX_MATRIX
from footplate.ui.evaluation_view import view_data as view_evaluation
from footplate.ui.words import number, share
from footplate_trainer.evaluation_file import DataEvaluation, Slice
from footplate_trainer.preparation.report import Example, Histogram, Violation
from page_jobs import ToldClient, job
from page_server import PageServer
from result_files import HOSTILE, column, evaluated, evaluation_json, png, profile
from stored_models import stored

GATES = [{"metric": "testAccuracy", "atLeast": 0.95, "value": 0.9, "passed": False}]
HUGE = 10**4_000


@pytest.fixture
def server() -> Iterator[PageServer]:
    model = {"uri": "s3://models/digits/1/", "manifest": "m", "sha256": "a", "sizeBytes": 5, "accepted": False}
    client = ToldClient(job(phase="Failed", reason="GateNotPassed", artifact=model, evaluation={"gates": GATES}))
    with PageServer(client) as server:
        yield server


def page(server: PageServer, tab: str) -> str:
    status, _, body = server.get(f"jobs/team/digits/{tab}")
    assert status == 200, body
    return body.decode()


def test_the_model_with_verdict_matrix_classes_plots_and_card(server: PageServer, tmp_path: Path) -> None:
    slices = {"country": {"de": Slice(samples=3, values={"accuracy": 0.5})}}
    files = {
        "evaluation.json": evaluation_json(test=evaluated(slices=slices, undefined={"rocAuc": "one class"})),
        "README.md": b"# digits\n\n![x](plots/test-roc.png)\n\n<b>bold</b>\n",
        "plots/test-roc.png": png(),
        "plots/test-confusion.png": png(),
    }
    server.client.told.artifact = stored(tmp_path, files)
    text = page(server, "model")
    assert "Not accepted: its gate is not passed" in text
    assert "<dt>accuracy</dt><dd>0.9</dd>" in text
    assert text.count('<td class="hit h9">9</td>') == 3
    assert text.count('<td class="miss h1">1</td>') == 3
    assert '<th scope="row">neutral</th><td class="right">0.9</td>' in text
    assert '<th scope="row">de</th><td class="right">3</td><td class="right">0.5</td>' in text
    assert "rocAuc has no value: one class" in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    assert len(re.findall(r'src="[^"]*/plots/test-roc\.png"', text)) == 2  # among the plots, and in the card
    assert "test-confusion.png" not in text  # the matrix says it


def test_a_note_is_no_failure() -> None:
    with PageServer(ToldClient(job(phase="Succeeded", notes=["2 files are left out"]))) as server:
        *_, body = server.get("jobs/team/digits")
    assert '<p class="banner">2 files are left out</p>' in body.decode()


def test_a_plot_is_sent_as_a_picture_and_as_nothing_else(server: PageServer, tmp_path: Path) -> None:
    files = {
        "plots/a.png": png(), "plots/b.svg": b"<svg/>", "plots/c.png": b"<script>", "plots/d.png": png(60_000, 60_000),
        "evaluation.json": evaluation_json(test=evaluated()),
    }  # fmt: skip
    server.client.told.artifact = stored(tmp_path, files)
    status, headers, body = server.get("jobs/team/digits/plots/a.png")
    assert (status, headers["content-type"], headers["X-Content-Type-Options"]) == (200, "image/png", "nosniff")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert body == png()
    for name in ("b.svg", "c.png", "d.png", "e.png", "..%2Fevaluation.json", "..%2f..%2fspec", "a.png%00"):
        status, headers, body = server.get(f"jobs/team/digits/plots/{name}")
        assert status == 404, name
        assert headers["content-type"].startswith("text/html")
        assert b"<svg/>" not in body


def test_no_plot_without_the_rights_to_read_it(server: PageServer) -> None:
    server.client.told.trouble = StorageUnreadable("storage is away")
    assert server.get("jobs/team/digits/plots/a.png")[0] == 502


@pytest.mark.parametrize("tab", ["data", "model"])
def test_what_is_not_there_or_not_to_be_read_is_said_and_the_page_stays(server: PageServer, tab: str) -> None:
    server.client.told.trouble = StorageUnreadable(f"storage is away {HOSTILE}")
    text = page(server, tab)
    assert "This can't be read" in text
    assert "storage is away &lt;img" in text
    server.client.told.trouble = NotAllowed("get", CONFIG_MAPS, namespace="team", said="")
    assert "you may not get configmaps in namespace team" in page(server, tab)
    server.client.told.trouble = NothingThere("there is nothing yet")
    text = page(server, tab)
    assert '<p class="empty">there is nothing yet</p>' in text
    assert "can't be read" not in text


def test_where_the_model_can_not_be_read_the_status_has_its_values(server: PageServer) -> None:
    model = {"uri": "s3://models/wine/1/", "manifest": "m", "sha256": "a", "sizeBytes": 5}
    measured = {"metrics": {"testAccuracy": 0.75}}
    server.client.put(job("digits", phase="Succeeded", artifact=model, evaluation=measured, run=2))
    server.client.told.trouble = ArtifactDamaged("other bytes")
    deadline = time.monotonic() + 10
    while "Evaluated, without gates" not in (text := page(server, "model")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "<dt>testAccuracy</dt><dd>0.75</dd>" in text
    assert "other bytes" in text


def test_a_model_that_nobody_has_measured(server: PageServer, tmp_path: Path) -> None:
    server.client.told.artifact = stored(tmp_path, {"model.bin": b"x"})
    text = page(server, "model")
    assert "The code has left no evaluation.json" in text
    assert "Model card" not in text


def test_a_card_that_is_too_large_takes_nothing_else_away(server: PageServer, tmp_path: Path) -> None:
    files = {"evaluation.json": evaluation_json(test=evaluated()), "README.md": b"x" * 300_000}
    server.client.told.artifact = stored(tmp_path, files)
    text = page(server, "model")
    assert "README.md has 300,000 bytes, and at most 262,144 are read here" in text
    assert "Confusion matrix" in text


def test_the_data_with_parts_hints_and_columns(server: PageServer) -> None:
    found = profile()
    hints = [hint.text for hint in found.hints]
    server.client.told.data = JobData(100, found.splits, (), hints, ["a note"], found)
    text = page(server, "data")
    assert "100 rows, 3 columns" in text
    assert '</span> validation</th><td class="right">20</td><td class="right">20.0 %</td>' in text
    assert '<td class="right warning">2</td>' in text  # rows of test that are in train, too
    assert "sugar alone tells grower" in text
    assert '<span class="mark bad">leakage</span>' in text
    assert '<span class="warning">5 (5.0 %)</span>' in text
    assert "0.5 … 7" in text
    assert text.count('<svg class="outline"') == 2
    assert 'grower <span class="mark">label</span>' in text


def test_broken_checks_come_first(server: PageServer) -> None:
    examples = [Example(file="a.csv", row=7, value="-1")]
    server.client.told.data = JobData(
        None, {}, [Violation(column="age", rule="minimum: 0", count=1200, examples=examples)]
    )
    text = page(server, "data")
    assert "Broken checks: nothing is trained on these data" in text
    assert "age: minimum: 0 <small>broken 1,200 times</small>" in text
    assert "<code>-1</code></td><td>row 7 of a.csv</td>" in text


def test_what_data_and_models_say_is_escaped(server: PageServer, tmp_path: Path) -> None:
    hostile = column(HOSTILE, type=HOSTILE, minimum=HOSTILE, maximum=HOSTILE, histogram=None)
    found = profile(hostile, label=HOSTILE)
    broken = [Violation(column=HOSTILE, rule=HOSTILE, count=1, examples=[Example(file=HOSTILE, row=1, value=HOSTILE)])]
    server.client.told.data = JobData(100, found.splits, broken, [HOSTILE], [HOSTILE], found)
    values = {"accuracy": 0.5, HOSTILE: 0.5, f"f1.{HOSTILE}": 0.5}
    slices = {HOSTILE: {HOSTILE: Slice(samples=1, values=values)}}
    measured = evaluated((HOSTILE, "b"), values=values, slices=slices, notes=[HOSTILE], undefined={HOSTILE: HOSTILE})
    name = HOSTILE.replace("/", "").replace("\u202e", "")
    files = {
        "evaluation.json": evaluation_json(test=measured),
        f"plots/{name}.png": png(),
        "README.md": f"# {HOSTILE}\n\n{HOSTILE}".encode(),
    }
    server.client.told.artifact = stored(tmp_path, files)
    for tab in ("data", "model"):
        text = page(server, tab)
        assert "&lt;script&gt;" in text
        assert "<script>window" not in text
        assert "<img src=x" not in text
        assert "\u202e" not in text
        assert "{{7*7}}" in text


def test_of_five_thousand_columns_the_first_are_shown(server: PageServer) -> None:
    found = profile(*(column(f"c{number}") for number in range(5_000)))
    server.client.told.data = JobData(100, found.splits, (), (), (), found)
    text = page(server, "data")
    assert text.count('<svg class="outline"') <= MAX_COLUMNS
    assert "100 rows, 5,003 columns" in text
    assert f"{5_003 - MAX_COLUMNS:,} more columns" in text
    assert len(text) < 2_000_000


def test_numbers_and_shapes_that_nobody_would_write_break_nothing(server: PageServer) -> None:
    counts = {"train": [HUGE, -1] * 1_000, "validation": [], "test": [0, 0], "other": [1]}
    columns = [
        column("a", missing=HUGE, minimum=-HUGE, maximum=HUGE, mean=1e308, std=5e-324),
        column("b", histogram=Histogram(low=-1.7e308, high=1.7e308, counts=counts), quantiles={}, distinct=HUGE),
        column("c" * 100_000, type="t" * 100_000, histogram=None, values=[]),
    ]
    found = profile(*columns, rows=1, splits={"train": HUGE, "validation": -5, "test": 0}, duplicates=HUGE)
    server.client.told.data = JobData(1, found.splits, (), ["x" * 1_000_000] * 1_000, (), found)
    text = page(server, "data")
    assert "10¹⁵ or more" in text
    assert len(text) < 200_000
    assert all(0 <= float(width) <= 1_000 for width in re.findall(r'width="([\d.-]+)" height="14"', text))


def test_very_many_classes_and_values_are_bounded() -> None:
    names = tuple(f"class-{number}" for number in range(1_000))
    values = {
        "accuracy": 0.5,
        **{f"x{number}": 0.5 for number in range(1_000)},
        **{f"f1.{name}": 0.9 for name in names},
    }
    values["f1.class-700"] = 0.1
    slices = {f"s{number}": {"v": Slice(samples=1, values={"accuracy": 0.5})} for number in range(50)}
    (view,) = view_evaluation({"test": evaluated(names, values=values, slices=slices, notes=["n"] * 1_000)})
    assert view.matrix is None
    assert view.mistakes[0] == "class-999 is taken for class-0: 1 of 10"
    assert view.classes is not None
    assert (len(view.classes.rows), view.classes.more) == (MAX_CLASSES, 900)
    assert view.classes.rows[0][0] == "class-700"  # the weakest come first
    assert len(view.mistakes) + len(view.slices) + len(view.notes) < 50
    assert len(view.others.rows) <= 100
    (small,) = view_evaluation({"test": evaluated(tuple(map(str, range(MAX_MATRIX))))})
    assert small.matrix is not None
    assert small.mistakes == []


def test_a_regressions_errors() -> None:
    quantiles = {"0.5": -0.1, "0.95": 2.0}
    found = DataEvaluation(task="regression", samples=5, values={"mae": 0.5}, error_quantiles=quantiles)
    (view,) = view_evaluation({"test": found})
    assert view.quantiles is not None
    assert view.quantiles.rows == [("0.5", "-0.1"), ("0.95", "2")]
    assert (view.matrix, view.classes) == (None, None)


@pytest.mark.parametrize(
    ("count", "of", "part"), [(1, 4, 0.25), (5, 4, 1.0), (-1, 4, 0.0), (1, 0, 0.0), (HUGE, 2, 1.0), (1, HUGE, 0.0)]
)
def test_shares_are_shares(count: int, of: int, part: float) -> None:
    assert share(count, of) == part


def test_numbers_of_any_size() -> None:
    assert number(10**14) == "100,000,000,000,000"
    assert (number(HUGE), number(-HUGE)) == ("10¹⁵ or more", "-10¹⁵ or less")
    assert (number(1e300), number(float("nan")), number(float("inf"))) == ("1e+300", "nan", "inf")
