"""Evaluations over several ranks, and the gates that they are held against: in processes, and on the devcluster."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from footplate.contract import Env, ExitCode
from footplate_trainer import evaluate, exchange
from footplate_trainer.evaluation_file import DataEvaluation, read_evaluation
from rank_processes import Job
from trainer_pods import Done, RunningPod, pod_environment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SAVES = "import os, pathlib; pathlib.Path(os.environ['FOOTPLATE_OUTPUT_DIR'], 'w.txt').write_text('weights')\n"
EVALUATES = (
    f"{SAVES}from footplate_trainer import evaluate\nevaluate([0, 1, 1, 1], [0, 1, 1, 0], classes=['no', 'yes'])\n"
)
"""Right in three of four; without torch."""


def test_unequal_shares_give_what_the_whole_gives(tmp_path: Path) -> None:
    job = Job(tmp_path, "evaluate_shards.py", 3, {"seed": 5})
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.OK] * 3, gang.logs()
        results = [json.loads((folder / "result.json").read_text()) for folder in gang.run_dirs]
        report = exchange.read_report(gang.run_dirs[0])
    chance = np.random.default_rng(5)
    targets = chance.integers(0, 3, 100)
    scores = chance.random((100, 3)) + np.eye(3)[targets]
    whole = evaluate(scores / scores.sum(axis=1, keepdims=True), targets, slices={"half": np.arange(100) // 50})
    assert [DataEvaluation.model_validate(result) for result in results] == [whole] * 3
    written = read_evaluation(tmp_path / "output")
    assert written is not None
    assert written.data == {"test": whole}
    assert report is not None
    assert report.progress.metrics["testF1Macro"] == whole.values["f1Macro"]
    assert report.progress.step == 7


def test_a_recipe_evaluates_each_sample_once(tmp_path: Path) -> None:
    """The last batch of the test data is smaller than the gang."""
    for name, count in (("train", 24), ("test", 25)):
        rows = (f"{n},{('red', 'blue')[n % 2]},{('a', 'b', 'c')[n % 3]}\n" for n in range(count))
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.csv").write_text("size,colour,kind\n" + "".join(rows))
    settings = {
        "recipe": "tabular-classification",
        "inputs": {name: str(tmp_path / name) for name in ("train", "test")},
        "of_recipe": {"target": "kind", "epochs": 1, "batchSize": 8, "validationFraction": 0},
    }
    job = Job(tmp_path, "recipe.py", 2, settings, spec={"evaluation": {"slices": ["colour"]}})
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.OK] * 2, gang.logs()
        report = exchange.read_report(gang.run_dirs[0])
    found = read_evaluation(job.output)
    assert found is not None
    assert report is not None
    test, metrics = found.data["test"], report.progress.metrics
    assert test.samples == 25
    assert test.confusion is not None
    assert [sum(row) for row in test.confusion] == [9, 8, 8], "the classes of the data"
    assert test.values["accuracy"] == metrics["testAccuracy"]
    assert test.values["logLoss"] == pytest.approx(metrics["testLoss"], rel=1e-5)
    assert test.slices is not None
    assert {name: part.samples for name, part in test.slices["colour"].items()} == {"red": 13, "blue": 12}
    right = sum(part.samples * part.values["accuracy"] for part in test.slices["colour"].values())
    assert right == pytest.approx(25 * test.values["accuracy"])


def run_with(root: Path, gates: list[dict[str, Any]], code: str = EVALUATES, **pod: Any) -> Done:
    command = [sys.executable, "-c", code]
    output = {"uri": f"file://{root}/models"}
    spec = {"trainer": {"command": command}, "evaluation": {"gates": gates}, "output": output}
    environment = pod_environment(root, spec, **pod) | {Env.SPEC_SHA256: "6" * 64}
    return RunningPod(root, environment).finish()


def test_a_model_that_passes_its_gates_is_accepted(tmp_path: Path) -> None:
    done = run_with(tmp_path, [{"metric": "testAccuracy", "atLeast": 0.75}, {"metric": "testF1.no", "atMost": 0.8}])
    assert done.exit_code == ExitCode.OK, done.log
    verdict, manifest = done.verdict, read_manifest(done)
    assert verdict.evaluation is not None
    assert verdict.evaluation.metrics["testAccuracy"] == 0.75
    assert verdict.step is None, "the code has counted none"
    assert [gate.passed for gate in verdict.evaluation.gates] == [True, True]
    assert verdict.artifact is not None
    assert verdict.artifact.accepted is manifest["accepted"] is True
    assert "evaluation.json" in [file["name"] for file in manifest["files"]]


@pytest.mark.parametrize(
    ("code", "gate", "words"),
    [
        (EVALUATES, {"metric": "testAccuracy", "atLeast": 0.9}, "testAccuracy is 0.75, at least 0.9 is asked"),
        (EVALUATES, {"metric": "testAccuracy", "atMost": 0.7}, "testAccuracy is 0.75, at most 0.7 is asked"),
        (EVALUATES, {"metric": "testAcuracy", "atLeast": 0.1}, "did you mean testAccuracy?"),
        (EVALUATES, {"metric": "testRocAuc", "atLeast": 0.1}, "the predictions are classes, without probabilities"),
        (SAVES, {"metric": "testAccuracy", "atLeast": 0.1}, "nothing was evaluated"),
        (
            "from footplate_trainer import report; report(step=1, score=0.9); report(step=2, score=float('nan'))\n"
            + SAVES,
            {"metric": "score", "atLeast": 0.1},
            "score has no value",
        ),
    ],
    ids=["too little", "too much", "no such metric", "undefined", "nothing evaluated", "reported as NaN"],
)
def test_a_gate_that_is_not_passed_keeps_the_model_as_not_accepted(
    tmp_path: Path, code: str, gate: dict[str, Any], words: str
) -> None:
    done = run_with(tmp_path, [gate], code)
    assert done.exit_code == ExitCode.GATE_NOT_PASSED, done.log
    assert done.verdict.error is not None
    assert done.verdict.error.message.startswith("the model isn't accepted: ")
    assert words in done.verdict.error.message
    assert read_manifest(done)["accepted"] is False
    again = run_with(tmp_path, [gate], "raise SystemExit('trained again')", uid="created-anew")
    assert again.exit_code == ExitCode.GATE_NOT_PASSED, "a model that is found is no better than when it was made"
    assert again.verdict.error is not None
    assert again.verdict.error.message == done.verdict.error.message
    assert not again.verdict.already_complete


def test_what_is_stored_as_not_accepted_stays_so(tmp_path: Path) -> None:
    """An attempt that died after the model was stored is followed by one that comes to other values."""
    gate = {"metric": "testAccuracy", "atLeast": 0.9}
    assert run_with(tmp_path, [gate]).exit_code == ExitCode.GATE_NOT_PASSED
    better = EVALUATES.replace("[0, 1, 1, 0]", "[0, 1, 1, 1]")
    done = run_with(tmp_path, [gate], better, attempt=1)
    assert done.exit_code == ExitCode.GATE_NOT_PASSED, done.log
    assert done.verdict.error is not None
    assert "an earlier attempt has stored it so" in done.verdict.error.message


def test_a_reported_metric_may_be_gated(tmp_path: Path) -> None:
    code = "from footplate_trainer import report; report(step=1, score=0.8)\n" + EVALUATES
    assert run_with(tmp_path, [{"metric": "score", "atLeast": 0.8}], code).exit_code == ExitCode.OK


def read_manifest(done: Done) -> dict[str, Any]:
    assert done.verdict.artifact is not None
    manifest: dict[str, Any] = json.loads(Path(done.verdict.artifact.manifest.removeprefix("file://")).read_text())
    return manifest
