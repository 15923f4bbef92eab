"""Argo CD's, Flux's and a human's hands on one job, on a real API server: nobody's are in another's way."""

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from footplate.contract import Label
from invariants import Invariants
from realcluster.controlplane import Cluster
from realcluster.site import Site
from realcluster.user import TEAM

pytestmark = [pytest.mark.realcluster, pytest.mark.timeout(300)]

Json = dict[str, Any]
NAMESPACE = "footplate-test-gitops"
EXAMPLES = Path(__file__).parents[2] / "examples"
OURS = "footplate.dev/v1alpha1"
ARGO = ("--server-side", "--field-manager=argocd-controller")
ALICE = ("--server-side", "--field-manager=alice")


def examples() -> dict[str, Json]:
    """Every object of ours in examples/."""
    found = {}
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            if each and each.get("apiVersion") == OURS:
                each["metadata"].pop("namespace", None)
                found[f"{path.relative_to(EXAMPLES)} {each['kind']}"] = each
    assert len(found) >= 20
    return found


@pytest.fixture(scope="module")
def repository(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace into which somebody's repository is applied; no operator looks at it."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def kubectl(cluster: Cluster, *arguments: str, of: Json | None = None, check: bool = True) -> tuple[int, str]:
    """kubectl's exit code and what it says, of one object on its standard input."""
    given = ("-f", "-") if of is not None else ()
    done = cluster.kubectl("--namespace", NAMESPACE, *arguments, *given, stdin=of or "", check=check)
    return done.returncode, done.stdout + done.stderr


def live(cluster: Cluster, of: Json) -> Json:
    return dict(json.loads(kubectl(cluster, "get", of["kind"], of["metadata"]["name"], "-o", "json")[1]))


def changed(wanted: Any, there: Any, path: str = "") -> list[str]:
    """Where what is there differs from what was wanted; what was not asked for is nobody's business."""
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        return [each for key, value in wanted.items() for each in changed(value, there.get(key), f"{path}.{key}")]
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        pairs = enumerate(zip(wanted, there, strict=True))
        return [each for n, (one, other) in pairs for each in changed(one, other, f"{path}[{n}]")]
    return [] if wanted == there else [f"{path}: {there!r}, not {wanted!r}"]


@pytest.mark.parametrize("of", examples().values(), ids=examples())
def test_no_difference_is_left_to_be_ignored(repository: Cluster, of: Json) -> None:
    name = f"{of['metadata']['name']}-client"
    client = {**of, "metadata": {**of["metadata"], "name": name[:40]}}
    applied = kubectl(repository, "apply", of=client)[1]
    assert applied.endswith(" created\n")
    assert changed(client, live(repository, client)) == []
    assert kubectl(repository, "diff", of=client, check=False) == (0, "")
    assert kubectl(repository, "apply", of=client)[1].endswith(" unchanged\n")

    kubectl(repository, "apply", *ARGO, of=of)
    before = live(repository, of)
    assert changed(of, before) == []
    if of["kind"] == "TrainingJob":
        path = ["patch", "tj", of["metadata"]["name"], "--subresource=status", "--type=merge"]
        kubectl(repository, *path, "-p", json.dumps({"status": {"phase": "Running", "observedGeneration": 1}}))
        before = live(repository, of)
    assert kubectl(repository, "diff", *ARGO, of=of, check=False) == (0, "")
    kubectl(repository, "apply", *ARGO, of=of)
    assert live(repository, of) == before, "nothing was written"
    kubectl(repository, "delete", of["kind"], client["metadata"]["name"], of["metadata"]["name"])


def job(name: str, **policy: Any) -> Json:
    trainer = {"image": "registry.example.com/trainer:1", "command": ["python", "-c", "print('trains')"]}
    spec = {"trainer": trainer, "nodes": 1, **({"runPolicy": policy} if policy else {})}
    return {"apiVersion": OURS, "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}


def test_what_a_repository_leaves_out_is_anybodys(repository: Cluster) -> None:
    of = job("shared", maxRestarts=3)
    mine = {**of, "spec": {"runPolicy": {"suspend": True}}}
    kubectl(repository, "apply", *ARGO, of=of)
    kubectl(repository, "apply", *ALICE, of=mine)
    assert kubectl(repository, "diff", *ARGO, of=of, check=False)[0] == 0
    kubectl(repository, "apply", *ARGO, of=of)
    assert live(repository, of)["spec"]["runPolicy"] == {"maxRestarts": 3, "suspend": True}


def test_what_a_repository_says_is_a_conflict_to_change(repository: Cluster) -> None:
    of = job("owned", suspend=False)
    kubectl(repository, "apply", *ARGO, of=of)
    mine = {**of, "spec": {"runPolicy": {"suspend": True}}}
    code, said = kubectl(repository, "apply", *ALICE, of=mine, check=False)
    assert code == 1
    assert 'conflict with "argocd-controller": .spec.runPolicy.suspend' in said
    same = {**of, "spec": {"runPolicy": {"suspend": False}}}
    kubectl(repository, "apply", *ALICE, of=same)  # who says the same is no enemy
    kubectl(repository, "patch", "tj", "owned", "--type=merge", "-p", json.dumps({"spec": mine["spec"]}))
    code, said = kubectl(repository, "apply", *ARGO, of=of, check=False)
    assert (code, 'conflict with "kubectl-patch"' in said) == (1, True), said
    kubectl(repository, "apply", *ARGO, "--force-conflicts", of=of)
    assert live(repository, of)["spec"]["runPolicy"]["suspend"] is False


def test_a_field_that_cant_change_is_said_in_the_words_that_flux_looks_for(repository: Cluster) -> None:
    of = job("fixed")
    kubectl(repository, "apply", *ARGO, of=of)
    code, said = kubectl(repository, "apply", *ARGO, of={**of, "spec": {**of["spec"], "nodes": 2}}, check=False)
    assert (code, "field is immutable" in said) == (1, True), said


LISTS = {
    "env": ("trainer", [{"name": "A", "value": "1"}], [{"name": "B", "value": "2"}]),
    "imagePullSecrets": ("podTemplate", [{"name": "one"}], [{"name": "two"}]),
    "volumes": ("podTemplate", [{"name": "a", "emptyDir": {}}], [{"name": "b", "emptyDir": {}}]),
    "volumeMounts": (
        "podTemplate",
        [{"name": "a", "mountPath": "/a"}],
        [{"name": "a", "mountPath": "/b", "subPath": "b"}],
    ),
    "metricDefinitions": (
        "trainer",
        [{"name": "loss", "regex": "loss=(.+)"}],
        [{"name": "lr", "regex": "lr=(.+)"}],
    ),
}


@pytest.mark.parametrize("field", LISTS)
def test_lists_are_shared_by_their_keys(repository: Cluster, field: str) -> None:
    """Of runtimes, since a job's lists can't change; both kinds have the same blocks."""
    block, theirs, mine = LISTS[field]
    volumes = {"volumes": [{"name": "a", "emptyDir": {}}]} if field == "volumeMounts" else {}
    base = {"apiVersion": OURS, "kind": "TrainingRuntime", "metadata": {"name": f"lists-{field.lower()}"}}
    platform = {**base, "spec": {block: {**volumes, field: theirs}}}
    team = {**base, "spec": {block: {field: mine}}}
    kubectl(repository, "apply", *ARGO, of=platform)
    kubectl(repository, "apply", *ALICE, of=team)
    kubectl(repository, "apply", *ARGO, of=platform)
    assert changed(theirs + mine, live(repository, platform)["spec"][block][field]) == []
    other = copy.deepcopy(team)
    other["spec"][block][field] = [{**theirs[0], **{key: "other" for key in theirs[0] if key in ("value", "regex")}}]
    if other["spec"][block][field] != theirs:
        code, said = kubectl(repository, "apply", *ALICE, of=other, check=False)
        assert (code, 'conflict with "argocd-controller"' in said) == (1, True), said
    kubectl(repository, "apply", *ALICE, of={**base, "spec": {}})  # who takes back what is his leaves the rest
    assert changed(theirs, live(repository, platform)["spec"][block][field]) == []


WRITE = "import os, pathlib; pathlib.Path(os.environ['FOOTPLATE_OUTPUT_DIR'], 'model').write_text('{said}')"


def training(name: str, *, said: str = "weights", **policy: Any) -> Json:
    """A job of one node that leaves a model."""
    of = job(name, cleanPods="never", **policy)
    of["metadata"]["labels"] = {"cost-center": "4711", "app.kubernetes.io/instance": "trainings"}
    of["metadata"]["annotations"] = {"example.com/owner": "vision"}
    of["spec"]["trainer"]["command"][-1] = WRITE.format(said=said)
    return {
        **of,
        "spec": {**of["spec"], "output": {"uri": "s3://models/gitops/"}, "storage": {"secretRef": {"name": "s3"}}},
    }


def ours(of: Json) -> Json:
    """What the operator never writes."""
    kept = ("labels", "annotations", "finalizers", "ownerReferences", "generation")
    return {"spec": of["spec"], **{key: of["metadata"].get(key) for key in kept}}


def sync(site: Site, of: Json) -> None:
    """As Argo CD and Flux do, again and again."""
    site.kubectl("apply", *ARGO, "-f", "-", stdin=of)


def pods_of(site: Site, name: str) -> list[Json]:
    found = site.kubectl("get", "pods", "-l", f"{Label.JOB}={name}", "-o", "json").stdout
    return list(json.loads(found)["items"])


def finished(site: Site, name: str) -> Json:
    return site.wait(name, "condition=Finished")


def test_a_whole_life_under_syncs_writes_nothing_but_the_status(site: Site) -> None:
    of, seen, asked = training("synced"), Invariants(), len(site.operator_asked())
    sync(site, of)
    first = site.get("tj", "synced")
    phases = set()
    while "Finished" not in phases:
        sync(site, of)
        now = site.get("tj", "synced")
        seen.see_job(now)
        held = {each["type"] for each in now["status"].get("conditions", ()) if each["status"] == "True"}
        phases |= held & {"Finished"}
        assert ours(now) == ours(first)
    assert seen.violations == []
    assert site.get("tj", "synced")["status"]["phase"] == "Succeeded"
    shown = json.loads(site.kubectl("get", "tj", "synced", "-o", "json", "--show-managed-fields").stdout)
    managers = [each for each in shown["metadata"]["managedFields"] if each["manager"] != "argocd-controller"]
    assert [each.get("subresource") for each in managers] == ["status"] * len(managers)
    assert all(each["fieldsV1"].keys() == {"f:status"} for each in managers)
    mine = [
        each
        for each in site.operator_asked()[asked:]
        if each.name == "synced" and "trainingjobs" in each.right.resource
    ]
    assert {(each.right.resource, each.right.verb) for each in mine} == {("trainingjobs/status", "patch")}
    assert {each.code for each in mine} == {200}, "no sync is in the way of a status"

    [pod] = pods_of(site, "synced")
    labels = pod["metadata"]["labels"]
    assert (labels["cost-center"], labels[Label.JOB]) == ("4711", "synced")
    assert "app.kubernetes.io/instance" not in labels


def test_pruned_and_applied_again_it_trains_no_second_time(site: Site) -> None:
    sync(site, training("pruned"))
    first = finished(site, "pruned")
    assert (first["phase"], first["reason"]) == ("Succeeded", "Completed"), first
    site.kubectl("delete", "tj", "pruned")
    sync(site, training("pruned"))
    again = finished(site, "pruned")
    assert (again["phase"], again["reason"], again["artifact"]) == ("Succeeded", "AlreadyComplete", first["artifact"])
    sync(site, training("pruned", restartNonce="another"))
    status = site.until(
        lambda: site.get("tj", "pruned")["status"], lambda seen: (seen["run"], seen["phase"]) == (2, "Succeeded")
    )
    assert (status["reason"], status["artifact"]["uri"]) == ("Completed", "s3://models/gitops/pruned/2/")


def restored(of: Json, *, namespace: str) -> Json:
    """As a backup brings an object back: with a new UID, and without what is the API server's."""
    kept = {key: value for key, value in of["metadata"].items() if key in ("name", "labels", "annotations")}
    return {
        **{key: value for key, value in of.items() if key != "status"},
        "metadata": {**kept, "namespace": namespace},
    }


@pytest.mark.parametrize("stripped", [True, False], ids=["without status", "with status"])
def test_a_restored_job_is_a_new_one(site: Site, stripped: bool) -> None:
    name = "restored" if stripped else "restored-whole"
    sync(site, training(name))
    finished(site, name)
    backup = site.get("tj", name)
    site.kubectl("delete", "tj", name)
    site.kill_operator()
    site.plane.kubectl("create", "-f", "-", stdin=restored(backup, namespace=TEAM))
    if not stripped:
        patch = json.dumps({"status": backup["status"]})
        site.kubectl("patch", "tj", name, "--subresource=status", "--type=merge", "-p", patch)
    site.start_operator()
    uid = site.get("tj", name)["metadata"]["uid"]
    status = site.until(
        lambda: site.get("tj", name)["status"],
        lambda seen: seen.get("uid") == uid and seen.get("phase") in ("Succeeded", "Failed"),
    )
    assert uid != backup["metadata"]["uid"]
    assert (status["phase"], status["reason"], status["artifact"]) == (
        "Succeeded", "AlreadyComplete", backup["status"]["artifact"],
    ), status  # fmt: skip
    assert status["transitions"][0]["phase"] == "Pending"
    assert status["restarts"]["total"] == 0


def test_a_copy_in_another_namespace_leaves_the_first_alone(site: Site) -> None:
    sync(site, training("moved"))
    finished(site, "moved")
    backup, pods = site.get("tj", "moved"), pods_of(site, "moved")
    site.plane.kubectl("create", "namespace", "elsewhere")
    secret = site.get("secret", "s3")
    copied = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3", "namespace": "elsewhere"}}
    site.plane.kubectl("apply", "-f", "-", stdin={**copied, "data": secret["data"]})
    site.plane.kubectl("create", "-f", "-", stdin=restored(backup, namespace="elsewhere"))
    status = json.dumps({"status": backup["status"]})
    path = ["patch", "tj", "moved", "-n", "elsewhere", "--subresource=status", "--type=merge", "-p", status]
    site.plane.kubectl(*path)
    seen = site.until(
        lambda: site.get("tj", "moved", namespace="elsewhere")["status"],
        lambda status: status.get("uid") != backup["status"]["uid"] and status.get("phase") == "Failed",
    )
    assert seen["reason"] == "ConfigError"
    assert "s3://models/gitops/moved/1 holds the model of another TrainingJob of this name" in seen["message"]
    assert ours(site.get("tj", "moved")) == ours(backup)
    assert site.get("tj", "moved")["status"] == backup["status"]
    assert [each["metadata"]["uid"] for each in pods_of(site, "moved")] == [each["metadata"]["uid"] for each in pods]
