"""`spec.tracking.mlflow` against a real MLflow server, with a supervisor in a Python that has MLflow's own client."""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
import yaml
from pyarrow import csv

from footplate.api.reports import ArtifactStatus
from footplate.api.tracking import MlflowTracking
from footplate.contract import ExitCode
from footplate.devcluster.s3 import S3Server
from footplate.records import Line
from footplate_trainer.supervisor.tracking.mlflow import FIELD, Mlflow, Subject
from footplate_trainer.supervisor.tracking.rest import Rest
from footplate_trainer.supervisor.tracking.tracker import End, TrackerTrouble
from laptop import EXAMPLES, Laptop
from mlflow_server import MlflowServer, Run, mlflow_server
from trainer_pods import Done, RunningPod, free_port, pod_environment

VENV = "mlflow"
pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(600)]

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
    raise ValueError("the loss is " + os.environ["MLFLOW_TRACKING_PASSWORD"])
if then == "die":
    os.kill(os.getpid(), 9)
if then == "save":
    with open(os.environ["FOOTPLATE_OUTPUT_DIR"] + "/model.bin", "wb") as file:
        file.write(b"weights")
if then == "log":
    import mlflow
    with mlflow.start_run():
        mlflow.log_metric("mine", 7.0, step=3)
        mlflow.log_param("epochs", "nine")
"""
HF_TRAINER = """
import os, sys
sys.path.append(os.environ["MLFLOW_PACKAGES"])
import torch
from transformers import Trainer, TrainingArguments
from footplate_trainer.integrations.transformers import FootplateCallback

class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x, labels):
        return {"loss": torch.nn.functional.mse_loss(self.layer(x), labels)}

rows = [{"x": torch.tensor([n / 64]), "labels": torch.tensor([n / 32])} for n in range(64)]
arguments = TrainingArguments(
    os.environ["FOOTPLATE_CHECKPOINT_DIR"], max_steps=30, logging_steps=10, save_strategy="no", report_to=["mlflow"]
)
Trainer(Line(), arguments, train_dataset=rows, callbacks=[FootplateCallback()]).train()
"""
SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module")
def server(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow"), python) as running:
        tracker(running, "warm").begin()  # its first answers take a while
        yield running


class Job:
    """A job whose pods run one after the other."""

    def __init__(self, root: Path, python: str, uri: str, **settings: Any) -> None:
        self.root, self.python = root, python
        self.experiment = settings.setdefault("experiment", root.name)
        self.spec: dict[str, Any] = {
            "trainer": {"hyperparameters": {"epochs": 3, "lora": {"r": 16}, "shuffle": True}},
            "tracking": {"mlflow": {"uri": uri, **settings}},
        }
        (root / "train.py").write_text(STEPS)

    def start(
        self, *arguments: object, run: int = 1, attempt: int = 0, env: Mapping[str, str] | None = None
    ) -> RunningPod:
        words = [self.python, str(self.root / "train.py"), *map(str, arguments)]
        self.spec["trainer"] |= {"command": words}
        home = self.root / f"{run}-{attempt}"
        environment = pod_environment(home, self.spec, uid=self.root.name, run=run, attempt=attempt)
        secret = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": SECRET}
        return RunningPod(home, {**environment, **secret, **(env or {})}, python=self.python, arguments=words)

    def run(self, *arguments: object, run: int = 1, attempt: int = 0, env: Mapping[str, str] | None = None) -> Done:
        return self.start(*arguments, run=run, attempt=attempt, env=env).finish(seconds=120)


@pytest.fixture
def job(tmp_path: Path, python: str, server: MlflowServer) -> Job:
    return Job(tmp_path, python, server.uri)


def last_step(run: Run, metric: str = "loss") -> int:
    """Of a metric whose points are each at a step of its own: what is reported is looked at twice a second."""
    points = run.points(metric)
    steps = [step for step, _ in points]
    assert steps == sorted(set(steps)), "ascending, and none twice"
    if metric == "loss":
        assert points == [(step, pytest.approx(1 / step)) for step in steps]
    return steps[-1]


def test_a_run_that_succeeds(job: Job, server: MlflowServer) -> None:
    done = job.run(1, 6, "log")
    assert done.exit_code == ExitCode.OK, done.log
    run = server.run(job.experiment)
    assert (run.status, run.has_ended, run.name) == ("FINISHED", True, "digits")
    assert last_step(run) == 5
    assert last_step(run, "val acc___") == 5, "what MLflow takes no name of is written otherwise"
    assert run.parameters == {"job.epochs": "3", "job.lora.r": "16", "job.shuffle": "True", "epochs": "nine"}
    assert run.points("mine") == [(3, 7.0)], "the code's own calls joined the run"
    assert run.tags["footplate.job"] == "team/digits"
    assert run.tags["footplate.uid"] == job.root.name
    assert run.tags["footplate.outcome"] == "succeeded"
    (link,) = done.verdict.tracking
    assert link.name == "mlflow"
    assert link.url.endswith(f"/runs/{run.id}")


def test_hugging_faces_trainer_logs_into_the_same_run_and_nothing_twice(
    tmp_path: Path, python: str, server: MlflowServer
) -> None:
    packages = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    job = Job(tmp_path, sys.executable, server.uri)
    (tmp_path / "train.py").write_text(HF_TRAINER)
    done = job.run(env={"MLFLOW_PACKAGES": packages.strip()})
    assert done.exit_code == ExitCode.OK, done.log
    run = server.run(job.experiment)
    assert [step for step, _ in run.points("loss")] == [10, 20, 30]
    assert run.parameters["max_steps"] == "30", "what the Trainer's own callback logs"
    assert run.parameters["job.epochs"] == "3"
    assert run.status == "FINISHED"


async def test_the_verified_model_of_a_whole_pod_is_registered(
    tmp_path: Path, python: str, server: MlflowServer
) -> None:
    job = Job(tmp_path, python, server.uri, registerAs=f"{tmp_path.name}@champion")
    job.spec["output"] = {"uri": "s3://models/whole/"}
    job.spec["inputs"] = [{"name": "train", "uri": f"file://{tmp_path}/data/"}]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rows.csv").write_text("a,b\n1,2\n")
    async with S3Server(tmp_path / "s3") as s3:
        pod = job.start(1, 3, "save", env=s3.environment)
        done = await asyncio.to_thread(pod.finish, seconds=120)
    assert done.verdict.artifact is not None, done.log
    (registered,) = versions(server, tmp_path.name)
    assert registered == ("1", done.verdict.artifact.uri, ["champion"])
    run = server.run(job.experiment)
    assert run.status == "FINISHED"
    assert run.tags["footplate.artifact"] == done.verdict.artifact.uri
    assert json.loads(run.inputs["train"]["source"]) == {"uri": f"file://{tmp_path}/data/"}
    assert len(run.inputs["train"]["digest"]) == 36


async def test_a_model_that_a_gate_refuses_is_not_registered(tmp_path: Path, python: str, server: MlflowServer) -> None:
    job = Job(tmp_path, python, server.uri, registerAs=tmp_path.name)
    job.spec |= {
        "output": {"uri": "s3://models/refused/"},
        "evaluation": {"gates": [{"metric": "loss", "atMost": 0.1}]},
    }
    async with S3Server(tmp_path / "s3") as s3:
        pod = job.start(1, 3, "save", env=s3.environment)
        done = await asyncio.to_thread(pod.finish, seconds=120)
    assert done.exit_code == ExitCode.GATE_NOT_PASSED, done.log
    assert done.verdict.artifact is not None
    assert done.verdict.artifact.accepted is False
    assert versions(server, tmp_path.name) == []
    run = server.run(job.experiment)
    assert (run.status, run.tags["footplate.outcome"]) == ("FAILED", "failed")
    assert run.tags["footplate.error"] == "the model isn't accepted: loss is 0.5, at most 0.1 is asked"
    assert run.tags["footplate.artifact"] == done.verdict.artifact.uri, "it is kept"


def test_a_run_that_fails(job: Job, server: MlflowServer) -> None:
    done = job.run(1, 3, "fail")
    assert done.exit_code not in (ExitCode.OK, ExitCode.STOPPED)
    run = server.run(job.experiment)
    assert run.status == "FAILED"
    assert last_step(run) == 2
    assert "the loss is ***" in run.tags["footplate.error"], "and no secret"


def test_a_program_that_is_killed(job: Job, server: MlflowServer) -> None:
    job.run(1, 2, "die")
    run = server.run(job.experiment)
    assert run.status == "FAILED"
    assert "SIGKILL" in run.tags["footplate.error"]


def test_a_run_that_is_suspended_goes_on_as_the_same(job: Job, server: MlflowServer) -> None:
    pod = job.start(1, 5, "wait")
    pod.wait_for_log("reported")
    pod.process.terminate()
    assert pod.finish().exit_code == ExitCode.STOPPED
    run = server.run(job.experiment)
    assert run.status == "KILLED"
    assert last_step(run) == 4
    assert job.run(3, 8, "end", attempt=1).exit_code == ExitCode.OK
    run = server.run(job.experiment)
    assert run.status == "FINISHED"
    assert last_step(run) == 7, "steps 3 and 4, done again, are there once"
    assert run.tags["footplate.attempt"] == "1"


def test_a_pod_that_is_killed_leaves_a_run_that_the_next_attempt_takes_up(job: Job, server: MlflowServer) -> None:
    pod = job.start(1, 5, "wait")

    def told() -> bool | None:
        runs = server.runs(job.experiment)
        return True if runs and server.run(job.experiment).points("loss") else None

    pod.wait_for(told)
    pod.kill()
    assert server.run(job.experiment).status == "RUNNING", "nobody is left to say more"
    assert job.run(2, 7, "end", attempt=1).exit_code == ExitCode.OK
    run = server.run(job.experiment)
    assert run.status == "FINISHED"
    assert last_step(run) == 6


def test_a_run_that_nobody_could_end_is_ended_by_the_next_run_of_the_job(job: Job, server: MlflowServer) -> None:
    pod = job.start(1, 3, "wait")
    pod.wait_for(lambda: server.runs(job.experiment) or None)
    pod.kill()
    (left,) = server.runs(job.experiment)
    assert left["info"]["status"] == "RUNNING"
    assert job.run(1, 3, "end", run=2).exit_code == ExitCode.OK
    states = {run["info"]["run_name"]: run["info"]["status"] for run in server.runs(job.experiment)}
    assert states == {"digits": "FAILED", "digits-2": "FINISHED"}


def test_a_run_that_is_deleted_meanwhile_costs_a_note_and_the_next_attempt_begins_another(
    job: Job, server: MlflowServer
) -> None:
    pod = job.start(1, 30, "end")
    pod.wait_for(lambda: server.runs(job.experiment) or None)
    server.post("runs/delete", run_id=server.run(job.experiment).id)
    done = pod.finish(seconds=120)
    assert done.exit_code == ExitCode.OK, done.log
    assert any("must be in the 'active' state" in note for note in done.verdict.notes)
    assert job.run(1, 3, "end", attempt=1).exit_code == ExitCode.OK
    run = server.run(job.experiment)
    assert (run.status, last_step(run)) == ("FINISHED", 2)


def test_a_server_that_comes_late_is_told_all(tmp_path: Path, python: str) -> None:
    port = free_port()
    job = Job(tmp_path, python, f"http://127.0.0.1:{port}")
    pod = job.start(1, 4, "wait")
    pod.wait_for_log("reported")
    with mlflow_server(tmp_path, python, port=port) as server:
        pod.wait_for(lambda: server.runs(job.experiment) or None, seconds=120)
        pod.process.terminate()
        done = pod.finish()
        run = server.run(job.experiment)
        assert last_step(run) == 3
    assert run.status == "KILLED"
    note = done.verdict.notes[0]
    assert "mlflow isn't told of this run for now" in note
    assert "Connection refused" in note


def test_a_server_that_refuses_our_name_for_it_is_explained(tmp_path: Path, python: str) -> None:
    with mlflow_server(tmp_path, python, "--allowed-hosts", "mlflow.example.com") as server:
        done = Job(tmp_path, python, server.uri).run(1, 2, "end")
    assert done.exit_code == ExitCode.OK
    assert "--allowed-hosts" in done.verdict.notes[0]


def test_a_runs_own_number_and_settings_of_ones_own(job: Job, server: MlflowServer) -> None:
    """Where the job's variables say otherwise, the code goes its own way."""
    pod = job.start(1, 2, "log", env={"MLFLOW_RUN_ID": "", "MLFLOW_EXPERIMENT_ID": "0"})
    assert pod.finish(seconds=120).exit_code == ExitCode.OK
    assert server.run(job.experiment).points("mine") == []


def test_the_example_in_a_cluster(server: MlflowServer, tmp_path: Path) -> None:
    """From the manifest over the operator to the job's status, and back from what the pods say."""
    manifest = yaml.safe_load((EXAMPLES / "digits/tracked.yaml").read_text())
    manifest["spec"]["trainer"]["hyperparameters"]["epochs"] = 2
    settings = manifest["spec"]["tracking"]["mlflow"]
    settings |= {"uri": server.uri, "experiment": tmp_path.name, "secretRef": {"name": "mlflow"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mlflow"}, "data": {
        "MLFLOW_TRACKING_TOKEN": base64.b64encode(SECRET.encode()).decode()}}  # fmt: skip
    with Laptop(tmp_path) as laptop:
        laptop.upload(laptop.make_data("digits"), "datasets", "digits/")
        laptop.apply(secret, manifest)
        status = laptop.wait("digits-tracked")
        shown = laptop.footplate("status", "digits-tracked")
    assert status["phase"] == "Succeeded", status
    links = {run["name"]: run["url"] for run in status["tracking"]}
    run = server.run(tmp_path.name)
    assert links["mlflow"].endswith(f"/runs/{run.id}")
    assert links["tensorboard"].startswith("s3://models/digits-tracked/digits-tracked/records-1-")
    assert links["mlflow"] in shown
    assert (run.status, run.name) == ("FINISHED", "digits-tracked")
    assert run.parameters == {"epochs": "2", "batchSize": "64", "learningRate": "0.003"}
    assert run.points("testAccuracy")
    assert versions(server, "digits") == [("1", status["artifact"]["uri"], ["champion"])]


def test_delta_in_and_mlflow_out(server: MlflowServer, wine: Path, tmp_path: Path) -> None:
    """As a team that has its tables in Delta Lake and its models in MLflow uses it, with no word of either in code."""
    table = csv.read_csv(wine / "train/wine.csv")
    nobody = table.set_column(table.num_columns - 1, "grower", pa.array(["nobody"] * len(table)))
    deltalake.write_deltalake(tmp_path / "table", nobody)
    deltalake.write_deltalake(tmp_path / "table", table, mode="overwrite")
    manifest = yaml.safe_load((EXAMPLES / "tabular/job.yaml").read_text())
    manifest["spec"]["inputs"][0]["uri"] = "s3://datasets/wine-delta/"
    manifest["spec"]["tracking"] = {
        "mlflow": {"uri": server.uri, "experiment": tmp_path.name, "registerAs": f"{tmp_path.name}@champion"}
    }
    with Laptop(tmp_path / "home", nodes=1) as laptop:
        laptop.upload(tmp_path / "table", "datasets", "wine-delta/")
        laptop.upload(wine / "test", "datasets", "wine/test/")
        laptop.apply(manifest)
        status = laptop.wait("wine")
    assert status["phase"] == "Succeeded", status
    run = server.run(tmp_path.name)
    assert (run.status, run.parameters["target"]) == ("FINISHED", "grower")
    ((_, accuracy),) = run.points("testAccuracy")
    assert accuracy == pytest.approx(status["evaluation"]["metrics"]["testAccuracy"])
    assert json.loads(run.inputs["train"]["source"]) == {"path": "s3://datasets/wine-delta/", "delta_table_version": 1}
    assert versions(server, tmp_path.name) == [("1", status["artifact"]["uri"], ["champion"])]


def tracker(server: MlflowServer, name: str, *, uid: str = "uid-1", register_as: str | None = None) -> Mlflow:
    settings = MlflowTracking(uri=server.uri, experiment=name, register_as=register_as)
    subject = Subject(namespace="team", job="digits", uid=uid, run=1, attempt=0, image="trainer:1", parameters={})
    return Mlflow(settings, subject, Rest(server.uri, field=FIELD, headers=dict))


def model(uri: str = "s3://models/digits/1", sha256: str = "a" * 64) -> ArtifactStatus:
    return ArtifactStatus(uri=uri, manifest=f"{uri}/manifest.json", sha256=sha256, size_bytes=1)


def versions(server: MlflowServer, name: str) -> list[tuple[str, str, list[str]]]:
    found = server.get("model-versions/search", filter=f"name = '{name}'").get("model_versions", ())
    whole = [server.get("model-versions/get", name=name, version=each["version"])["model_version"] for each in found]
    return sorted((each["version"], each["source"], each.get("aliases", [])) for each in whole)


def test_a_verified_model_is_registered_once_with_its_alias(server: MlflowServer, tmp_path: Path) -> None:
    name = f"model {tmp_path.name}"
    run = tracker(server, tmp_path.name, register_as=f"{name}@champion")
    run.begin()
    for _ in range(2):  # an answer may be lost
        run.end(End("succeeded", artifact=model()))
    assert versions(server, name) == [("1", "s3://models/digits/1", ["champion"])]
    tags = server.run(tmp_path.name).tags
    assert tags["footplate.artifact"] == "s3://models/digits/1"
    later = tracker(server, tmp_path.name, uid="uid-2", register_as=f"{name}@champion")
    later.begin()
    later.end(End("succeeded", artifact=model("s3://models/digits/2", "b" * 64)))
    assert [aliases for _, _, aliases in versions(server, name)] == [[], ["champion"]]
    again = tracker(server, tmp_path.name, uid="uid-3", register_as=f"{name}@champion")
    again.begin()
    again.end(End("succeeded", artifact=model()))  # a job created again finds the model of the first
    assert [aliases for _, _, aliases in versions(server, name)] == [[], ["champion"]], "its alias stays where it is"


@pytest.mark.parametrize(
    "end", [End("failed", "gate", model()), End("stopped", artifact=model()), End("succeeded")], ids=str
)
def test_nothing_else_is_registered(server: MlflowServer, tmp_path: Path, end: End) -> None:
    run = tracker(server, tmp_path.name, register_as=tmp_path.name)
    run.begin()
    run.end(end)
    assert versions(server, tmp_path.name) == []


def test_a_source_that_mlflow_refuses_leaves_a_run_that_has_ended(server: MlflowServer, tmp_path: Path) -> None:
    run = tracker(server, tmp_path.name, register_as=tmp_path.name)
    run.begin()
    with pytest.raises(TrackerTrouble, match="source"):
        run.end(End("succeeded", artifact=model("file:///models/digits/1")))
    assert server.run(tmp_path.name).status == "FINISHED"
    assert versions(server, tmp_path.name) == []


def test_without_an_alias_of_its_own_it_is_accepted(server: MlflowServer, tmp_path: Path) -> None:
    run = tracker(server, tmp_path.name, register_as=tmp_path.name)
    run.begin()
    run.end(End("succeeded", artifact=model()))
    assert versions(server, tmp_path.name) == [("1", "s3://models/digits/1", ["accepted"])]


def test_a_backlog_is_sent_in_parts_and_twice_is_once(server: MlflowServer, tmp_path: Path) -> None:
    run = tracker(server, tmp_path.name)
    run.begin()
    lines = [Line(1e9 + step, step, None, {"loss": 1.0, "acc": 0.5, "lr": 1e-3}) for step in range(500)]
    run.send(lines)
    other = tracker(server, tmp_path.name)
    other._run = run._run
    other.send(lines)  # as after an answer that was lost
    run.send(lines)
    told = server.run(tmp_path.name)
    assert [len(told.points(name)) for name in ("loss", "acc", "lr")] == [500, 500, 500]


def test_the_servers_own_words_tell_what_is_wrong(server: MlflowServer, tmp_path: Path) -> None:
    run = tracker(server, tmp_path.name)
    run.begin()
    server.post("runs/delete", run_id=run._run)
    with pytest.raises(TrackerTrouble, match="active"):
        run.send([Line(1e9, 1, None, {"loss": 1.0})])
    assert json.dumps(run.url)
