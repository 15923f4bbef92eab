"""Code that imports nothing of ours, by real kubelets: its folders, its names, its checkpoints, what it requires."""

import json
from pathlib import Path

import pytest

from e2e import jobs
from e2e.cluster import TRAINER_IMAGE
from e2e.site import ClusterSite
from realcluster.user import User
from wheels import make_wheel

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

JOB_SECONDS = 300
STORAGE = {"secretRef": {"name": "s3"}}
LOOK = """
import getpass, json, os, pathlib, socket, time
def resolves(name):
    try:
        return bool(socket.gethostbyname(name))
    except socket.gaierror:  # a pod has its name some seconds after its start: libraries try again
        return False
while not resolves(os.environ["MASTER_ADDR"]):
    time.sleep(1)
places = [pathlib.Path(os.environ[f"FOOTPLATE_{name}_DIR"]) for name in ("CHECKPOINT", "OUTPUT", "LOGS", "WORK")]
for place in [pathlib.Path.cwd(), pathlib.Path.home(), *places]:
    (place / "written").write_text("x")
names = ("RANK", "WORLD_SIZE", "SM_HOSTS")
seen = {name: os.environ[name] for name in names} | {"user": getpass.getuser(), "code": os.path.exists("train.py")}
print("seen", json.dumps(seen), flush=True)
"""
SAGEMAKER = """
import json, pathlib, sys
hyperparameters = json.loads(pathlib.Path("/opt/ml/input/config/hyperparameters.json").read_text())
assert sys.argv[1:] == ["--epochs", "5"], sys.argv
pathlib.Path("/opt/ml/model/model.txt").write_text(hyperparameters["epochs"])
pathlib.Path("/opt/ml/output/data/curve.csv").write_text("1,2")
"""
COUNT = """
import os, pathlib, signal, sys, time
file = pathlib.Path("/opt/ml/checkpoints/count")
count = int(file.read_text()) if file.exists() else 0
print("begins at", count, flush=True)
def stop(*_):
    file.write_text(str(count + 7))
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
if count:
    sys.exit(0)
print("waits", flush=True)
time.sleep(600)
"""
REQUIRES = """
import os, pathlib
import greet, torch
pathlib.Path(os.environ["FOOTPLATE_OUTPUT_DIR"], "said.txt").write_text(f"{greet.VERSION} {torch.ones(1).item()}")
"""


def finish(user: User, name: str) -> None:
    status = user.wait(name, "condition=Finished", seconds=JOB_SECONDS)
    assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0), json.dumps(status.get("failure"))


def test_a_bare_command_has_its_folders_and_its_place(team: ClusterSite) -> None:
    jobs.code(team, "bare-code", LOOK)
    trainer = {"command": ["python", "train.py"], "source": {"configMap": {"name": "bare-code"}}}
    team.apply(jobs.job("bare", trainer, nodes=2))
    finish(team, "bare")
    for rank in range(2):
        log = team.kubectl("logs", f"bare-1-0-{rank}").stdout
        seen = json.loads(log.partition("seen ")[2].splitlines()[0])
        assert (seen["RANK"], seen["WORLD_SIZE"], len(json.loads(seen["SM_HOSTS"]))) == (str(rank), "2", 2)
        assert (seen["user"], seen["code"]) == ("footplate", True)


def test_what_sagemaker_has_in_opt_ml_is_there(team: ClusterSite) -> None:
    jobs.code(team, "opt-ml-code", SAGEMAKER)
    trainer = {
        "command": ["python", "train.py"],
        "source": {"configMap": {"name": "opt-ml-code"}},
        "hyperparameters": {"epochs": 5},
        "hyperparameterArgs": True,
    }
    team.apply(jobs.job("opt-ml", trainer, output={"uri": "s3://models/"}, storage=STORAGE))
    finish(team, "opt-ml")
    assert team.read("s3://models/opt-ml/1/model.txt") == b"5"
    assert team.read("s3://models/opt-ml/1/data/curve.csv") == b"1,2"


def test_what_code_leaves_in_its_checkpoint_folder_is_there_after_a_suspension(team: ClusterSite) -> None:
    jobs.code(team, "counts-code", COUNT)
    trainer = {"command": ["python", "train.py"], "source": {"configMap": {"name": "counts-code"}}}
    team.apply(jobs.job("counts", trainer, checkpoint={"uri": "s3://checkpoints/counts/"}, storage=STORAGE))
    team.until(
        lambda: team.kubectl("logs", "counts-1-0-0", check=False).stdout, lambda log: "waits" in log, seconds=120
    )
    team.kubectl("patch", "tj", "counts", "--type=merge", "-p", '{"spec":{"runPolicy":{"suspend":true}}}')
    suspended = team.wait("counts", "condition=Suspended")
    assert "/snapshots/" in suspended["checkpoint"]["uri"]
    team.kubectl("patch", "tj", "counts", "--type=merge", "-p", '{"spec":{"runPolicy":{"suspend":false}}}')
    finish(team, "counts")
    [pod] = [name for name in team.names("pods", "counts") if name.startswith("counts-1-1-")]
    assert "begins at 7" in team.kubectl("logs", pod).stdout


def test_what_code_requires_is_installed_from_wheels(team: ClusterSite, tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "greet", requires=["numpy"], code="VERSION = '1.0'\n")
    team.upload(tmp_path / "wheels", "datasets", "wheels/")
    jobs.code(team, "requires-code", REQUIRES)
    trainer = {
        "image": TRAINER_IMAGE,
        "command": ["python", "train.py"],
        "source": {"configMap": {"name": "requires-code"}},
        "requirements": ["greet"],
    }
    inputs = [{"name": "wheels", "uri": "s3://datasets/wheels/"}]
    team.apply(jobs.job("requires", trainer, inputs=inputs, output={"uri": "s3://models/"}, storage=STORAGE))
    finish(team, "requires")
    assert team.read("s3://models/requires/1/said.txt") == b"1.0 1.0"
