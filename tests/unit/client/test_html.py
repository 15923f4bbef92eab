"""A job in a notebook: progress and curve, and nothing that the notebook would run."""

import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from client_site import Site
from footplate.api.reports import CurveStatus, ProgressStatus
from footplate.api.status import TrainingJobStatus
from footplate.client import Client
from footplate.client.artifacts import Artifact
from footplate.client.evaluation import JobEvaluation
from footplate.client.html import HEIGHT, MAX_ROWS, WIDTH, job_html
from result_files import evaluated, evaluation_json, png
from stored_models import stored


def status(**fields: Any) -> TrainingJobStatus:
    return TrainingJobStatus.model_validate(fields, by_name=False)


def with_curve(**curve: Any) -> TrainingJobStatus:
    return status(phase="Running", progress={"step": 1, "history": {"steps": [], "metrics": {}, **curve}})


def with_progress(**fields: Any) -> TrainingJobStatus:
    """What no validation would let through, as well."""
    return status(phase="Running").model_copy(update={"progress": ProgressStatus.model_construct(**fields)})


def points(html: str) -> list[list[tuple[float, float]]]:
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]
        for line in re.findall(r'polyline points="([^"]*)"', html)
    ]


def test_a_running_job() -> None:
    progress = {"step": 500, "totalSteps": 1000, "percent": 50.04, "etaSeconds": 3700, "metrics": {"loss": 0.123456}}
    html = job_html("digits", "team", status(phase="Running", message="2 of 2 nodes running", progress=progress))
    ElementTree.fromstring(html)
    assert "<b>team/digits</b> Running" in html
    assert '<progress value="50.0" max="100">50 %</progress> 50 %, 1 h 1 min left' in html
    assert "step 500 of 1,000, loss 0.1235" in html


@pytest.mark.parametrize("percent", [None, float("nan"), float("inf")])
def test_what_is_not_known_is_not_shown(percent: float | None) -> None:
    known = status(phase="Running", progress={}).model_copy()
    assert known.progress is not None
    html = job_html(
        "a", "b", known.model_copy(update={"progress": known.progress.model_copy(update={"percent": percent})})
    )
    assert "progress" not in html


def test_a_job_that_nobody_has_seen() -> None:
    assert "<b>b/a</b> new" in job_html("a", "b", TrainingJobStatus())


def test_the_curve_goes_from_corner_to_corner() -> None:
    html = job_html("a", "b", with_curve(steps=[0, 10, 20], metrics={"loss": [2.0, 1.0, 0.0]}))
    ElementTree.fromstring(html)
    assert points(html) == [[(4, 4), (WIDTH / 2, HEIGHT / 2), (WIDTH - 4, HEIGHT - 4)]]
    assert "loss: 0 at step 20, 0 to 2" in html


def test_what_was_reported_at_other_steps_parts_no_curve() -> None:
    html = job_html("a", "b", with_curve(steps=[0, 1, 2, 3, 4, 5], metrics={"loss": [1, 2, None, 3, None, 4]}))
    assert [len(line) for line in points(html)] == [4]


@pytest.mark.parametrize(
    "curve",
    [
        {"steps": [], "metrics": {}},
        {"steps": [1], "metrics": {"loss": [1.0]}},
        {"steps": [1, 2], "metrics": {"loss": [None, 1.0]}},
        {"steps": [1, 2, 3], "metrics": {"loss": []}},
    ],
)
def test_a_curve_of_less_than_two_points_is_none(curve: Any) -> None:
    assert "<svg" not in job_html("a", "b", with_curve(**curve))


@pytest.mark.parametrize("values", [[3.0, 3.0], [-1.7e308, 1.7e308], [float("nan"), 1.0, 2.0]])
def test_numbers_that_break_arithmetic(values: list[float]) -> None:
    """As a liar's curve has them."""
    curve = CurveStatus.model_construct(steps=[*range(len(values))], metrics={"loss": [*values]})
    html = job_html("a", "b", with_progress(history=curve))
    places = [each for line in points(html) for each in line]
    assert len(places) == 2
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)


ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</svg><style>*{}</style>",
    "\x1b[31m&amp;\u202e",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_words_stay_words(attack: str) -> None:
    progress = {
        "step": 1, "metrics": {attack[:63]: 1.0}, "history": {"steps": [1, 2], "metrics": {attack[:63]: [1.0, 2.0]}},
    }  # fmt: skip
    html = job_html(attack, attack, status(phase="Running", message=attack, progress=progress))
    found = Tags()
    found.feed(html)
    assert found.names <= {"div", "b", "progress", "svg", "g", "polyline"}
    assert found.attributes <= {
        "style", "value", "max", "role", "aria-label", "width", "height", "viewbox", "fill", "stroke", "stroke-width",
        "points",
    }  # fmt: skip
    assert "\x1b" not in html
    assert "\u202e" not in html


class Tags(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.attributes = set[str](), set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


def gates(metric: str = "testAccuracy", **more: Any) -> Any:
    return {"metrics": {metric[:63]: 0.9}, "gates": [{"metric": metric, "atLeast": 0.95, "passed": False, **more}]}


def test_an_evaluation_and_its_gates() -> None:
    html = job_html("a", "b", status(phase="Failed", evaluation=gates(value=0.9)))
    ElementTree.fromstring(html)
    assert "<div>testAccuracy 0.9</div>" in html
    assert "<b>Not accepted: its gate is not passed</b>" in html
    assert "<td>✗</td><td>testAccuracy</td><td>0.9</td><td>at least 0.95 is asked</td>" in html


@pytest.mark.parametrize("attack", ATTACKS)
def test_words_of_an_evaluation_stay_words(attack: str, tmp_path: Path) -> None:
    html = job_html("a", "b", status(phase="Failed", evaluation=gates(attack, why=attack)))
    html += whole(tmp_path, evaluated((attack, "b"), values={f"f1.{attack}": 0.5, attack: 1.0}))._repr_html_()
    found = Tags()
    found.feed(html)
    assert found.names <= {"div", "b", "h4", "table", "tr", "td", "th"}
    assert found.attributes <= {"style"}
    assert "\x1b" not in html


def whole(folder: Path, found: Any, **files: bytes) -> JobEvaluation:
    artifact: Artifact = stored(folder, {"evaluation.json": evaluation_json(test=found), **files})
    return JobEvaluation(artifact, status(evaluation=gates(value=0.9)).evaluation)


def test_an_evaluation_shows_itself(tmp_path: Path) -> None:
    html = whole(tmp_path, evaluated(), **{"plots/a.png": png(), "plots/b.png": b"<svg/>"})._repr_html_()
    assert "<h4>test: 30 samples</h4>" in html
    assert "<td>neutral</td><td>0.9</td><td>0.9</td><td>0.9</td>" in html
    assert re.findall(r'alt="([^"]*)" src="([^"]*)"', html) == [
        ("a.png", f"data:image/png;base64,{b64encode(png()).decode()}")
    ]


def test_of_very_many_classes_the_first_are_shown(tmp_path: Path) -> None:
    html = whole(tmp_path, evaluated(tuple(f"class-{number}" for number in range(300))))._repr_html_()
    assert html.count("<tr>") < 2 * MAX_ROWS
    assert "and 250 more" in html


def test_a_job_shows_itself(site: Site, client: Client) -> None:
    site.create("digits")
    site.say("digits", phase="Running", progress={"step": 5, "percent": 50.0})
    assert client.get("digits")._repr_html_() == job_html("digits", "default", client.get("digits").status)
    assert "50 %" in client.get("digits")._repr_html_()
