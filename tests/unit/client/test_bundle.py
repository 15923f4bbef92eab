"""A bundle for support: what helps is in it, and nothing that is secret."""

import zipfile
from pathlib import Path

import pytest

from client_site import Site
from footplate.client import Client, ClientError, Job
from footplate.devcluster.client import MERGE
from footplate.devcluster.faults import Fault

SECRET = "s3cr3t-Value-42"


@pytest.fixture
def job(site: Site, client: Client) -> Job:
    """A job that has failed, with a pod, its log, an event, and secrets wherever users put them."""
    trainer = {
        "image": "trainer:1", "command": ["train", "--api-key", SECRET], "env": [{"name": "HARMLESS", "value": SECRET}],
        "hyperparameters": {"epochs": 3, "wandbToken": SECRET},
    }  # fmt: skip
    made = site.create("digits", trainer=trainer)
    uid = made["metadata"]["uid"]
    failure = {"rank": 0, "class": "User", "message": f"can't push to https://u:{SECRET}@git.example.com/x"}
    attempts = [{"attempt": 0, "nodes": 1, "reason": "UserError", "endTime": "2026-01-01T12:00:00Z"}]
    site.say("digits", phase="Failed", run=1, attempt=0, nodes={"desired": 1}, failure=failure, attempts=attempts)
    labels = {"footplate.dev/job": "digits", "footplate.dev/job-uid": uid}
    container = {"name": "trainer", "image": "trainer:1", "env": [{"name": "A", "value": SECRET}]}
    owner = {
        "apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "name": "digits", "uid": uid, "controller": True,
    }  # fmt: skip
    pod = {
        "apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]},
        "metadata": {"name": "digits-1-0-0", "labels": labels, "ownerReferences": [owner]},
    }  # fmt: skip
    site.request("POST", "/api/v1/namespaces/default/pods", pod)
    ended = {"name": "trainer", "state": {"terminated": {"exitCode": 70}}}
    said = {"status": {"phase": "Failed", "containerStatuses": [ended]}}
    site.request("PATCH", "/api/v1/namespaces/default/pods/digits-1-0-0/status", said, kind=MERGE)
    (site.folder / "digits-1-0-0.log").write_text(f"epoch 1 loss=0.5\npassword={SECRET}\n")
    about = {"kind": "TrainingJob", "namespace": "default", "name": "digits", "uid": uid}
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "digits.1"}, "involvedObject": about,
        "reason": "Told", "message": f"token={SECRET}", "type": "Warning",
    }  # fmt: skip
    site.request("POST", "/api/v1/namespaces/default/events", event)
    return client.get("digits")


def read(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def test_what_helps_is_in_it_and_nothing_secret(job: Job, tmp_path: Path) -> None:
    files = read(job.support_bundle(tmp_path / "digits.zip"))
    names = ["job.json", "why.txt", "events.json", "pods.json", "versions.json"]
    assert [*files] == [*names, "logs/attempt-0-node-0.txt", "logs/failed.txt", "README.txt"]
    assert [name for name, text in files.items() if SECRET in text] == []
    assert [name for name in files if name != "README.txt" and name not in files["README.txt"]] == []
    assert "not there" not in files["README.txt"]
    for name, text in (
        ("job.json", '"epochs": 3'), ("why.txt", "git.example.com"), ("events.json", '"reason": "Told"'),
        ("pods.json", "digits-1-0-0"), ("versions.json", "footplate"), ("logs/failed.txt", "epoch 1 loss=0.5"),
    ):  # fmt: skip
        assert text in files[name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.zip"]


def test_what_may_not_be_read_is_named(site: Site, job: Job, tmp_path: Path) -> None:
    site.faults.add(Fault(status=403), path=r"/pods\b")
    site.faults.add(Fault(status=403), path="/events")
    files = read(job.support_bundle(tmp_path / "digits.zip"))
    assert [*files] == ["job.json", "why.txt", "versions.json", "README.txt"]
    for part in ("pods.json: not there: you may not list pods", "events.json: not there: you may not list events"):
        assert part in files["README.txt"]


def test_a_file_that_is_there_is_left_alone(job: Job, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ClientError, match="is there already; name another file"):
        job.support_bundle(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_folder_that_is_not_there(job: Job, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="name a file that you may write"):
        job.support_bundle(tmp_path / "nowhere" / "digits.zip")
