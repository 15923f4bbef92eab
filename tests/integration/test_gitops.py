"""A job whose owner is a repository: applied, pruned and applied again, on the embedded cluster with real storage."""

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from crash_sweep import live_through
from footplate.contract import Label
from invariants import Invariants
from job_life import problems
from laptop import EXAMPLES, Laptop

pytestmark = pytest.mark.integration

Json = dict[str, Any]

TRAIN = """
import os, pathlib, socket, time
address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if os.environ["RANK"] == "0":
    with socket.create_server(("", port)) as server:
        server.accept()[0].close()
    pathlib.Path(os.environ["FOOTPLATE_OUTPUT_DIR"], "model.txt").write_text(os.environ["FOOTPLATE_UID"])
else:  # waits for rank 0, for as long as it takes
    while True:
        try:
            socket.create_connection((address, port), timeout=600).close()
            break
        except OSError:
            time.sleep(0.1)
"""
LABELS = {"cost-center": "4711", "app.kubernetes.io/instance": "trainings", "kustomize.toolkit.fluxcd.io/name": "t"}
JOB: Json = {
    "apiVersion": "footplate.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "kept", "namespace": "default", "labels": LABELS, "annotations": {"a": "b"}},
    "spec": {
        "trainer": {"image": "registry.example.com/trainer:1", "command": ["python", "-c", TRAIN]},
        "nodes": 2,
        "output": {"uri": "s3://models/gitops/"},
        "storage": {"secretRef": {"name": "s3"}},
        "runPolicy": {"cleanPods": "never"},
    },
}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with Laptop(tmp_path_factory.mktemp("dev")) as laptop:
        yield laptop


def job(*, nonce: str = "", code: str = TRAIN) -> Json:
    made = copy.deepcopy(JOB)
    made["spec"]["runPolicy"]["restartNonce"] = nonce
    made["spec"]["trainer"]["command"][-1] = code
    return made


def applied_again(laptop: Laptop, wanted: Json) -> tuple[Json, float]:
    """Deleted and applied, as a prune and a sync do: the status at its end, and the seconds that took."""
    assert laptop.kubectl("delete", "tj", "kept").returncode == 0
    laptop.apply(wanted)
    began = time.monotonic()
    return laptop.wait("kept", seconds=90), time.monotonic() - began


@pytest.mark.slow
def test_what_was_trained_is_trained_once_for_each_nonce(laptop: Laptop) -> None:
    laptop.apply(job())
    first = laptop.wait("kept", seconds=90)
    assert (first["phase"], first["reason"]) == ("Succeeded", "Completed"), first
    trained_by = laptop.read(first["artifact"]["uri"] + "model.txt")
    assert trained_by.decode() == laptop.get("tj", "kept")["metadata"]["uid"]

    again, took = applied_again(laptop, job())
    assert (again["phase"], again["reason"], again["artifact"]) == (
        "Succeeded", "AlreadyComplete", first["artifact"],
    ), again  # fmt: skip
    assert (again["run"], again["restarts"]["total"], again["uid"] != first["uid"]) == (1, 0, True)
    assert took < 60, "the rank that waits for its peer is given up with it"
    assert laptop.read(first["artifact"]["uri"] + "model.txt") == trained_by

    laptop.apply(job(nonce="a"))
    trained, deadline = laptop.get("tj", "kept")["status"], time.monotonic() + 90
    while (trained["run"], trained["phase"]) != (2, "Succeeded"):
        assert time.monotonic() < deadline, trained
        time.sleep(0.2)
        trained = laptop.get("tj", "kept")["status"]
    assert trained["reason"] == "Completed"
    assert trained["artifact"]["uri"] == "s3://models/gitops/kept/2/"

    known, _ = applied_again(laptop, job(nonce="a"))
    assert (known["reason"], known["artifact"]) == ("AlreadyComplete", trained["artifact"])

    new, _ = applied_again(laptop, job(nonce="b"))
    assert (new["reason"], new["run"], new["artifact"]["uri"]) == ("Completed", 1, "s3://models/gitops/kept/3/")

    other, _ = applied_again(laptop, job(nonce="b", code=TRAIN + "# another program"))
    assert (other["phase"], other["reason"]) == ("Failed", "ConfigError")
    assert "holds the model of a TrainingJob of this name with another spec" in other["message"]


def test_labels_go_on_by_the_allow_list_and_the_job_stays_as_it_was(laptop: Laptop) -> None:
    laptop.apply({**job(nonce="c"), "metadata": {**JOB["metadata"], "name": "labelled"}})
    laptop.wait("labelled", seconds=90)
    made = [*laptop.pods("labelled"), *laptop.items("services,configmaps", "-l", "footplate.dev/job=labelled")]
    assert len(made) == 4
    for each in made:
        labels = each["metadata"]["labels"]
        assert labels["cost-center"] == "4711"
        assert not LABELS.keys() & labels.keys() - {"cost-center"}, "a tool would prune it"
        assert labels[Label.JOB] == "labelled"
    metadata = laptop.get("tj", "labelled")["metadata"]
    assert metadata["labels"] == LABELS
    assert metadata["annotations"].keys() == {"a", "kubectl.kubernetes.io/last-applied-configuration"}
    assert not {"finalizers", "ownerReferences"} & metadata.keys()
    assert metadata["generation"] == 1


@pytest.mark.parametrize("example", ["digits", "gitops/trainings", "migrate/sagemaker"])
def test_what_is_read_back_is_what_was_applied(laptop: Laptop, example: str) -> None:
    """All of them, by client and by server, are in realcluster/test_gitops.py."""
    path = EXAMPLES / example / "job.yaml"
    wanted = {**yaml.safe_load(path.read_text())}
    wanted["metadata"] |= {"name": "compared", "namespace": "default"}
    wanted["spec"].setdefault("runPolicy", {})["suspend"] = True
    text = json.dumps(wanted)
    assert laptop.kubectl("apply", "-f", "-", stdin=text).stdout.endswith(" created\n")
    there = laptop.get("tj", "compared")["spec"]
    assert {key: there.get(key) for key in wanted["spec"]} == {**wanted["spec"], "output": there["output"]}
    assert there["output"] == {"formats": ["safetensors"], **wanted["spec"]["output"]}, (
        "the one default beside our kind's"
    )
    assert laptop.kubectl("diff", "-f", "-", stdin=text).stdout == ""
    assert laptop.kubectl("apply", "-f", "-", stdin=text).stdout.endswith(" unchanged\n")
    assert laptop.kubectl("delete", "tj", "compared").returncode == 0


async def test_of_a_whole_life_nothing_is_written_but_the_status(tmp_path: Path) -> None:
    """With a failure, a suspension, a resumption, and an end: every write of the operator, and its body."""
    life = await live_through(tmp_path / "life", harm="none")
    assert problems(life) == []
    writes = [(write, body) for write, body in zip(life.writes, life.bodies, strict=True) if "/trainingjobs/" in write]
    assert len(writes) >= 10
    for write, body in writes:
        assert write == "PATCH /apis/footplate.dev/v1alpha1/namespaces/swept/trainingjobs/swept/status"
        said = json.loads(body)
        assert said.keys() == {"metadata", "status"}
        assert said["metadata"].keys() == {"resourceVersion"}
    metadata, spec = life.job["metadata"], life.job["spec"]
    assert not {"labels", "annotations", "finalizers", "ownerReferences"} & metadata.keys()
    assert (metadata["generation"], spec["runPolicy"]["suspend"]) == (3, False), "the user's own two edits"
    seen = Invariants()
    seen.see_job(life.job)
    assert seen.violations == []
