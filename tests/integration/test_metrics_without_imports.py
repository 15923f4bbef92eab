"""Whole pods whose code says how far it is without a call of ours, or from a process that isn't a rank's."""

import sys
from pathlib import Path
from typing import Any

import pytest

from trainer_pods import Done, RunningPod, pod_environment

pytestmark = pytest.mark.integration

THREE_WAYS = """
import json, os, urllib.request
with open(os.environ["FOOTPLATE_METRICS_FILE"], "a") as lines:
    lines.write('{"step": 40, "totalSteps": 80, "loss": 0.25}\\nnonsense\\n')
print("[eval] f1=0.75 after 3 epochs", flush=True)
status = {"trainerStatus": {"progressPercentage": 42, "metrics": [{"name": "lr", "value": "0.5"}]}}
token = open(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read()
url, headers = os.environ["KUBEFLOW_TRAINER_SERVER_URL"], {"Authorization": "Bearer " + token}
urllib.request.urlopen(urllib.request.Request(url, json.dumps(status).encode(), headers))
"""
REPORT = "from footplate_trainer import report\nreport(step=7, loss=0.5)\nprint('reported')"
WITHOUT_TORCH = f"import sys\nsys.modules['torch'] = None\n{REPORT}"


def command(code: str, **trainer: Any) -> dict[str, Any]:
    return {"trainer": {"command": [sys.executable, "-c", code], **trainer}}


def run(root: Path, spec: dict[str, Any], **pod: Any) -> Done:
    return RunningPod(root, pod_environment(root, spec, **pod)).finish()


def test_a_file_a_request_and_the_log_are_heard(tmp_path: Path) -> None:
    definitions = [{"name": "f1", "regex": r"f1=([0-9.]+)"}, {"name": "epoch", "regex": r"after (\d+) epochs"}]
    done = run(tmp_path, command(THREE_WAYS, metricDefinitions=definitions))
    progress = done.verdict.progress
    assert progress is not None
    assert (done.exit_code, done.verdict.step, progress.epoch, progress.percent) == (0, 40, 3, 42.0)
    assert done.verdict.metrics == {"loss": 0.25, "f1": 0.75, "lr": 0.5}
    assert len(done.verdict.notes) == 1
    assert "$FOOTPLATE_METRICS_FILE" in done.verdict.notes[0]


@pytest.mark.parametrize("code", [REPORT, WITHOUT_TORCH], ids=["with torch", "in an image without"])
def test_report_works_in_a_commands_process(tmp_path: Path, code: str) -> None:
    done = run(tmp_path, command(code))
    assert (done.exit_code, done.verdict.step, done.verdict.metrics) == (0, 7, {"loss": 0.5})
    assert "nobody takes" not in done.log


def test_code_that_never_reports_has_no_step(tmp_path: Path) -> None:
    done = run(tmp_path, {"trainer": {"entrypoint": "train.py"}}, files={"train.py": "print('done')"})
    assert (done.exit_code, done.verdict.step) == (0, None)
