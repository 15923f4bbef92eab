"""The life of a job through the `footplate` command, on one devcluster: submitted, failed, gone on, done, and gone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from footplate.cli.main import app
from laptop import Laptop

pytestmark = pytest.mark.integration

PROGRAM = """\
import json, os, time
with open(os.environ["FOOTPLATE_METRICS_FILE"], "a") as file:
    for step in range(1, 7):
        file.write(json.dumps({"step": step, "total_steps": 6, "loss": 1 / step}) + "\\n")
        file.flush()
        print(f"step {step} \\x1b]0;owned\\x07", flush=True)
        if step == 3 and os.environ["FOOTPLATE_ATTEMPT"] == "0":
            raise ValueError("no room for step 4")
        time.sleep(0.3)
open(os.environ["FOOTPLATE_OUTPUT_DIR"] + "/model.txt", "w").write("a model")
"""
JOB = {
    "apiVersion": "footplate.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "lived", "labels": {"team": "vision"}},
    "spec": {
        "trainer": {"image": "i", "command": ["python", "-c", PROGRAM]},
        "checkpoint": {"uri": "s3://checkpoints/lived/"},
        "output": {"uri": "s3://models/lived/"},
        "storage": {"secretRef": {"name": "s3"}},
        "runPolicy": {"restartBackoffSeconds": 1},
    },
}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with Laptop(tmp_path_factory.mktemp("home"), nodes=1) as laptop:
        yield laptop


def test_a_jobs_life(laptop: Laptop, tmp_path: Path) -> None:
    def footplate(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env={"KUBECONFIG": str(laptop.home / "kubeconfig")})

    def said(*arguments: str) -> str:
        result = footplate(*arguments)
        assert result.exit_code == 0, f"{arguments}: {result.output}"
        assert "\x1b" not in result.stdout
        return result.stdout

    (tmp_path / "job.json").write_text(json.dumps(JOB))
    submitted = said("submit", str(tmp_path / "job.json"), "--follow")
    assert "takes       1 node, 1 rank" in submitted
    assert "step 6" in submitted
    assert "s3://models/lived/" in submitted.splitlines()[-2]
    assert footplate("submit", str(tmp_path / "job.json")).exit_code == 1

    assert said("wait", "lived") == "lived has succeeded\n"
    assert footplate("wait", "live").stderr.endswith("did you mean lived?\n")
    assert said("list", "-l", "team=vision", "-o", "name") == "trainingjob.footplate.dev/lived\n"
    assert said("list", "--phase", "failed").startswith("no jobs")
    shown = said("status", "lived")
    assert "run 1, attempt 1   Succeeded   1 restart" in shown
    assert "step 6/6" in shown
    assert said("why", "lived").startswith("It has succeeded.")
    assert said("metrics", "lived", "loss").startswith("loss   0.1667   (0.1667 … ")
    assert said("top").endswith("no job holds or awaits any\n")

    assert laptop.kubectl("delete", "pods", "--all", "--wait").returncode == 0  # from here on storage speaks
    assert "ValueError: no room for step 4" in said("logs", "lived", "--failed")
    assert "step 6" in said("logs", "lived", "--all")
    head, *rows = said("metrics", "lived", "--csv").splitlines()
    assert head == "step,time,loss"
    assert [row.split(",")[0] for row in rows][-1] == "6"
    assert said("checkpoints", "lived") == "lived has saved nothing yet\n"
    assert "model.txt" in said("artifact", "verify", "lived")
    said("artifact", "get", "lived", str(tmp_path / "model"))
    assert (tmp_path / "model" / "model.txt").read_text() == "a model"
    assert "nothing to suspend" in footplate("suspend", "lived").stderr

    said("report", "lived", str(tmp_path / "report.zip"))
    assert (tmp_path / "report.zip").stat().st_size
    said("cancel", "lived", "--yes")
    assert footplate("status", "lived").exit_code == 1
