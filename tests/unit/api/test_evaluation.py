"""What is said of gates and metrics before there is a model: as far as the recipe's name tells."""

from typing import Any

import pytest

from footplate.api.evaluation import HEADLINES, VALUES, Evaluation, find_mistakes, full_name, value_names
from footplate.api.reports import MAX_HEADLINES
from footplate.policy.resolve import InvalidJob, resolve

IMAGES, TABLES, REGRESSION = "image-classification", "tabular-classification", "tabular-regression"


def mistakes(recipe: str | None, **asked: Any) -> list[str]:
    return [*map(str, find_mistakes(Evaluation.model_validate(asked, by_name=False), recipe=recipe))]


def gate(metric: str) -> list[dict[str, Any]]:
    return [{"metric": metric, "atLeast": 0.5}]


@pytest.mark.parametrize(
    "metric", ["testAccuracy", "testF1Macro", "testF1.neutral", "testRocAuc", "testCalibrationError", "valLoss", "loss"]
)
def test_what_a_recipe_measures_can_be_gated(metric: str) -> None:
    assert mistakes(IMAGES, gates=gate(metric)) == []


@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("testAcuracy", "did you mean testAccuracy?"),
        ("test_accuracy", "did you mean testAccuracy?"),
        ("score", "it may be testAccuracy"),
        ("testAccuracy.neutral", "did you mean testAccuracy?"),
        ("testF1", "did you mean testF1Macro?"),
        ("testF1.", "did you mean testF1Macro?"),
        ("accuracy", "did you mean testAccuracy?"),
        ("f1Macro", "did you mean testF1Macro?"),
    ],
)
def test_a_gate_on_what_is_not_measured_names_the_nearest(metric: str, hint: str) -> None:
    (said,) = mistakes(TABLES, gates=gate(metric))
    assert said.startswith(f'spec.evaluation.gates[0].metric = "{metric}": the evaluation has no such metric; ')
    assert hint in said


@pytest.mark.parametrize(
    ("recipe", "metric", "said"),
    [
        (
            TABLES,
            "testRmse",
            "is measured of a regression, and this recipe is a classification; it may be testAccuracy, ",
        ),
        (
            REGRESSION,
            "testF1.neutral",
            "is measured of a classification, and this recipe is a regression; it may be testMae",
        ),
    ],
)
def test_a_gate_on_a_metric_of_another_task_says_so(recipe: str, metric: str, said: str) -> None:
    (problem,) = mistakes(recipe, gates=gate(metric))
    assert said in problem


@pytest.mark.parametrize(
    ("recipe", "gate", "said"),
    [
        (TABLES, {"metric": "testAccuracy", "atLeast": 90}, "the highest is 1; 90 % is 0.9"),
        (TABLES, {"metric": "testF1.neutral", "atLeast": 1.5}, "no value of testF1.neutral passes: the highest is 1"),
        (TABLES, {"metric": "testLogLoss", "atMost": -0.1}, "no value of testLogLoss passes: the lowest is 0"),
        (REGRESSION, {"metric": "testR2", "atLeast": 1.01}, "the highest is 1"),
        (TABLES, {"metric": "testAccuracy", "atLeast": 1}, None),
        (TABLES, {"metric": "testLogLoss", "atMost": 0}, None),
        (REGRESSION, {"metric": "testRmse", "atLeast": 1e9}, None),
        (REGRESSION, {"metric": "testR2", "atMost": -5}, None),
    ],
)
def test_a_bound_that_no_value_keeps_is_refused(recipe: str, gate: dict[str, Any], said: str | None) -> None:
    problems = mistakes(recipe, gates=[gate])
    assert bool(problems) == (said is not None)
    assert said is None or said in problems[0]


def test_a_gate_on_what_is_not_asked_for_says_so() -> None:
    for metric in ("testF1Macro", "testF1.neutral"):
        (said,) = mistakes(TABLES, metrics=["accuracy"], gates=gate(metric))
        assert "spec.evaluation.metrics leaves it out; add f1 to metrics" in said


def test_metrics_of_another_task_are_told() -> None:
    (said,) = mistakes(IMAGES, metrics=["accuracy", "mae"])
    assert said.startswith('spec.evaluation.metrics[1] = "mae": is none of a classification')


def test_pictures_have_no_columns_to_slice_by() -> None:
    assert "recipe image-classification has no columns" in mistakes(IMAGES, slices=["country"])[0]
    assert mistakes(TABLES, slices=["country"]) == []


def test_of_an_evaluation_alone_the_model_says_which_task_it_is() -> None:
    for metric in ("testAccuracy", "testF1.neutral", "testRmse"):
        assert mistakes("evaluate", gates=gate(metric), metrics=["accuracy", "f1", "rmse"]) == []
    assert "did you mean testAccuracy?" in mistakes("evaluate", gates=gate("testAcuracy"))[0]
    assert "the highest is 1" in mistakes("evaluate", gates=[{"metric": "testR2", "atLeast": 2}])[0]


@pytest.mark.parametrize("recipe", [None, "another"])
def test_what_other_code_measures_nobody_knows_beforehand(recipe: str | None) -> None:
    assert mistakes(recipe, gates=gate("anything"), metrics=["mae"]) == []


def test_names_begin_with_the_data() -> None:
    assert full_name("test", "f1.neutral") == "testF1.neutral"
    assert [*value_names("regression")] == ["mae", "rmse", "r2"]
    assert [*value_names("classification", metrics=["f1"], classes=["a"])] == ["f1Macro", "f1Weighted", "f1.a"]


def test_what_says_most_is_measured_and_fits_the_status() -> None:
    measured = {name for kind in VALUES.values() for name in kind.names}
    assert set(HEADLINES) <= measured
    assert len(HEADLINES) <= MAX_HEADLINES


TEXTS = "text-classification"


@pytest.mark.parametrize("metric", ["testRmse", "testR2", "valMae", "valLoss"])
def test_a_regression_has_its_own_gates(metric: str) -> None:
    assert mistakes(REGRESSION, gates=[{"metric": metric, "atLeast": 0.5}]) == []


@pytest.mark.parametrize("metric", ["testPerplexity", "valPerplexity", "perplexity", "testLoss"])
def test_a_language_model_has_its_own_gates(metric: str) -> None:
    assert mistakes("language-model", gates=[{"metric": metric, "atMost": 5}]) == []


def test_what_a_language_model_has_not_is_told() -> None:
    [said] = mistakes("language-model", gates=[{"metric": "testPerplexty", "atMost": 5}])
    assert "did you mean testPerplexity?" in said
    [said] = mistakes("language-model", metrics=["accuracy"])
    assert "is none of a text-generation, as recipe language-model is" in said
    [said] = mistakes("language-model", slices=["country"])
    assert "recipe language-model has no columns" in said


def test_what_a_regression_has_not_is_told() -> None:
    [said] = mistakes(REGRESSION, gates=[{"metric": "testAccuracy", "atLeast": 0.5}])
    assert "is measured of a classification" in said


def test_texts_have_classes_and_no_columns() -> None:
    assert mistakes(TEXTS, gates=[{"metric": "testF1.neutral", "atLeast": 0.5}]) == []
    assert f"recipe {TEXTS} has no columns" in mistakes(TEXTS, slices=["country"])[0]


def test_a_mistake_whose_value_is_a_list_is_told_by_the_operator_too() -> None:
    spec = {"trainer": {"image": "a:1", "recipe": IMAGES}, "evaluation": {"slices": ["country"]}}
    with pytest.raises(InvalidJob, match="recipe image-classification has no columns"):
        resolve({"metadata": {"name": "a", "namespace": "b"}, "spec": spec}, None, run=1)
