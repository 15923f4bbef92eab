"""What was measured of a model is read from its own files, proven, and within bounds."""

from pathlib import Path
from typing import Any

import pytest

from client_site import Site
from footplate.api.reports import EvaluationStatus
from footplate.cli.evaluation import _whole
from footplate.client import Client, ClientError, JobEvaluation, NothingThere, StorageUnreadable
from footplate.client.artifacts import ArtifactDamaged
from footplate.client.evaluation import MAX_PIXELS, MAX_PLOT_BYTES, MAX_PLOTS
from footplate.client.scores import MAX_COLUMNS, class_scores, confusion_of, general_values
from footplate.client.status import verdict_in_words
from footplate_trainer.evaluation_file import DataEvaluation, Slice
from result_files import evaluated, evaluation_json, png
from stored_models import stored, with_manifest

GATES = {"gates": [{"metric": "testAccuracy", "atLeast": 0.95, "value": 0.9, "passed": False}]}


def evaluation(folder: Path, files: dict[str, bytes]) -> JobEvaluation:
    return JobEvaluation(stored(folder, {"model.bin": b"x", **files}), EvaluationStatus.model_validate(GATES))


def test_values_gates_plots_and_card(tmp_path: Path) -> None:
    files = {
        "evaluation.json": evaluation_json(test=evaluated(), holdout=evaluated(("a", "b"))),
        "plots/test-roc.png": png(),
        "plots/curve-loss.png": png(),
        "README.md": b"# digits\n",
    }
    found = evaluation(tmp_path, files)
    assert [*found.data] == ["test", "holdout"]
    assert found.data["test"].values["accuracy"] == 0.9
    assert [(gate.metric, gate.passed) for gate in found.gates] == [("testAccuracy", False)]
    assert found.plot_names() == ["test-roc.png", "curve-loss.png"]
    assert found.plot("test-roc.png") == png()
    assert found.card() == "# digits\n"


def test_a_model_that_nobody_has_measured(tmp_path: Path) -> None:
    found = evaluation(tmp_path, {})
    assert (found.data, found.plot_names(), found.card()) == ({}, [], "")
    assert found.plot("test-roc.png") is None


def test_what_was_replaced_is_not_shown(tmp_path: Path) -> None:
    whole = evaluation_json(test=evaluated())
    evaluation(tmp_path, {"evaluation.json": whole, "README.md": b"mine"})
    (tmp_path / "README.md").write_bytes(b"evil")
    artifact = stored(tmp_path / "other", {"evaluation.json": whole, "README.md": b"mine"})
    (tmp_path / "other/README.md").write_bytes(b"evil")
    with pytest.raises(ArtifactDamaged, match=r"'README\.md' has other bytes"):
        JobEvaluation(artifact, None).card()
    (tmp_path / "other/evaluation.json").write_bytes(whole.replace(b"0.9", b"1.0"))
    with pytest.raises(ArtifactDamaged, match=r"'evaluation\.json' has other bytes"):
        JobEvaluation(artifact, None)


@pytest.mark.parametrize(
    "text",
    [
        b"no json",
        b"[" * 100_000,
        evaluation_json(test=evaluated()).replace(b"0.31", b"NaN"),
        evaluation_json(test=evaluated()).replace(b"0.31", b"1e999"),
        evaluation_json(test=evaluated()).replace(b'"test"', b'"<script>"'),
    ],
    ids=["no JSON", "deep", "NaN", "infinite", "a name that is none"],
)
def test_a_file_that_is_none_of_ours_is_said_to_be_none(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ArtifactDamaged, match="isn't one that Footplate wrote"):
        evaluation(tmp_path, {"evaluation.json": text})


def test_what_a_newer_trainer_says_besides_is_left_out(tmp_path: Path) -> None:
    text = evaluation_json(test=evaluated()).replace(b'"samples"', b'"fairness":{"a":1},"samples"')
    assert evaluation(tmp_path, {"evaluation.json": text}).data["test"].samples == 30


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    huge = [
        {"name": name, "sizeBytes": 10**12, "sha256": "0" * 64}
        for name in ("README.md", "plots/a.png", "evaluation.json")
    ]
    found = JobEvaluation(with_manifest(tmp_path / "others", huge[:2]), None)
    for read in (found.card, lambda: found.plot("a.png"), lambda: JobEvaluation(with_manifest(tmp_path, huge), None)):
        with pytest.raises(ClientError, match=r"has 1,000,000,000,000 bytes, and at most .* are read here"):
            read()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>"),
        ("a.html", b"<script>x()</script>"),
        ("a.png", b"<script>x()</script>" * 100),
        ("a.png", b""),
        ("a.png", png(60_000, 60_000)),
        ("a.png", png(0, 5)),
        ("deep/a.png", png()),
        ("../model.bin", png()),
    ],
)
def test_what_is_no_picture_of_bounded_size_is_none(tmp_path: Path, name: str, data: bytes) -> None:
    found = evaluation(tmp_path, {f"plots/{name}": data} if ".." not in name else {})
    assert found.plot(name) is None


def test_plots_are_counted(tmp_path: Path) -> None:
    found = evaluation(tmp_path, {f"plots/{number}.png": png() for number in range(MAX_PLOTS + 5)})
    assert len(found.plot_names()) == MAX_PLOTS
    assert png(2_000, 1_500)[:8] == png()[:8]
    assert 2_000 * 1_500 < MAX_PIXELS < 60_000 * 60_000
    assert MAX_PLOT_BYTES < 10**12


def test_scores_by_class() -> None:
    found = evaluated(("a.b", "c"))
    assert [*general_values(found)] == ["accuracy", "f1Macro", "logLoss", "precisionMacro"]
    first, second = class_scores(found)
    assert (first.name, first.samples, first.values) == ("a.b", 10, {"precision": 0.9, "recall": 0.9, "f1": 0.9})
    assert second.name == "c"


@pytest.mark.parametrize("confusion", [[[1, 2]], [[1], [2]], [[1, 2], [3]], [], None])
def test_a_matrix_that_does_not_fit_is_none(confusion: Any) -> None:
    found = evaluated(("a", "b"), confusion=confusion)
    assert confusion_of(found) == ()
    assert [each.samples for each in class_scores(found)] == [None, None]


def test_the_verdict_in_words() -> None:
    def words(*passed: bool) -> str:
        gates = [{"metric": "m", "atLeast": 1, "passed": each} for each in passed]
        return verdict_in_words(EvaluationStatus.model_validate({"gates": gates}).gates)

    assert words() == ""
    assert words(True) == "Accepted: its gate is passed"
    assert words(True, True) == "Accepted: all 2 gates are passed"
    assert words(False) == "Not accepted: its gate is not passed"
    assert words(False, True, True) == "Not accepted: 1 of 3 gates is not passed"
    assert words(False, False, True) == "Not accepted: 2 of 3 gates are not passed"


def test_a_job_reads_them_with_its_own_storage(site: Site, client: Client) -> None:
    site.create("digits")
    with pytest.raises(NothingThere, match="has no model"):
        client.get("digits").evaluation()
    model = {"uri": "file:///data/1/", "manifest": "m", "sha256": "a", "sizeBytes": 1}
    site.say("digits", phase="Succeeded", artifact=model, evaluation=GATES)
    with pytest.raises(StorageUnreadable, match="lies in a volume of the job's pods"):
        client.get("digits").evaluation()


class Counted(dict[str, float]):
    """Counts how often it is asked for one of its values."""

    asked = 0

    def __getitem__(self, key: str) -> float:
        self.asked += 1
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked += 1
        return super().__contains__(key)


def test_scores_take_no_longer_than_the_file_is_long() -> None:
    """A file of 16 MB may name a hundred thousand classes, and as many metrics."""
    names = [f"c{number}" for number in range(500)]
    values = Counted({f"m{number}.{name}": 1.0 for number, name in enumerate(names)})
    found = DataEvaluation.model_construct(task="classification", samples=1, classes=names, values=values)
    scores = class_scores(found)
    assert [each.values for each in scores] == [{f"m{number}": 1.0} for number in range(500)]
    assert values.asked <= 2 * len(names)
    twice = DataEvaluation(task="classification", samples=1, classes=["a"] * 500, values=dict.fromkeys(["f1.a"], 1.0))
    assert sum(len(each.values) for each in class_scores(twice)) == 1


def test_tables_of_many_metrics_are_cut(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(60)]
    values = {f"m{number}.{name}": 1.0 for number, name in enumerate(names)}
    parts = {name: Slice(samples=1, values={f"m{number}": 1.0}) for number, name in enumerate(names)}
    found = DataEvaluation(task="classification", samples=1, classes=names, values=values, slices={"country": parts})
    shown = [text.plain for text in _whole({"test": found})]
    heads = [text.splitlines()[0].split() for text in shown if text.startswith(("CLASS", "country"))]
    assert [len(head) for head in heads] == [MAX_COLUMNS + 2] * 2
    assert [text.splitlines()[-1] for text in shown[2:]] == ["10 more; -o json has all"] * 2
    files = {"evaluation.json": evaluation_json(test=found.to_json())}
    html = evaluation(tmp_path, files)._repr_html_()
    assert html.count("<th>m") == MAX_COLUMNS + 1
    assert "and 10 more" in html
