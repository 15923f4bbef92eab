"""What a platform team looks at in any rendering of the chart, and in the pods of jobs."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_matrix import VALUES, Object, pods, rendered
from footplate.api.runtime import ClusterTrainingRuntime
from pod_security import containers, violations
from realcluster.chart import CHART, NAMESPACE, load_helm, render

load_helm()
KIND = "ClusterTrainingRuntime"
GOLDEN = Path(__file__).parent / "policy/golden"
CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterTrainingRuntime",
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "managed-by", "component", "part-of")}
matrix = pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)


def specs_of_jobs() -> dict[str, Object]:
    return {path.stem: yaml.safe_load(path.read_text())["spec"] for path in GOLDEN.glob("*-pod.yaml")}


@matrix
def test_pods_are_restricted(path: Path) -> None:
    found = {name: violations(spec) for name, spec in pods(rendered(path))}
    assert found == {"footplate": [], "footplate-test": []}


def test_pods_of_jobs_are_restricted() -> None:
    found = {name: violations(spec) for name, spec in specs_of_jobs().items()}
    assert found == {"command-pod": [], "recipe-pod": []}


@matrix
def test_nothing_stands_twice(path: Path) -> None:
    """Server-side apply, which Helm 4 uses, refuses a list with two items of one key."""
    for name, spec in [*pods(rendered(path)), *specs_of_jobs().items()]:
        assert twice(each["name"] for each in spec.get("volumes") or ()) == [], name
        assert twice(each["name"] for each in containers(spec)) == [], name
        for each in containers(spec):
            assert twice(variable["name"] for variable in each.get("env") or ()) == [], name
            assert twice(port["name"] for port in each.get("ports") or ()) == [], name
            assert twice((port["containerPort"], port.get("protocol")) for port in each.get("ports") or ()) == [], name
            assert twice(mount["mountPath"] for mount in each.get("volumeMounts") or ()) == [], name
    assert (
        twice((each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in rendered(path))
        == []
    )


def twice(keys: Any) -> list[Any]:
    return [key for key, count in Counter(keys).items() if count > 1]


@matrix
def test_containers_say_what_they_need_and_which_image(path: Path) -> None:
    for name, spec in pods(rendered(path)):
        assert not spec["enableServiceLinks"], name
        for each in containers(spec):
            assert {"cpu", "memory"} <= {*each["resources"]["requests"]}, name
            assert "memory" in each["resources"]["limits"], name
            assert not each["image"].endswith(":latest"), name
            assert "@sha256:" in each["image"] or ":" in each["image"].rpartition("/")[2], name


@matrix
def test_objects_say_whose_they_are_and_where(path: Path) -> None:
    """What has no namespace of its own would go wherever `helm template | kubectl apply` is run."""
    values = yaml.safe_load(path.read_text())
    of_others = len(values.get("extraObjects", ()))
    unlabelled = [each for each in rendered(path) if not {*(each["metadata"].get("labels") or {})} >= LABELS]
    assert {each["kind"] for each in unlabelled} <= {"CustomResourceDefinition", "ConfigMap"}
    assert sum(each["kind"] == "ConfigMap" for each in unlabelled) == of_others
    common = values.get("commonLabels", {})
    for each in rendered(path):
        if each["kind"] != "ConfigMap" or each not in unlabelled:
            assert common.items() <= (each["metadata"].get("labels") or {}).items(), each["metadata"]["name"]
        if each["kind"] not in CLUSTER_SCOPED:
            assert each["metadata"].get("namespace") in {NAMESPACE, *values.get("namespaces", ()), "vision"}


@matrix
def test_names_are_labels_whatever_the_release_is_called(path: Path) -> None:
    """63 characters, for Services and for whoever selects by name; a release's name has 53 at most."""
    values = yaml.safe_load(path.read_text())
    for release in ("x" * 53, "footplate-" + "y" * 43, "a"):
        for each in render({**values, "crds": {"install": False}, "extraObjects": []}, name=release):
            assert len(each["metadata"]["name"]) <= 63, each["metadata"]["name"]


def test_long_names_stay_apart() -> None:
    names = {
        each["metadata"]["name"]
        for release in ("x" * 52 + "1", "x" * 52 + "2")
        for each in render({"crds": {"install": False}}, name=release)
        if each["kind"] == "Deployment"
    }
    assert len(names) == 2


@matrix
def test_what_selects_finds_the_operator_and_not_the_test(path: Path) -> None:
    objects = {(each["kind"], each["metadata"]["name"]): each for each in rendered(path)}
    operator = objects["Deployment", "footplate"]["spec"]["template"]["metadata"]["labels"]
    test = objects["Pod", "footplate-test"]["metadata"]["labels"]
    found = [
        selector.get("matchLabels", selector)
        for (kind, name), each in objects.items()
        if kind in {"Deployment", "Service", "PodDisruptionBudget", "PodMonitor"} and not name.endswith("-trainers")
        for selector in [each["spec"]["selector"]]
    ]
    assert len(found) >= 2
    assert all(selector.items() <= operator.items() for selector in found)
    assert not any(selector.items() <= test.items() for selector in found)


def test_without_a_uid_the_cluster_s_is_taken() -> None:
    [path] = [path for path in VALUES if path.stem == "openshift"]
    for _, spec in pods(rendered(path)):
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_images_by_digest() -> None:
    [path] = [path for path in VALUES if path.stem == "air-gapped"]
    images = {each["image"] for _, spec in pods(rendered(path)) for each in containers(spec)}
    values = yaml.safe_load(path.read_text())["image"]
    assert images == {f"{values['repository']}@{values['digest']}"}


def test_extra_objects_are_templates() -> None:
    [path] = [path for path in VALUES if path.stem == "everything"]
    found = {each["metadata"]["name"]: each for each in rendered(path) if each["kind"] == "ConfigMap"}
    assert found["footplate-banner"]["data"] == {"text": "0.1.0"}
    assert found["as-text"]["metadata"]["namespace"] == NAMESPACE


def test_runtimes_have_nccl_s_variables_and_pods_of_the_operator_none(tmp_path: Path) -> None:
    [path] = [path for path in VALUES if path.stem == "everything"]
    chart = Path(shutil.copytree(CHART, tmp_path / "footplate"))
    template = chart / "templates/runtime.yaml"  # the SDK can't be told which kinds a cluster serves
    text = template.read_text()
    template.write_text(
        text.replace('.Capabilities.APIVersions.Has "footplate.dev/v1alpha1/ClusterTrainingRuntime"', "1")
    )
    assert template.read_text() != text
    made = [each for each in render(yaml.safe_load(path.read_text()), chart=chart) if each["kind"] == KIND]
    cpu, gpu = (ClusterTrainingRuntime.model_validate(each).spec for each in made)
    assert [each["metadata"]["name"] for each in made] == ["torch", "torch-gpu"]
    assert (cpu.trainer, gpu.trainer) != (None, None)
    assert [each.name for each in gpu.trainer.env] == ["NCCL_DEBUG", "NCCL_IB_HCA"]
    assert (cpu.trainer.env, cpu.resources) == ([], None)
    assert gpu.resources.limits["nvidia.com/gpu"] in (8, "8")
    variables = {each["name"] for _, spec in pods(rendered(path)) for one in containers(spec) for each in one["env"]}
    assert not any(name.startswith("NCCL") for name in variables)
