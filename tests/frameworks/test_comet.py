"""`spec.tracking.comet`: offline experiments by Comet's real library, read back from its archives."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode
from offline_runs import PATIENT
from trainer_pods import Done, RunningPod, pod_environment

VENV = "comet"
pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(600)]

API_KEY = "hunter2-hunter2-hunter2"
STEPS = """
import json, os, sys, time
begin, end, then = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
with open(os.environ["FOOTPLATE_METRICS_FILE"], "a") as file:
    for step in range(begin, end):
        file.write(json.dumps({"step": step, "loss": 1 / step, "val acc(%)": step}) + "\\n")
        file.flush()
        time.sleep(0.3)
print("reported", flush=True)
if then == "wait":
    time.sleep(600)
if then == "fail":
    raise SystemExit("no")
if then == "own":
    import comet_ml
    experiment = comet_ml.start()
    experiment.log_metric("mine", 7.0, step=3)
    print("this experiment is", experiment.get_key(), flush=True)
    experiment.end()
"""


class Archive:
    """An offline experiment, as `comet upload` reads it."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.text = "".join(archive.read(name).decode() for name in archive.namelist())
            self.about: dict[str, Any] = json.loads(archive.read("experiment.json"))
            messages = [json.loads(line) for line in archive.read("messages.json").splitlines()]
        said = [(message["type"], message["payload"]) for message in messages]
        self._metrics = [payload["metric"] for kind, payload in said if kind == "metric_msg"]
        self.others = {payload["key"]: payload["value"] for kind, payload in said if kind == "log_other"}
        self.parameters = {
            payload["param"]["paramName"]: payload["param"]["paramValue"]
            for kind, payload in said
            if kind == "parameter_msg" and payload["param"]["source"] == "manual"
        }

    def points(self, metric: str) -> list[tuple[int, float]]:
        """A metric's steps and values."""
        return [(each["step"], each["metricValue"]) for each in self._metrics if each["metricName"] == metric]


class Job:
    """A job whose pods run one after the other."""

    def __init__(self, root: Path, python: str, **settings: Any) -> None:
        self.root, self.python = root, python
        self.spec: dict[str, Any] = {
            "trainer": {"hyperparameters": {"epochs": 3}},
            "checkpoint": {"uri": f"file://{root}/checkpoints/"},
            "tracking": {"comet": settings},
        }
        self.records = root / "checkpoints/digits/records-1-01234567"
        (root / "train.py").write_text(STEPS)

    def start(self, *arguments: object, attempt: int = 0, **env: str) -> RunningPod:
        words = [self.python, str(self.root / "train.py"), *map(str, arguments)]
        self.spec["trainer"] |= {"command": words}
        home = self.root / f"attempt-{attempt}"
        environment = pod_environment(home, self.spec, uid="0123456789", attempt=attempt, grace_seconds=90)
        return RunningPod(home, {**environment, **env}, python=self.python, program=("-c", PATIENT), arguments=words)

    def run(self, *arguments: object, attempt: int = 0, **env: str) -> Done:
        return self.start(*arguments, attempt=attempt, **env).finish(seconds=200)

    def stored(self) -> list[Archive]:
        """The offline experiments in storage, in the order of attempts."""
        return [Archive(path) for path in sorted((self.records / "comet").glob("*.zip"))]


def test_what_is_reported_is_an_offline_experiment(tmp_path: Path, python: str) -> None:
    job = Job(tmp_path, python, workspace="vision", project="sentiment")
    done = job.run(1, 6, "end", COMET_API_KEY=API_KEY)
    assert done.exit_code == ExitCode.OK, done.log
    (archive,) = job.stored()
    assert (archive.about["workspace"], archive.about["project_name"]) == ("vision", "sentiment")
    points = archive.points("loss")
    steps = [step for step, _ in points]
    assert steps == sorted({*steps})
    assert steps[-1] == 5
    assert points == [(step, pytest.approx(1 / step)) for step in steps]
    assert archive.points("val acc(%)") == [(step, step) for step in steps]
    assert archive.parameters == {"job.epochs": "3"}
    assert archive.others["Name"] == "digits"
    assert archive.others["footplate.job"] == "team/digits"
    assert archive.others["footplate.outcome"] == "succeeded"
    assert API_KEY not in archive.text
    (link,) = done.verdict.tracking
    assert (link.name, link.url) == ("comet", f"file://{job.records}/comet/attempt-00000000.zip")


def test_the_newest_attempts_experiment_is_whole(tmp_path: Path, python: str) -> None:
    job = Job(tmp_path, python)
    pod = job.start(1, 3, "wait")
    pod.wait_for_log("reported")
    pod.process.terminate()
    assert pod.finish(seconds=200).exit_code == ExitCode.STOPPED
    assert job.run(3, 7, "fail", attempt=1).exit_code not in (ExitCode.OK, ExitCode.STOPPED)
    first, last = job.stored()
    assert first.about["offline_id"] == last.about["offline_id"], "one experiment"
    steps = [step for step, _ in last.points("loss")]
    assert steps == sorted({*steps})
    assert steps[0] < 3, "of the attempt before"
    assert steps[-1] == 6
    assert (last.others["footplate.outcome"], last.about["project_name"]) == ("failed", "team")


def test_the_codes_own_calls_are_the_experiment(tmp_path: Path, python: str) -> None:
    job = Job(tmp_path, python, project="sentiment")
    done = job.run(1, 3, "own")
    assert done.exit_code == ExitCode.OK, done.log
    assert job.stored() == [], "what is reported is not told twice"
    (path,) = (job.records / "logs/attempt-00000000/node-00000").glob("**/*.zip")
    archive = Archive(path)
    assert f"this experiment is {archive.about['offline_id']}" in done.log
    assert (archive.points("mine"), archive.about["project_name"]) == ([(3, 7.0)], "sentiment")
