"""What an evaluation computes: scikit-learn's values on the same predictions, and where there are none, why."""

import subprocess
import sys
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from footplate.api.evaluation import full_name
from footplate_trainer import evaluate
from footplate_trainer.errors import UserError
from footplate_trainer.evaluation import classification, ranking
from footplate_trainer.evaluation.measured import Numbers
from footplate_trainer.evaluation_file import DataEvaluation, EvaluationFile, read_evaluation

RANDOM = settings(max_examples=20, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)


def close(value: float, other: Any) -> bool:
    return bool(np.isclose(value, other, rtol=1e-9, atol=1e-12))


def predictions(seed: int, classes: int, samples: int, *, ties: bool) -> tuple[Numbers, Numbers]:
    """Probabilities with some skill, in which values may come again, and targets that need not have all classes."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, random.integers(1, classes + 1), samples)
    scores = random.random((samples, classes)) + 0.5 * np.eye(classes)[targets]
    if ties:
        scores = np.round(scores, 1) + 0.05
    return scores / scores.sum(axis=1, keepdims=True), targets


@RANDOM
@given(seed=SEEDS, classes=st.integers(2, 6), samples=st.integers(1, 60), ties=st.booleans())
def test_classes_are_measured_as_scikit_learn_does(seed: int, classes: int, samples: int, ties: bool) -> None:
    probabilities, targets = predictions(seed, classes, samples, ties=ties)
    found, predicted = evaluate(probabilities, targets), probabilities.argmax(axis=1)
    values, numbers = found.values, [*range(classes)]
    assert close(values["accuracy"], reference.accuracy_score(targets, predicted))
    assert found.confusion == reference.confusion_matrix(targets, predicted, labels=numbers).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it counts a division by 0 as 0, as we do, and warns
        for average in ("macro", "weighted"):
            expected = reference.precision_recall_fscore_support(targets, predicted, average=average)
            for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
                assert close(values[full_name(name, average)], value), (name, average)
        by_class = reference.precision_recall_fscore_support(targets, predicted, labels=numbers)
    for number in numbers:
        for name, value in zip(("precision", "recall", "f1"), by_class, strict=False):
            if number in targets or number in predicted:
                assert close(values[f"{name}.{number}"], value[number])
            else:
                assert f"{name}.{number}" not in values
    assert close(values["logLoss"], reference.log_loss(targets, probabilities, labels=numbers))


@RANDOM
@given(seed=SEEDS, classes=st.integers(2, 5), samples=st.integers(2, 60), ties=st.booleans())
def test_areas_are_those_of_scikit_learn(seed: int, classes: int, samples: int, ties: bool) -> None:
    probabilities, targets = predictions(seed, classes, samples, ties=ties)
    found = evaluate(probabilities, targets)
    for number in range(classes):
        of_class = targets == number
        if 0 < of_class.sum() < samples:
            assert close(found.values[f"rocAuc.{number}"], reference.roc_auc_score(of_class, probabilities[:, number]))
        if of_class.any():
            area = reference.average_precision_score(of_class, probabilities[:, number])
            assert close(found.values[f"prAuc.{number}"], area)
    if classes == 2 and 0 < targets.sum() < samples:
        assert close(found.values["rocAuc"], reference.roc_auc_score(targets, probabilities[:, 1]))
        assert close(found.values["prAuc"], reference.average_precision_score(targets, probabilities[:, 1]))
    elif len(np.unique(targets)) == classes > 2:
        area = reference.roc_auc_score(targets, probabilities, multi_class="ovr", average="macro")
        assert close(found.values["rocAuc"], area)
        one_hot = np.eye(classes)[targets]
        assert close(found.values["prAuc"], reference.average_precision_score(one_hot, probabilities, average="macro"))
    else:
        assert "rocAuc" not in found.values
        assert "occur" in found.undefined["rocAuc"] or "all targets" in found.undefined["rocAuc"]


@RANDOM
@given(seed=SEEDS, samples=st.integers(1, 80))
def test_calibration_has_scikit_learns_bins(seed: int, samples: int) -> None:
    probabilities, targets = predictions(seed, 3, samples, ties=False)
    found, confidence = evaluate(probabilities, targets), probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    accuracy, sure = calibration_curve(right, confidence, n_bins=classification.CALIBRATION_BINS)
    assert found.calibration is not None
    assert np.allclose(found.calibration.accuracy, accuracy)
    assert np.allclose(found.calibration.confidence, sure)
    edges = np.linspace(0, 1, classification.CALIBRATION_BINS + 1)
    gaps = 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gaps += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert close(found.values["calibrationError"], gaps)


@RANDOM
@given(seed=SEEDS, samples=st.integers(2, 300), ties=st.booleans())
def test_thresholds_are_those_of_scikit_learn(seed: int, samples: int, ties: bool) -> None:
    probabilities, targets = predictions(seed, 2, samples, ties=ties)
    if not 0 < targets.sum() < samples:
        return
    curves = evaluate(probabilities, targets).thresholds
    assert curves is not None
    curve = curves["1"]
    assert len(curve.threshold) <= ranking.MAX_POINTS
    assert curve.threshold == sorted(set(curve.threshold), reverse=True)
    for place, threshold in [*enumerate(curve.threshold)][::23]:
        predicted = probabilities[:, 1] >= threshold
        assert close(curve.recall[place], reference.recall_score(targets, predicted))
        assert close(curve.precision[place], reference.precision_score(targets, predicted))
        assert close(curve.f1[place], reference.f1_score(targets, predicted))
        assert close(curve.false_positive_rate[place], predicted[targets == 0].mean())
    assert curve.recall[-1] == curve.false_positive_rate[-1] == 1.0


@RANDOM
@given(seed=SEEDS, samples=st.integers(1, 60))
def test_regressions_are_measured_as_scikit_learn_does(seed: int, samples: int) -> None:
    random = np.random.default_rng(seed)
    targets = random.normal(3, 2, samples)
    predicted = targets + random.normal(0, 1, samples)
    found = evaluate(predicted, targets)
    assert close(found.values["mae"], reference.mean_absolute_error(targets, predicted))
    assert close(found.values["rmse"], reference.root_mean_squared_error(targets, predicted))
    if samples > 1:
        assert close(found.values["r2"], reference.r2_score(targets, predicted))
    else:
        assert found.undefined["r2"] == "all targets are equal"
    assert found.error_quantiles is not None
    assert found.error_quantiles["0.5"] == float(np.median(predicted - targets))


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_the_unit_of_a_quantity_makes_no_difference(scale: float) -> None:
    """Its square may be beyond float64, or 0 in it."""
    targets, predicted = np.array([1.0, 2.0, 3.0]), np.array([1.5, 1.0, 4.0])
    values = evaluate(predicted * scale, targets * scale).values
    assert values["r2"] == pytest.approx(reference.r2_score(targets, predicted))
    assert values["rmse"] / scale == pytest.approx(reference.root_mean_squared_error(targets, predicted))
    assert values["mae"] / scale == pytest.approx(reference.mean_absolute_error(targets, predicted))


@pytest.mark.parametrize("target", [0.1, 1 / 3, 1e300])
def test_equal_targets_have_no_r2(target: float) -> None:
    """By rounding, the mean of three times 0.1 is another number."""
    found = evaluate([0.1, 0.2, 0.3], [target] * 3)
    assert found.undefined == {"r2": "all targets are equal"}
    assert found.values.keys() == {"mae", "rmse"}


def test_a_value_beyond_the_largest_number_is_none() -> None:
    found = evaluate(np.full(20, 1e308), np.array([0.0, *[1.0] * 19]))
    assert set(found.undefined) == {"mae", "r2"}
    assert set(found.undefined.values()) == {"the numbers are too large for it"}


@pytest.mark.parametrize(
    ("predicted", "targets", "why"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "there are no samples"),
        (np.array([[0.5, 0.5], [np.nan, 0.5]]), [0, 1], "1 of 2 predictions are not finite numbers"),
        (np.array([0.5, np.inf]), [1.0, 2.0], "1 of 2 predictions are not finite numbers"),
        (np.array([0.5, 1.0]), [1.0, np.nan], "1 of 2 targets are not finite numbers"),
        (np.array([1.7e308, 1.0]), [-1.7e308, 2.0], "1 of 2 differences are not finite numbers"),
    ],
    ids=["no samples", "a NaN among probabilities", "an infinite estimate", "a target that isn't known", "far apart"],
)
def test_what_cannot_be_measured_is_said_and_never_guessed(predicted: Any, targets: Any, why: str) -> None:
    found = evaluate(predicted, targets)
    assert found.values == {}
    assert set(found.undefined.values()) == {why}


def test_one_class_alone_has_no_areas_and_an_accuracy() -> None:
    found = evaluate(np.array([[0.9, 0.1], [0.4, 0.6]]), [0, 0], classes=["no", "yes"])
    assert found.values["accuracy"] == 0.5
    assert found.undefined["rocAuc"] == "class 'yes' does not occur among the targets"
    assert found.undefined["rocAuc.no"] == "all targets are of class 'no'"
    assert "not among the targets, so that the recall counts as 0: 'yes'" in found.notes


def test_absent_classes_are_in_no_average_and_named() -> None:
    found = evaluate([0, 1, 1], [0, 1, 0], classes=["a", "b", "c"])
    assert found.values["f1Macro"] == pytest.approx(reference.f1_score([0, 1, 0], [0, 1, 1], average="macro"))
    assert "neither among targets nor predictions, and in no average: 'c'" in found.notes
    assert "f1.c" in found.undefined
    assert found.undefined["rocAuc"] == "the predictions are classes, without probabilities"


def test_names_of_classes_count_as_their_numbers() -> None:
    found = evaluate(["good", "bad", "good"], ["good", "good", "bad"])
    assert found.classes == ["bad", "good"]
    assert found.confusion == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("classes", "targets"),
    [
        ([1, 0], [1, 0, 1]),
        (np.array([1, 2]), [1, 2, 1]),
        (torch.tensor([5, 3]), torch.tensor([5, 3, 5])),
        ([-1.0, 1.0], np.array([-1, 1, -1])),
        ([True, False], np.array([True, False, True])),
        (["True", "False"], np.array([True, False, True])),
        ([3, 5], ["3", "5", "3"]),
        (range(2), [0, 1, 0]),
        (["1", "0"], [0, 1, 0]),
        (["no", "yes"], np.array([False, True, False])),
    ],
    ids=str,
)
def test_labels_are_the_classes_or_where_these_are_texts_their_numbers(classes: Any, targets: Any) -> None:
    """As scikit-learn's `classes_` says which column is whose: in another order all would be upside down."""
    found = evaluate(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), targets, classes=classes)
    assert found.values["accuracy"] == found.values["rocAuc"] == 1.0
    assert found.confusion == [[2, 0], [0, 1]]


def test_predicted_classes_may_be_numbers_that_do_not_begin_with_0() -> None:
    assert evaluate([1, 2, 2], [1, 2, 1], classes=[1, 2, 3]).confusion == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_names_that_are_no_text_can_be_written_all_the_same(tmp_path: Any) -> None:
    name = b"caf\xe9".decode(errors="surrogateescape")
    found = evaluate([name, "b"], [name, name], slices={"c": [name, "d"]}, folder=tmp_path)
    assert found.classes == ["b", "caf\\udce9"]
    assert found.values["accuracy"] == 0.5
    assert read_evaluation(tmp_path) is not None


def test_more_than_anybody_reads_is_not_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("footplate_trainer.evaluation_file.MAX_BYTES", 100)
    with pytest.raises(UserError, match="too many classes times slices"):
        evaluate([0, 1], [0, 1], folder=tmp_path)
    assert not (tmp_path / "evaluation.json").exists()


def test_logits_and_one_column_are_made_probabilities() -> None:
    logits, targets = np.array([[2.0, -1.0], [0.0, 3.0]]), [0, 1]
    odds = logits[:, 1] - logits[:, 0]
    both = evaluate(logits, targets, logits=True)
    one = evaluate(odds, targets, logits=True, task="classification")
    assert both.values == pytest.approx(one.values)
    assert both.values["logLoss"] == pytest.approx(reference.log_loss(targets, 1 / (1 + np.exp(-odds))))


@pytest.mark.parametrize(
    ("predicted", "targets", "options", "words"),
    [
        (np.zeros((2, 3)), [0], {}, "2 values for 1 targets"),
        (np.zeros((1, 3, 3)), [0], {}, "as many predictions, [N] or [N, classes]"),
        (np.array([[2.0, -1.0]]), [0], {}, "say logits=True"),
        (np.array([[0.5, 0.5]]), [2], {}, "is none of the 2 classes"),
        (np.array([[0.5, 0.5]]), ["c"], {"classes": ["a", "b"]}, "'c' (sample 0) is none of the 2 classes"),
        (np.array([0.5]), [1], {}, "say which by task="),
        (np.array([[0.5, 0.5]]), [0], {"classes": ["a", "a"]}, "1 different names for 2 columns"),
        (np.eye(3), [1, 4, 2], {"classes": [1, 2, 3]}, "4 (sample 1) is none of the 3 classes"),
        ([0, 1], [0, 1], {"ids": [[0, 0], [0, 0]]}, "evaluate(ids): [2, 2]; give one"),
        ([0], [0], {"name": "my data"}, "evaluate(name='my data'): of up to 20 letters and digits"),
        ([0], [0], {"metrics": ["f1_macro"]}, "evaluate(metrics): there is no 'f1_macro'; "),
        ([0], [0], {"task": "regresion"}, "did you mean regression?"),
        (np.zeros((2, 2)) + 0.5, [0, 1], {"slices": {"country": ["DE"]}}, "1 values for 2 targets"),
        (np.zeros((200, 2)) + 0.5, [0, 1] * 100, {"slices": {"id": range(200)}}, "200 different values"),
    ],
)
def test_what_does_not_fit_is_told(predicted: Any, targets: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        evaluate(predicted, targets, **options)
    assert words in str(caught.value)


def test_a_slice_is_measured_as_its_samples_alone() -> None:
    probabilities, targets = predictions(5, 3, 60, ties=False)
    country = np.array(["DE", "FR", "DE"] * 20)
    found = evaluate(probabilities, targets, slices={"country": country})
    assert found.slices is not None
    assert {name: part.samples for name, part in found.slices["country"].items()} == {"DE": 40, "FR": 20}
    alone = evaluate(probabilities[country == "DE"], targets[country == "DE"])
    assert found.slices["country"]["DE"].values == alone.values


def test_what_a_sampler_has_padded_counts_once() -> None:
    probabilities, targets = predictions(7, 3, 10, ties=False)
    again = np.array([*range(10), 0, 1])
    found = evaluate(probabilities[again], targets[again], ids=again)
    assert found == evaluate(probabilities, targets)


def test_tensors_of_any_precision_are_taken() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]], dtype=torch.bfloat16, requires_grad=True)
    assert evaluate(logits, torch.tensor([0, 1]), logits=True) == evaluate(
        logits.detach().float().numpy(), [0, 1], logits=True
    )


def test_numpy_alone_is_needed(tmp_path: Any) -> None:
    """An image for another framework has no torch, and perhaps no matplotlib: then there are no plots."""
    code = (
        "import pathlib, sys; sys.modules['torch'] = sys.modules['matplotlib'] = None\n"
        "from footplate_trainer import evaluate\n"
        "print(evaluate([0, 1], [0, 1], folder=pathlib.Path(sys.argv[1])).values['accuracy'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "1.0\n"
    assert "plots could not be drawn" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


def test_only_what_is_asked_for_is_measured() -> None:
    probabilities, targets = predictions(3, 2, 20, ties=False)
    found = evaluate(probabilities, targets, metrics=["accuracy", "confusion"])
    assert found.values.keys() == {"accuracy"}
    assert found.confusion is not None
    assert found.thresholds is None


def test_evaluations_of_several_data_stand_in_one_file(tmp_path: Any) -> None:
    probabilities, targets = predictions(3, 2, 20, ties=False)
    evaluate(probabilities, targets, name="validation", folder=tmp_path)
    found = evaluate(probabilities, targets, folder=tmp_path)
    read = read_evaluation(tmp_path)
    assert read is not None
    assert read.data.keys() == {"validation", "test"}
    assert read.data["test"] == DataEvaluation.model_validate(found.model_dump())
    assert read.values()["testAccuracy"] == read.values()["validationAccuracy"] == found.values["accuracy"]
    assert [*read.headlines()][:2] == ["validationAccuracy", "validationF1Macro"]


@pytest.mark.parametrize("content", ["", "[]", '{"kind": "Other"}', "\0"])
def test_another_file_of_that_name_is_no_evaluation(tmp_path: Any, content: str) -> None:
    (tmp_path / "evaluation.json").write_text(content)
    assert read_evaluation(tmp_path) is None


def test_a_folder_of_that_name_is_no_evaluation(tmp_path: Any) -> None:
    (tmp_path / "evaluation.json").mkdir()
    assert read_evaluation(tmp_path) is None


def test_no_value_is_anything_but_a_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        EvaluationFile.model_validate(
            {"data": {"test": {"task": "regression", "samples": 1, "values": {"mae": np.nan}}}}
        )
