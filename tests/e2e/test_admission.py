"""What a cluster's own rules do to pods: quotas, limits, and what they put into pods."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e import jobs
from e2e.cluster import TRAINER_IMAGE
from e2e.site import ClusterSite
from realcluster.user import TEAM, Object

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

BRIEF = "print('done', flush=True)"
LASTS = "import time; print('here', flush=True); time.sleep(20)"
FAILS_ONCE = """
import os, signal, time

signal.signal(signal.SIGTERM, lambda *_: None)  # takes its time to stop, and so its share of the quota
if os.environ["FOOTPLATE_ATTEMPT"] == "0":
    time.sleep(3)
    if os.environ["FOOTPLATE_NODE_RANK"] == "1":
        raise RuntimeError("once")
    time.sleep(15)
"""
ADMISSION = "admissionregistration.k8s.io/v1"


@contextmanager
def rule(team: ClusterSite, kind: str, name: str, spec: Object) -> Iterator[None]:
    """A ResourceQuota or LimitRange in the team's namespace."""
    team.apply({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    try:
        yield
    finally:
        team.kubectl("delete", kind, name, "--ignore-not-found")


def quota(pods: int) -> Object:
    return {"hard": {"requests.cpu": f"{100 * pods}m"}}


def test_a_quota_that_is_too_small_is_named_and_waited_for(team: ClusterSite) -> None:
    with rule(team, "ResourceQuota", "team-quota", quota(1)):
        team.until(lambda: team.get("resourcequota", "team-quota").get("status"), bool)
        team.apply(jobs.script(team, "waits", BRIEF, nodes=2))
        team.wait("waits", "jsonpath={.status.reason}=PodsRefused", seconds=60)
        assert "team-quota" in jobs.status(team, "waits")["message"]
        assert "team-quota" in jobs.warnings(team, "waits")
        team.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team-quota"}, "spec": quota(2)})
        status = team.wait("waits", "condition=Finished")
        assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0), status


def test_a_quota_as_large_as_the_gang_refuses_no_restart(team: ClusterSite) -> None:
    with rule(team, "ResourceQuota", "team-quota", quota(2)):
        team.until(lambda: team.get("resourcequota", "team-quota").get("status"), bool)
        team.apply(jobs.script(team, "exact", FAILS_ONCE, nodes=2, runPolicy={"restartBackoffSeconds": 1}))
        status = team.wait("exact", "condition=Finished")
        assert (status["phase"], status["restarts"]["user"]) == ("Succeeded", 1), status
        assert "exceeded quota" not in jobs.warnings(team, "exact")


@pytest.mark.parametrize(
    "resources",
    [
        pytest.param({"requests": {"memory": "128Mi"}, "limits": {"memory": "128Mi"}}, id="limit-over-the-maximum"),
        # The maximum becomes the pod's limit, and the API server then calls the request invalid.
        pytest.param({"requests": {"memory": "128Mi"}}, id="request-over-the-limit-that-it-sets"),
    ],
)
def test_a_limit_range_that_forbids_is_told_and_waited_for(team: ClusterSite, resources: Object) -> None:
    with rule(team, "LimitRange", "small", {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}):
        team.apply(jobs.script(team, "large", LASTS, resources=resources))
        told = team.until(lambda: jobs.status(team, "large"), lambda seen: "64Mi" in seen.get("message", ""))
        assert told["reason"] == "PodsRefused", told
    team.wait("large", "jsonpath={.status.phase}=Running")


def test_a_limit_range_that_gives_defaults(team: ClusterSite) -> None:
    default = {"default": {"memory": "1Gi", "cpu": "1"}, "defaultRequest": {"memory": "128Mi", "cpu": "100m"}}
    with rule(team, "LimitRange", "defaults", {"limits": [{"type": "Container", **default}]}):
        team.apply(jobs.script(team, "plain", LASTS, resources={}))
        team.wait("plain", "jsonpath={.status.phase}=Running")
        [container] = jobs.pod(team, "plain-1-0-0")["spec"]["containers"]
        assert container["resources"]["limits"]["memory"] == "1Gi"
        status = team.wait("plain", "condition=Finished")
        assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0), status


def test_a_sidecar_that_never_ends_doesnt_hold_the_job(team: ClusterSite) -> None:
    with injected(team, "import time; time.sleep(3600)"):
        team.apply(jobs.script(team, "meshed", BRIEF))
        status = team.wait("meshed", "condition=Finished", seconds=120)
        assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0), status
        team.until(lambda: team.names("pods", "meshed"), lambda left: not left)


def test_a_sidecar_that_fails_doesnt_fail_the_job(team: ClusterSite) -> None:
    with injected(team, "raise SystemExit(3)"):
        team.apply(jobs.script(team, "unlucky", LASTS))
        status = team.wait("unlucky", "condition=Finished", seconds=120)
        assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0), status


@contextmanager
def injected(team: ClusterSite, program: str) -> Iterator[None]:
    """Another container in each trainer pod of the team, put there by the API server, as service meshes do."""
    if ADMISSION not in team.kubectl("api-versions").stdout or not served(team):
        pytest.skip("needs MutatingAdmissionPolicy, which Kubernetes serves from 1.36 on")
    name = "footplate-e2e-sidecar"
    rules: list[dict[str, Any]] = [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    ]
    chosen = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": TEAM}}, "resourceRules": rules}
    sidecar = f'{{name: "sidecar", image: "{TRAINER_IMAGE}", command: ["python", "-c", "{program}"]}}'
    expression = f'[JSONPatch{{op: "add", path: "/spec/containers/-", value: Object.spec.containers{sidecar}}}]'
    policy = {
        "matchConstraints": chosen,
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    }
    objects = {"MutatingAdmissionPolicy": policy, "MutatingAdmissionPolicyBinding": {"policyName": name}}
    try:
        for kind, spec in objects.items():
            team.apply({"apiVersion": ADMISSION, "kind": kind, "metadata": {"name": name}, "spec": spec})
        team.until(lambda: containers_of_a_pod(team), lambda count: count == 2)
        yield
    finally:
        for kind in objects:
            team.kubectl("delete", kind, name, "--ignore-not-found")
        team.until(lambda: containers_of_a_pod(team), lambda count: count == 1)


def served(team: ClusterSite) -> bool:
    return (
        "mutatingadmissionpolicies" in team.kubectl("api-resources", "--api-group=admissionregistration.k8s.io").stdout
    )


def containers_of_a_pod(team: ClusterSite) -> int:
    """How many a pod would have that is created now with one."""
    spec = {"containers": [{"name": "main", "image": TRAINER_IMAGE}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "dry"}, "spec": spec}
    dry = ("create", "--dry-run=server", "-f", "-", "-o", "jsonpath={.spec.containers[*].name}")
    return len(team.kubectl(*dry, stdin=pod).stdout.split())
