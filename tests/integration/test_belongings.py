"""Nothing that a real pod leaves is lost: its log, its code's logs, and files beside the output folder."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from footplate.api.reports import CurveStatus
from trainer_pods import Done, RunningPod, pod_environment

pytestmark = pytest.mark.integration

LEAVE = """
import os, pathlib, sys
with open(os.environ["FOOTPLATE_METRICS_FILE"], "a") as lines:
    lines.write('{"step": 4, "accuracy": 0.93}\\n')
print("accuracy 0.93, key", os.environ["WANDB_API_KEY"], flush=True)
for name in ("best.pt", "runs/a/events", os.environ["FOOTPLATE_LOGS_DIR"] + "/own.log"):
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(name).write_text(name)
"""
SAVE = LEAVE + "pathlib.Path(os.environ['FOOTPLATE_OUTPUT_DIR'], 'model.bin').write_text('weights')\n"
FAIL = SAVE + "sys.exit(3)"


def run(root: Path, code: str, *, spec_sha256: str = "", **pod: Any) -> Done:
    trainer = {"command": [sys.executable, "-c", code], "workingDir": str(root / "app")}
    spec = {"trainer": trainer, "output": {"uri": f"file://{root}/models/"}}
    (root / "app").mkdir(exist_ok=True)
    environment = pod_environment(root, spec, **pod)
    (root / "home").mkdir(exist_ok=True)
    more = {"HOME": str(root / "home"), "WANDB_API_KEY": "very-secret", "FOOTPLATE_SPEC_SHA256": spec_sha256}
    return RunningPod(root, {**environment, **more}).finish()


def records(root: Path) -> dict[str, bytes]:
    folder = root / "models/digits/records-1-uid-1"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


HERE = "attempt-00000000/node-00000"
METRICS = "metrics/attempt-00000000.jsonl"
LOGS = {
    f"logs/{HERE}/own.log",
    f"logs/{HERE}/runs/a/events",
    f"pods/{HERE}.log.gz",
    f"{METRICS}.gz",
}


def test_files_beside_the_output_folder_are_kept_though_they_are_no_model(tmp_path: Path) -> None:
    done = run(tmp_path, LEAVE)
    assert (done.exit_code, done.verdict.artifact) == (78, None), done.log
    assert done.verdict.error is not None
    assert "What it has saved elsewhere is kept: a note says where" in done.verdict.error.message
    kept = records(tmp_path)
    assert kept.keys() == {*LOGS, f"unclaimed/{HERE}/work/best.pt"}
    log = gzip.decompress(kept[f"pods/{HERE}.log.gz"])
    assert b"accuracy 0.93, key ***\n" in log
    assert b"training starts" in log
    line = json.loads(gzip.decompress(kept[f"{METRICS}.gz"]))
    assert (line["step"], line["metrics"]) == (4, {"accuracy": 0.93})
    assert done.verdict.progress is not None
    assert done.verdict.progress.history == CurveStatus(steps=[4], metrics={"accuracy": [0.93]})
    assert any("work/best.pt; what is to be the model, save in $FOOTPLATE_OUTPUT_DIR" in n for n in done.verdict.notes)


def test_a_failure_loses_neither_logs_nor_files(tmp_path: Path) -> None:
    done = run(tmp_path, FAIL)
    assert done.exit_code == 3
    unclaimed = f"unclaimed/{HERE}"
    assert records(tmp_path).keys() == {*LOGS, f"{unclaimed}/work/best.pt", f"{unclaimed}/output/model.bin"}
    (beside,) = [note for note in done.verdict.notes if "saved where no model is looked for" in note]
    (left,) = [note for note in done.verdict.notes if "when the pod failed" in note]
    assert ("work/best.pt;" in beside, "output/" in beside) == (True, False)
    assert left.endswith("node-00000/: output/model.bin")


def test_a_pod_that_comes_to_no_training_leaves_its_log(tmp_path: Path) -> None:
    spec = {
        "trainer": {"entrypoint": "train.py", "source": {"uri": f"file://{tmp_path}/gone.py"}},
        "output": {"uri": f"file://{tmp_path}/models/"},
    }
    done = RunningPod(tmp_path, pod_environment(tmp_path, spec)).finish()
    assert done.exit_code == 65, done.log
    kept = records(tmp_path)
    assert kept.keys() == {f"pods/{HERE}.log.gz"}
    assert b"gone.py does not exist" in gzip.decompress(kept[f"pods/{HERE}.log.gz"])


def test_a_job_that_is_created_over_and_over_leaves_no_more_in_storage(tmp_path: Path) -> None:
    first = run(tmp_path, SAVE, spec_sha256="5" * 64)
    assert first.exit_code == 0, first.log
    stored = {path for path in (tmp_path / "models").rglob("*") if path.is_file()}
    for uid in ("again", "and-again"):
        done = run(tmp_path, SAVE, spec_sha256="5" * 64, uid=uid)
        assert (done.exit_code, done.verdict.already_complete) == (0, True), done.log
    assert {path for path in (tmp_path / "models").rglob("*") if path.is_file()} == stored


def test_a_pod_that_is_killed_has_left_its_log_and_its_metrics(tmp_path: Path) -> None:
    code = LEAVE + "import time; time.sleep(600)"
    spec = {
        "trainer": {"command": [sys.executable, "-c", code]},
        "checkpoint": {"uri": f"file://{tmp_path}/models/"},
    }
    environment = {**pod_environment(tmp_path, spec), "WANDB_API_KEY": "very-secret"}
    soon = "import sys; from footplate_trainer.supervisor.history import history; history.SEND_SECONDS = 0.5; "
    run_it = f"{soon}from footplate_trainer.__main__ import main; sys.exit(main())"
    started = RunningPod(tmp_path, environment, program=["-c", run_it])
    parts = {f"pods/{HERE}.log.part-000000.gz", f"{METRICS}.part-000000.gz"}
    started.wait_for(lambda: True if parts <= records(tmp_path).keys() else None)
    started.kill()
    left = records(tmp_path)
    assert b"accuracy 0.93, key ***\n" in gzip.decompress(left[f"pods/{HERE}.log.part-000000.gz"])
    assert b'"accuracy":0.93' in gzip.decompress(left[f"{METRICS}.part-000000.gz"])


def test_storage_that_takes_no_records_costs_neither_model_nor_verdict(tmp_path: Path) -> None:
    (tmp_path / "models/digits").mkdir(parents=True)
    (tmp_path / "models/digits/records-1-uid-1").write_text("no folder")
    done = run(tmp_path, SAVE)
    assert done.exit_code == 0, done.log
    assert done.verdict.artifact is not None
    assert any("not all that node 0 has left could be kept" in note for note in done.verdict.notes)
    model = json.loads((tmp_path / "models/digits/1/manifest.json").read_text())
    assert [file["name"] for file in model["files"]] == ["model.bin", "metrics.parquet"]
