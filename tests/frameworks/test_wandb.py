"""`spec.tracking.wandb`: offline runs by W&B's real library, read back from its files by its own protobuf."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode
from offline_runs import PATIENT
from trainer_pods import Done, RunningPod, pod_environment

VENV = "wandb"
pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(600)]

STEPS = """
import json, os, sys, time
begin, end, then = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
with open(os.environ["FOOTPLATE_METRICS_FILE"], "a") as file:
    for step in range(begin, end):
        file.write(json.dumps({"step": step, "loss": 1 / step}) + "\\n")
        file.flush()
        time.sleep(0.3)
print("reported", flush=True)
if then == "wait":
    time.sleep(600)
if then == "fail":
    raise SystemExit("no")
if then == "own":
    import wandb
    with wandb.init() as run:
        run.log({"mine": 7.0}, step=3)
        print("this run is", run.id, run.project, flush=True)
"""

READ = """
import json, struct, sys
from wandb.proto import wandb_internal_pb2 as pb

def records(data):
    offset, parts = 7, b""  # LevelDB's log, after W&B's own seven bytes
    while offset + 7 <= len(data):
        if 32768 - offset % 32768 < 7:
            offset += 32768 - offset % 32768
            continue
        _, size, kind = struct.unpack_from("<IHB", data, offset)
        parts += data[offset + 7 : offset + 7 + size]
        offset += 7 + size
        if kind in (1, 4):
            yield parts
            parts = b""

def value(item):
    return json.loads(item.value_json) if item.value_json else item.number or item.integer

said = {"rows": [], "config": {}}
for data in records(open(sys.argv[1], "rb").read()):
    record = pb.Record.FromString(data)
    kind = record.WhichOneof("record_type")
    if kind == "history":
        row = {item.key or item.nested_key[0]: value(item) for item in record.history.item}
        said["rows"].append([record.history.step.num, row.get("loss"), row.get("mine"), row.get("_timestamp")])
    if kind == "run":
        said |= {"id": record.run.run_id, "project": record.run.project, "name": record.run.display_name}
        said["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    if kind == "exit":
        said["exit"] = record.exit.exit_code
print(json.dumps(said))
"""


class Job:
    """A job whose pods run one after the other."""

    def __init__(self, root: Path, python: str, **settings: Any) -> None:
        self.root, self.python = root, python
        self.spec: dict[str, Any] = {
            "trainer": {"hyperparameters": {"epochs": 3}},
            "checkpoint": {"uri": f"file://{root}/checkpoints/"},
            "tracking": {"wandb": settings},
        }
        (root / "train.py").write_text(STEPS)

    def start(self, *arguments: object, attempt: int = 0) -> RunningPod:
        words = [self.python, str(self.root / "train.py"), *map(str, arguments)]
        self.spec["trainer"] |= {"command": words}
        home = self.root / f"attempt-{attempt}"
        environment = pod_environment(home, self.spec, uid="0123456789", attempt=attempt, grace_seconds=90)
        return RunningPod(home, environment, python=self.python, program=("-c", PATIENT), arguments=words)

    def run(self, *arguments: object, attempt: int = 0) -> Done:
        return self.start(*arguments, attempt=attempt).finish(seconds=200)

    def stored(self) -> list[dict[str, Any]]:
        """The offline runs in storage, in the order in which they were written."""
        folder = self.root / "checkpoints/digits/records-1-01234567/wandb"
        return [self.read(path) for path in sorted(folder.glob("offline-run-*/run-*.wandb"))]

    def read(self, path: Path) -> dict[str, Any]:
        """What W&B's file says."""
        done = subprocess.run([self.python, "-c", READ, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said


def test_what_is_reported_is_an_offline_run(tmp_path: Path, python: str) -> None:
    job = Job(tmp_path, python, project="sentiment")
    done = job.run(1, 6, "end")
    assert done.exit_code == ExitCode.OK, done.log
    (run,) = job.stored()
    assert (run["id"], run["project"], run["name"], run["exit"]) == ("digits-1-01234567", "sentiment", "digits", 0)
    steps = [step for step, *_ in run["rows"]]
    assert steps == sorted({*steps})
    assert steps[-1] == 5
    assert [loss for _, loss, *_ in run["rows"]] == [pytest.approx(1 / step) for step in steps]
    assert all(time > 1e9 for *_, time in run["rows"])
    assert run["config"]["job.epochs"] == "3"
    assert run["config"]["footplate"]["job"] == "team/digits"
    (link,) = done.verdict.tracking
    assert link.name == "wandb"
    assert link.url.startswith(f"file://{tmp_path}/checkpoints/digits/records-1-01234567/wandb/offline-run-")


def test_the_newest_attempts_run_is_whole(tmp_path: Path, python: str) -> None:
    job = Job(tmp_path, python)
    pod = job.start(1, 3, "wait")
    pod.wait_for_log("reported")
    pod.process.terminate()
    assert pod.finish(seconds=200).exit_code == ExitCode.STOPPED
    assert job.run(3, 7, "fail", attempt=1).exit_code not in (ExitCode.OK, ExitCode.STOPPED)
    run = job.stored()[-1]
    steps = [step for step, *_ in run["rows"]]
    assert steps == sorted({*steps})
    assert steps[0] < 3, "of the attempt before"
    assert steps[-1] == 6
    assert (run["exit"], run["project"]) == (1, "team")


def test_the_codes_own_calls_are_the_run(tmp_path: Path, python: str) -> None:
    job = Job(tmp_path, python, project="sentiment")
    done = job.run(1, 3, "own")
    assert done.exit_code == ExitCode.OK, done.log
    assert "this run is digits-1-01234567 sentiment" in done.log
    assert job.stored() == [], "a run has one writer"
    kept = tmp_path / "checkpoints/digits/records-1-01234567/logs/attempt-00000000/node-00000"
    (path,) = kept.glob("**/run-digits-1-01234567.wandb")
    assert [(step, mine) for step, _, mine, _ in job.read(path)["rows"]] == [(3, 7.0)]
