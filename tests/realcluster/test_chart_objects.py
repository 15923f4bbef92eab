"""What the chart makes, before a real API server: values files by server-side apply, and pods under Pod Security."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_matrix import VALUES, Object, pods, rendered
from pod_security import violations
from realcluster.chart import NAMESPACE, load_helm
from realcluster.controlplane import ControlPlane, find_assets

pytestmark = [
    pytest.mark.realcluster,
    pytest.mark.skipif(find_assets() is None, reason="needs etcd and kube-apiserver in $KUBEBUILDER_ASSETS"),
]
load_helm()

GOLDEN = Path(__file__).parents[1] / "unit/policy/golden"
RESTRICTED = "restricted"
MONITORING = ("PodMonitor", "ServiceMonitor", "PrometheusRule")


def crd_of(kind: str) -> Object:
    """A stand-in for a CRD of the Prometheus operator: any spec."""
    plural, group = f"{kind.lower()}s", "monitoring.coreos.com"
    spec = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


@pytest.fixture(scope="module")
def prepared() -> Iterator[ControlPlane]:
    """Nothing of ours: the namespaces of the values files, a restricted one, and the Prometheus operator's kinds."""
    with ControlPlane() as plane:
        prepare(plane)
        yield plane


def prepare(plane: ControlPlane) -> None:
    for name in (NAMESPACE, "vision", "speech", RESTRICTED):
        plane.kubectl("create", "namespace", name)
    plane.kubectl("label", "namespace", RESTRICTED, "pod-security.kubernetes.io/enforce=restricted")
    plane.kubectl("create", "priorityclass", "platform", "--value=1000")
    for kind in MONITORING:
        plane.kubectl("apply", "-f", "-", stdin=crd_of(kind))
        plane.kubectl("wait", "--for=condition=Established", f"crd/{kind.lower()}s.monitoring.coreos.com")


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)
def test_server_side_apply_takes_it(prepared: ControlPlane, path: Path) -> None:
    """As Helm 4 does it: each item of a list has a key, and none may stand twice; no field is unknown."""
    everything = {"apiVersion": "v1", "kind": "List", "items": list(rendered(path))}
    flags = ("--server-side", "--field-manager=helm", "--force-conflicts", "--validate=strict", "--dry-run=server")
    done = prepared.kubectl("apply", *flags, "-f", "-", stdin=everything, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr


def restricted_pod() -> Object:
    """The operator's, as minimal.yaml has it."""
    [path] = [path for path in VALUES if path.stem == "minimal"]
    return dict(dict(pods(rendered(path)))["footplate"])


def container(spec: Object) -> Any:
    return spec["containers"][0]


# No privileged container is among them: the tests' API server refuses it in any namespace.
CHANGES: dict[str, Callable[[Object], object]] = {
    "nothing": lambda spec: None,
    "hostNetwork": lambda spec: spec.update(hostNetwork=True),
    "hostPID": lambda spec: spec.update(hostPID=True),
    "hostPath": lambda spec: spec.update(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
    "nfs": lambda spec: spec.update(volumes=[{"name": "v", "nfs": {"server": "a", "path": "/"}}]),
    "emptyDir": lambda spec: spec.update(volumes=[{"name": "v", "emptyDir": {}}]),
    "root": lambda spec: spec["securityContext"].update(runAsUser=0),
    "container as root": lambda spec: container(spec)["securityContext"].update(runAsUser=0),
    "runAsNonRoot left out": lambda spec: spec["securityContext"].pop("runAsNonRoot"),
    "container may be root": lambda spec: container(spec)["securityContext"].update(runAsNonRoot=False),
    "no seccomp": lambda spec: spec["securityContext"].pop("seccompProfile"),
    "seccomp unconfined": lambda spec: spec["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    "container unconfined": lambda spec: container(spec)["securityContext"].update(
        seccompProfile={"type": "Unconfined"}
    ),
    "escalation left out": lambda spec: container(spec)["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities kept": lambda spec: container(spec)["securityContext"].update(capabilities={"drop": ["NET_RAW"]}),
    "NET_ADMIN": lambda spec: container(spec)["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
    "NET_BIND_SERVICE": lambda spec: container(spec)["securityContext"]["capabilities"].update(
        add=["NET_BIND_SERVICE"]
    ),
    "hostPort": lambda spec: container(spec)["ports"][0].update(hostPort=8080),
    "apparmor unconfined": lambda spec: spec["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
    "selinux": lambda spec: spec["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
    "sysctl": lambda spec: spec["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "safe sysctl": lambda spec: spec["securityContext"].update(
        sysctls=[{"name": "net.ipv4.tcp_syncookies", "value": "1"}]
    ),
    "host of a probe": lambda spec: container(spec)["livenessProbe"]["httpGet"].update(host="10.0.0.1"),
    "an init container without a context": lambda spec: spec.update(initContainers=[{"name": "i", "image": "a:1"}]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_tests_own_verdict_on_pod_security_is_the_api_server_s(prepared: ControlPlane, change: str) -> None:
    spec = copy.deepcopy(restricted_pod())
    for each in spec["topologySpreadConstraints"]:
        each.pop("matchLabelKeys")  # a Deployment's pods have its key
    CHANGES[change](spec)
    refused = create(prepared, spec)
    assert bool(violations(spec)) is bool(refused), (violations(spec), refused)
    assert "violates PodSecurity" in refused or not refused, refused


@pytest.mark.parametrize("name", ["command-pod", "recipe-pod"])
def test_pods_of_jobs_may_run_in_a_restricted_namespace(prepared: ControlPlane, name: str) -> None:
    assert create(prepared, yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())["spec"]) == ""


def create(plane: ControlPlane, spec: Object) -> str:
    """What the API server says against such a pod in the restricted namespace."""
    own = {key: value for key, value in spec.items() if key not in ("priorityClassName", "runtimeClassName")}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": own}
    return plane.kubectl(
        "create", "--dry-run=server", "-n", RESTRICTED, "-f", "-", stdin=json.dumps(pod), check=False
    ).stderr
