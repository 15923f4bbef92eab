"""What a platform gets wrong about an operator, on a real API server: it says what, stays not ready, acts on nothing
that it isn't sure of, and goes on by itself once that is put right.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from failover.member import Member, until
from footplate.api.crd import build_crds
from footplate.devcluster.client import ApiClient
from footplate.errors import NotFound
from realcluster.chart import NAMESPACE, RELEASE
from realcluster.controlplane import ControlPlane, find_assets
from realcluster.planes import NEEDS_BINARIES, plane_with_chart

pytestmark = [
    pytest.mark.realcluster,
    pytest.mark.timeout(400),
    pytest.mark.skipif(find_assets() is None, reason=NEEDS_BINARIES),
]

JOBS = "/apis/footplate.dev/v1alpha1/namespaces/default/trainingjobs"
PODS = "/api/v1/namespaces/default/pods"
OTHER = "footplate-other"
RBAC = "rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def misused() -> Iterator[ControlPlane]:
    """A control plane with the chart, for these tests alone: CRDs and roles are changed under the operator."""
    with plane_with_chart() as plane:
        plane.kubectl("create", "namespace", OTHER)
        yield plane


@pytest.fixture
async def client(misused: ControlPlane) -> AsyncIterator[ApiClient]:
    async with ApiClient(json.loads(misused.kubeconfig_path.read_text())) as client:
        yield client
        for path in (JOBS, PODS):
            for each in (await client.request("GET", path))["items"]:
                with suppress(NotFound):
                    await client.request("DELETE", f"{path}/{each['metadata']['name']}", {"gracePeriodSeconds": 0})


def member(plane: ControlPlane, name: str, folder: Path, *options: str, **rest: Any) -> Member:
    config = json.loads(plane.log_in(RELEASE, namespace=NAMESPACE, folder=folder).read_text())
    user = {"token": config["users"][0]["user"]["token"]}
    return Member(name, json.loads(plane.kubeconfig_path.read_text()), folder, user=user, options=options, **rest)


async def apply(client: ApiClient, name: str) -> None:
    trainer = {"image": "registry.example.com/trainer:1", "command": ["sleep", "600"]}
    job = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}}
    await client.request("POST", JOBS, {**job, "spec": {"trainer": trainer}})


async def has_pods(client: ApiClient, name: str) -> bool:
    found = (await client.request("GET", f"{PODS}?labelSelector=footplate.dev/job={name}"))["items"]
    return len(found) == 1


async def says(member: Member, *words: str) -> bool:
    code, text = await member.ask("/readyz")
    return code == 503 and all(word in text for word in words)


def change_crd(plane: ControlPlane, change: Callable[[dict[str, Any]], None]) -> None:
    """Applies the CRD of TrainingJobs with another schema of the status."""
    crd = deepcopy(next(crd for crd in build_crds() if crd["spec"]["names"]["kind"] == "TrainingJob"))
    change(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"])
    plane.kubectl("replace", "-f", "-", stdin=read_version(plane, crd))


def read_version(plane: ControlPlane, crd: Mapping[str, Any]) -> Mapping[str, Any]:
    old = json.loads(plane.kubectl("get", "crd", crd["metadata"]["name"], "-o", "json").stdout)
    return {**crd, "metadata": {**crd["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}}


def older(status: dict[str, Any]) -> None:
    del status["usage"]
    status["phase"]["enum"].remove("Suspending")


def newer(status: dict[str, Any]) -> None:
    status["invention"] = {"type": "string", "maxLength": 10}


async def test_older_and_newer_crds(misused: ControlPlane, client: ApiClient, tmp_path: Path) -> None:
    change_crd(misused, older)
    await apply(client, "early")
    async with member(misused, "crds", tmp_path) as operator:
        lacks = (
            "trainingjobs.footplate.dev is older",
            "status.usage",
            "status.phase: Suspending",
            "kubectl apply -f crds/",
        )
        await until(lambda: says(operator, *lacks), "it says what the CRD lacks")
        assert not await has_pods(client, "early")
        change_crd(misused, newer)
        await until(lambda: has_pods(client, "early"), "it works with a newer CRD")
        await until(operator.is_ready, "ready")
        assert operator.ends == []
        change_crd(misused, older)
        await until(lambda: operator.ends == [1], "it ends where it would lose what it writes")
        await until(lambda: says(operator, *lacks), "and what is started then says so")
        change_crd(misused, newer)
        await until(operator.is_ready, "ready again")
    change_crd(misused, lambda status: None)


def grant(plane: ControlPlane, verbs: list[str]) -> None:
    """What the operator may do with pods."""
    role = json.loads(plane.kubectl("get", "clusterrole", RELEASE, "-o", "json").stdout)
    [rule] = [rule for rule in role["rules"] if rule["resources"] == ["pods"]]
    rule["verbs"] = verbs
    plane.kubectl("replace", "-f", "-", stdin=role)


async def test_a_missing_right_is_named_until_it_is_granted(
    misused: ControlPlane, client: ApiClient, tmp_path: Path
) -> None:
    grant(misused, ["get", "list", "watch", "delete"])
    async with member(misused, "rights", tmp_path) as operator:
        await until(operator.is_ready, "ready: nobody has asked for pods yet")
        await apply(client, "poor")
        await until(lambda: says(operator, "missing: create pods in namespace default"), "it names the right")
        assert '"right": "create pods in namespace default"' in operator.log.read_text()
        assert 'footplate_rights_missing{resource="pods",verb="create"} 1.0' in (await operator.ask("/metrics"))[1]
        await client.request("DELETE", f"{JOBS}/poor")
        grant(misused, ["get", "list", "watch", "create", "delete"])
        await until(operator.is_ready, "ready again, though nobody needs the right now")
        await apply(client, "rich")
        await until(lambda: has_pods(client, "rich"), "it works")
        assert operator.ends == []
    grant(misused, ["get", "watch", "create", "delete"])
    async with member(misused, "blind", tmp_path) as operator:
        await until(lambda: says(operator, "missing: list pods", "pods: not listed yet"), "it names the right")
        grant(misused, ["get", "list", "watch", "create", "delete"])
        await until(operator.is_ready, "ready")


@pytest.fixture
def unbound(misused: ControlPlane) -> Iterator[Callable[[], object]]:
    """The operator has no right to Leases, until this is called."""
    name, where = f"{RELEASE}-lease", ("-n", NAMESPACE)
    binding = json.loads(misused.kubectl("get", "rolebinding", name, *where, "-o", "json").stdout)
    binding["metadata"] = {"name": name, "namespace": NAMESPACE}
    misused.kubectl("delete", "rolebinding", name, *where)

    def bind() -> object:
        return misused.kubectl("apply", "-f", "-", stdin=binding)

    yield bind
    bind()


async def test_without_a_right_to_leases_it_acts_on_nothing(
    misused: ControlPlane, client: ApiClient, unbound: Callable[[], object], tmp_path: Path
) -> None:
    await apply(client, "leaseless")
    async with member(misused, "leaseless", tmp_path) as operator:
        words = (
            "lease: no right to the Lease",
            "acts on nothing",
            "--no-leader-election",
            "leases (coordination.k8s.io)",
        )
        await until(lambda: says(operator, *words), "it says so")
        await until(
            lambda: says_only(operator, "rights", "lease"),
            "all else is as it should be",
        )
        assert not await has_pods(client, "leaseless")
        async with member(misused, "alone", tmp_path, "--no-leader-election") as alone:
            await until(
                lambda: has_pods(client, "leaseless"),
                "one replica alone needs none",
            )
            await until(alone.is_ready, "ready")
        await apply(client, "late")
        unbound()
        await until(lambda: has_pods(client, "late"), "it works")
        await until(operator.is_ready, "ready")


async def says_only(member: Member, *parts: str) -> bool:
    _, text = await member.ask("/readyz")
    return {line.partition(":")[0] for line in text.splitlines()} == set(parts)


async def test_two_releases_that_watch_one_namespace(misused: ControlPlane, client: ApiClient, tmp_path: Path) -> None:
    subject = {"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease"}
    rules = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}]
    metadata = {"name": "lease", "namespace": OTHER}
    misused.kubectl(
        "create", "-f", "-", stdin={"apiVersion": RBAC, "kind": "Role", "metadata": metadata, "rules": rules}
    )
    binding = {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]}
    misused.kubectl("create", "-f", "-", stdin=binding)
    async with member(misused, "first", tmp_path) as first:
        await apply(client, "firsts")
        await until(lambda: has_pods(client, "firsts"), "the first works")
        status = (await client.request("GET", f"{JOBS}/firsts"))["status"]
        assert status["operator"] == f"{NAMESPACE}/footplate-operator"
        async with member(misused, "second", tmp_path, namespace=OTHER) as second:
            theirs = (
                f"operator {NAMESPACE}/footplate-operator: acts on 1 jobs that this operator serves too, in default"
            )
            await until(lambda: says(second, theirs, "Uninstall one"), "the second says whose the job is")
            await client.request("DELETE", f"{PODS}/firsts-1-0-0", {"gracePeriodSeconds": 0})
            await until(lambda: has_pods(client, "firsts"), "the first restarts its gang")
            assert [each.path for each in second.gateway.writes if "/leases" not in each.path] == []
            await first.retire()
            began = asyncio.get_running_loop().time()
            await until(second.is_ready, "the first is gone: its jobs are the second's")
            print(f"first release gone -> the second's: {asyncio.get_running_loop().time() - began:.1f} s")
            await client.request("DELETE", f"{PODS}/firsts-1-1-0", {"gracePeriodSeconds": 0})
            await until(lambda: has_pods(client, "firsts"), "the second restarts the gang")
            status = (await client.request("GET", f"{JOBS}/firsts"))["status"]
            assert (status["operator"], status["attempt"]) == (f"{OTHER}/footplate-operator", 2)
