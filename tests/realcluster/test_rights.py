"""The chart's rights are those that the operator uses: none is missing, none is too many, and no Secret is read."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from footplate.devcluster.client import MERGE, ApiClient
from realcluster.audit import Right, rights
from realcluster.chart import NAMESPACE, RELEASE
from realcluster.controlplane import Cluster, ControlPlane
from realcluster.jobs import job
from realcluster.site import Site
from realcluster.user import TEAM

GANG_CRDS = Path(__file__).parents[1] / "schedulers" / "crds"
HELD_BY = "kueue.x-k8s.io/managed"
SUSPEND = '{"spec": {"runPolicy": {"suspend": true}}}'

pytestmark = [pytest.mark.realcluster, pytest.mark.timeout(300)]

GANGS = {
    *(Right("scheduling.k8s.io", "podgroups", verb) for verb in ("get", "list", "watch", "create", "delete")),
    *(Right(group, "podgroups", "get") for group in ("scheduling.x-k8s.io", "scheduling.volcano.sh")),
}
"""Not asked for here: this API server doesn't serve PodGroups of its own (tests/schedulers has one that does), and of a
PodGroup of that name the operator asks only when it finds one there that its watch hasn't shown.
"""

OWNS = Right("footplate.dev", "trainingjobs/finalizers", "update")
"""Never asked for: the API server looks whether the operator has it when it creates what blocks a job's deletion."""

OF_THE_CLUSTER = {"clustertrainingruntimes", "trainingpolicies", "namespaces", "nodes", "priorityclasses"}
"""What the operator looks at outside its namespaces too."""


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "any", "command": ["sleep", "600"]}
    spec = {"restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}


def granted(plane: ControlPlane) -> set[Right]:
    """What the roles grant that are bound to the operator's ServiceAccount."""
    bindings = json.loads(plane.kubectl("get", "clusterrolebinding,rolebinding", "-A", "-o", "json").stdout)["items"]
    operator = {"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}
    bound = {
        (each["roleRef"]["kind"], each["roleRef"]["name"], each["metadata"].get("namespace", NAMESPACE))
        for each in bindings
        if operator in each.get("subjects", ())
    }
    answers = (
        plane.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout for kind, name, namespace in bound
    )
    return set().union(*(rights(json.loads(answer)["rules"]) for answer in answers))


def asked(site: Site) -> set[Right]:
    return {each.right for each in site.operator_asked()}


def bind(site: Site, pod: str, *, node: str) -> None:
    """As a scheduler does; the API server takes any name."""
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod},
        "target": {"kind": "Node", "name": node},
    }
    path = f"/api/v1/namespaces/{TEAM}/pods/{pod}/binding"
    site.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))


async def shake(plane: ControlPlane, name: str, *, suspend: bool) -> None:
    """Suspends or resumes a job, and changes it again and again while the operator is about to write its status."""
    path = f"/apis/footplate.dev/v1alpha1/namespaces/{TEAM}/trainingjobs/{name}"
    async with ApiClient(json.loads(plane.kubeconfig_path.read_text())) as client:
        await client.request("PATCH", path, {"spec": {"runPolicy": {"suspend": suspend}}}, kind=MERGE)
        for number in range(20):
            await client.request("PATCH", path, {"metadata": {"annotations": {"shaken": str(number)}}}, kind=MERGE)


def use_gangs(site: Site) -> None:
    """Jobs of other people's schedulers, none of which is there but for its CRD; pods that Kueue's finalizer holds."""
    for path in sorted(GANG_CRDS.glob("*.yaml")):
        site.plane.kubectl("apply", "-f", str(path))
        site.plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(path))
    site.reconfigure()
    for kind in ("coscheduling", "volcano"):
        site.apply(job(kind, "sleep", "600", scheduling={"gang": kind}))
        site.wait(kind, "jsonpath={.status.phase}=Running")  # the nodes of here take pods of any scheduler
        site.kubectl("patch", "tj", kind, "--type=merge", "-p", SUSPEND)
        site.wait(kind, "condition=Suspended")
    site.apply(job("queued", "true", scheduling={"queueName": "vision"}))
    site.wait("queued", "jsonpath={.status.phase}=Queued")
    pods = site.names("pods", "queued")
    for name in pods:
        site.kubectl(
            "patch", "pod", name, "--type=merge", "-p", '{"metadata": {"finalizers": ["kueue.x-k8s.io/managed"]}}'
        )
    group = site.get("pod", pods[0])["metadata"]["labels"]["kueue.x-k8s.io/pod-group-name"]
    metadata = {"name": group, "annotations": {"kueue.x-k8s.io/is-group-workload": "true"}}
    pod_set = {"name": "main", "count": 2, "template": {}}
    workload = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload", "metadata": metadata}
    site.apply({**workload, "spec": {"queueName": "vision", "podSets": [pod_set]}})
    site.kubectl("delete", "tj", "queued")
    site.until(lambda: site.kubectl("get", "workloads", "-o", "name").stdout, lambda left: not left)
    for name in pods:
        site.kubectl("patch", "pod", name, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def test_exactly_the_rights_that_are_used(site: Site) -> None:
    site.apply(pod("taken-1-0-0"), job("taken", "true"))
    assert site.wait("taken", "condition=Finished")["reason"] == "NameConflict"

    kept, goes = {"ttlSecondsAfterFinished": 0, "ttlKeepsJob": True}, {"ttlSecondsAfterFinished": 0}
    site.apply(job("done", "true", runPolicy=kept), job("over", "true", runPolicy=goes))
    site.wait("done", "condition=Complete")
    left = ("get", "tj", "over", "--ignore-not-found", "-o", "name")
    site.until(lambda: site.kubectl(*left).stdout, lambda name: not name)
    site.until(lambda: site.names("pods,services,configmaps", "done"), lambda left: not left)

    site.apply(job("shaken", "sleep", "600"))
    conflict, counted = Right("footplate.dev", "trainingjobs", "get"), Right("events.k8s.io", "events", "patch")
    for turn in range(20):
        site.wait("shaken", "condition=Suspended" if turn % 2 else "jsonpath={.status.phase}=Running")
        if {conflict, counted} <= asked(site):
            break
        asyncio.run(shake(site.plane, "shaken", suspend=turn % 2 == 0))

    site.apply(job("bound", "true", podTemplate={"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}))
    site.until(lambda: site.names("pods", "bound"), lambda names: len(names) == 2)
    bind(site, "bound-1-0-0", node="nowhere")
    site.until(lambda: asked(site), lambda rights: Right("", "nodes", "get") in rights)
    site.kubectl("delete", "tj", "bound")
    site.kubectl("delete", "pods", "-l", "footplate.dev/job=bound", "--force", "--grace-period=0")

    use_gangs(site)
    used, given = asked(site), granted(site.plane)
    assert sorted(used - given) == [], "missing in helm/footplate/templates/rbac.yaml"
    assert sorted(given - used - {OWNS} - GANGS) == [], "spare in helm/footplate/templates/rbac.yaml"
    assert [each for each in site.operator_asked() if each.code in (401, 403)] == []
    assert "secrets" not in {each.right.resource for each in site.operator_asked()}


def test_owning_pods_needs_the_right_to_do_so(site: Site, tmp_path: Path) -> None:
    plane = site.plane
    owner = plane.kubectl("create", "-f", "-", "-o", "json", stdin=job("owner", "true"))
    reference = {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "name": "owner",
        "uid": json.loads(owner.stdout)["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    for name, some in (("all", granted(plane)), ("but-one", granted(plane) - {OWNS})):
        rules = [{"apiGroups": [each.group], "resources": [each.resource], "verbs": [each.verb]} for each in some]
        limited = Cluster(plane.service_account(name, folder=tmp_path, rules=rules))
        created = limited.kubectl("create", "-f", "-", stdin=pod(name, ownerReferences=[reference]), check=False)
        assert (created.returncode == 0) is (name == "all"), created.stderr
        assert ("cannot set blockOwnerDeletion" in created.stderr) is (name != "all")


def test_in_chosen_namespaces_only(site: Site) -> None:
    before = len(site.operator_asked())
    site.reconfigure(namespaces=[TEAM])
    try:
        site.apply(job("near", "true"))
        site.plane.kubectl("apply", "-f", "-", stdin=job("far", "true"))
        site.wait("near", "condition=Complete")
        assert site.get("tj", "far", namespace="default")["status"] == {"observedGeneration": -1}
        new = site.operator_asked()[before:]
        assert {each.namespace for each in new} == {TEAM, NAMESPACE, ""}
        assert {each.right.resource for each in new if not each.namespace} == OF_THE_CLUSTER
        assert [each for each in new if each.code == 403] == []
        operator = Cluster(site.kubeconfig_of_operator)
        assert operator.kubectl("auth", "can-i", "create", "pods", "-n", "default", check=False).stdout == "no\n"
        assert operator.kubectl("auth", "can-i", "create", "pods", "-n", TEAM, check=False).stdout == "yes\n"
    finally:
        site.reconfigure()
