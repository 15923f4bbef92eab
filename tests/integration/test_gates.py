"""Gates on the devcluster: what a job becomes of a model that passes, that doesn't, and that is evaluated twice since
the pod was killed meanwhile.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from laptop import EXAMPLES, Laptop

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

INTERRUPTED = """
import time
from footplate_trainer import context, enter, evaluate
ctx = context()
ctx.output_dir.mkdir(parents=True, exist_ok=True)
(ctx.output_dir / "weights.txt").write_text("1")
enter("evaluating")
if ctx.attempt == 0:
    evaluate([1, 1], [0, 0], name="early")
    print("evaluating", flush=True)
    time.sleep(600)
evaluate([0, 1, 1, 1], [0, 1, 1, 1])
"""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with Laptop(tmp_path_factory.mktemp("laptop")) as laptop:
        laptop.upload(laptop.make_data("tabular"), "datasets", "wine/")
        yield laptop


def wine(name: str, *gates: dict[str, Any]) -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((EXAMPLES / "tabular/job.yaml").read_text())
    job["metadata"]["name"] = name
    job["spec"]["evaluation"] = {"gates": [*gates]}
    return job


def test_a_model_that_passes_is_accepted(laptop: Laptop) -> None:
    laptop.apply(wine("good", {"metric": "testAccuracy", "atLeast": 0.9}, {"metric": "testLoss", "atMost": 1}))
    status = laptop.wait("good")
    assert status["phase"] == "Succeeded", status
    assert status["artifact"]["accepted"] is True
    assert [gate["passed"] for gate in status["evaluation"]["gates"]] == [True, True]
    assert status["evaluation"]["metrics"]["testAccuracy"] == status["artifact"]["metrics"]["testAccuracy"]
    card = ModelCard(laptop.read(status["artifact"]["uri"] + "README.md").decode())
    results = {result.metric_name: result.metric_value for result in card.data.eval_results or ()}
    assert results["accuracy"] == status["evaluation"]["metrics"]["testAccuracy"]
    shown = laptop.footplate("status", "good")
    assert "testAccuracy" in shown


def test_a_model_is_evaluated_by_a_job_that_trains_nothing(laptop: Laptop) -> None:
    model = laptop.get("tj", "good")["status"]["artifact"]
    job = wine("again", {"metric": "testAccuracy", "atLeast": 0.9}, {"metric": "testRecall.class_1", "atLeast": 0.5})
    job["spec"]["trainer"] |= {"recipe": "evaluate", "hyperparameters": {"target": "grower", "batchSize": 10}}
    job["spec"]["inputs"] = [
        {"name": "model", "uri": model["uri"]},
        {"name": "test", "uri": "s3://datasets/wine/test/"},
    ]
    job["spec"]["nodes"] = 2
    laptop.apply(job)
    status = laptop.wait("again")
    assert status["phase"] == "Succeeded", status
    assert status["artifact"]["metrics"]["testAccuracy"] == model["metrics"]["testAccuracy"]
    files = {file["name"] for file in json.loads(laptop.read(status["artifact"]["manifest"]))["files"]}
    assert {"evaluation.json", "README.md", "plots/test-confusion.png", "plots/test-roc.png"} <= files
    assert not {"model.json", "model.safetensors"} & files


def test_a_model_that_does_not_pass_is_kept_and_not_tried_again(laptop: Laptop) -> None:
    laptop.apply(wine("bad", {"metric": "testF1.class_0", "atLeast": 0.5}, {"metric": "testAccuracy", "atMost": 0.5}))
    status = laptop.wait("bad")
    assert (status["phase"], status["reason"]) == ("Failed", "GateNotPassed"), status
    assert "the model isn't accepted: testAccuracy is " in status["message"]
    assert "at most 0.5 is asked" in status["message"]
    assert (status["failure"]["class"], status["restarts"]["total"]) == ("Permanent", 0)
    assert [gate["passed"] for gate in status["evaluation"]["gates"]] == [True, False]
    manifest = json.loads(laptop.read(status["artifact"]["manifest"]))
    assert manifest["accepted"] is status["artifact"]["accepted"] is False
    files = {file["name"] for file in manifest["files"]}
    assert {"model.safetensors", "evaluation.json", "README.md", "plots/curve-loss.png"} <= files
    assert "as not accepted" in laptop.footplate("why", "bad")


def test_an_evaluation_that_was_killed_is_done_again(laptop: Laptop, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(INTERRUPTED)
    made = laptop.kubectl("create", "configmap", "interrupted-code", f"--from-file={tmp_path / 'train.py'}")
    assert made.returncode == 0, made.stderr
    job = wine("interrupted", {"metric": "testAccuracy", "atLeast": 1})
    job["spec"]["trainer"] = {
        "image": job["spec"]["trainer"]["image"],
        "entrypoint": "train.py",
        "source": {"configMap": {"name": "interrupted-code"}},
    }
    del job["spec"]["inputs"]
    laptop.apply(job)
    until = time.monotonic() + 120
    while "evaluating\n" not in laptop.kubectl("logs", "interrupted-1-0-0").stdout:
        assert time.monotonic() < until, laptop.logs("interrupted")
        time.sleep(0.5)
    killed = laptop.kubectl("delete", "pod", "interrupted-1-0-0", "--grace-period=0", "--force")
    assert killed.returncode == 0, killed.stderr
    status = laptop.wait("interrupted")
    assert status["phase"] == "Succeeded", status
    assert status["restarts"]["infrastructure"] == 1
    evaluation = json.loads(laptop.read(status["artifact"]["uri"] + "evaluation.json"))
    assert evaluation["data"].keys() == {"test"}, "nothing of the attempt that was killed"
    assert evaluation["data"]["test"]["values"]["accuracy"] == 1
