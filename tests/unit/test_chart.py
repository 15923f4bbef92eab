"""The chart as Helm renders it, without a cluster."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from realcluster.chart import CHART, NAMESPACE, load_helm, render

ROOT = Path(__file__).parents[2]
helm = load_helm()


def of_kind(kind: str, **values: Any) -> list[dict[str, Any]]:
    return [each for each in render(values) if each["kind"] == kind]


def test_lint_finds_nothing_but_the_missing_icon() -> None:
    report = helm.lint(CHART, {"runtime": {"image": "trainer"}, "namespaces": ["a"]}, strict=True)
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]


def test_version_is_the_projects() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_crds_are_those_of_kubectl_and_are_kept() -> None:
    crds = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    for crd in crds:
        crd["metadata"].setdefault("annotations", {})["helm.sh/resource-policy"] = "keep"
    assert of_kind("CustomResourceDefinition") == crds
    assert of_kind("CustomResourceDefinition", crds={"install": False}) == []


def test_package_holds_all_that_it_needs(tmp_path: Path) -> None:
    with helm.Chart.load(helm.package(CHART, destination=tmp_path)) as packaged, helm.Chart.load(CHART) as folder:
        assert packaged.render(name="a", namespace="b") == folder.render(name="a", namespace="b")


def test_operator_runs_with_the_least() -> None:
    [deployment] = of_kind("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "operator/Dockerfile").read_text()
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_no_rights_on_secrets_nor_on_everything() -> None:
    rules = [rule for kind in ("Role", "ClusterRole") for role in of_kind(kind) for rule in role["rules"]]
    assert rules
    for rule in rules:
        assert not {"secrets", "*"} & {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}, rule


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ({}, ["--port=8080"]),
        ({"leaderElection": False}, ["--port=8080", "--no-leader-election"]),
        ({"namespaces": ["a", "b"]}, ["--port=8080", "--namespace=a", "--namespace=b"]),
    ],
)
def test_options(values: dict[str, Any], options: list[str]) -> None:
    [deployment] = of_kind("Deployment", **values)
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == options
    alone = deployment["spec"].get("strategy") == {"type": "Recreate"}
    assert alone is ("--no-leader-election" in options)


def bound(kind: str, **values: Any) -> set[tuple[str | None, str]]:
    """Namespaces and roles of the bindings."""
    return {(each["metadata"].get("namespace"), each["roleRef"]["name"]) for each in of_kind(kind, **values)}


def test_rights_in_chosen_namespaces_are_bound_there_only() -> None:
    everywhere, lease = (None, "footplate-cluster"), (NAMESPACE, "footplate-lease")
    assert bound("ClusterRoleBinding") == {everywhere, (None, "footplate")}
    assert bound("RoleBinding") == {lease}
    assert bound("ClusterRoleBinding", namespaces=["a", "b"]) == {everywhere}
    assert bound("RoleBinding", namespaces=["a", "b"]) == {lease, ("a", "footplate"), ("b", "footplate")}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("PodDisruptionBudget", {"replicas": 2}),
        ("Service", {"metrics": {"service": True}}),
        ("PodMonitor", {"metrics": {"podMonitor": True}}),
    ],
)
def test_made_only_where_asked_for(kind: str, values: dict[str, Any]) -> None:
    assert (len(of_kind(kind)), len(of_kind(kind, **values))) == (0, 1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"replicas": 2, "leaderElection": False}, "at '/replicas': maximum: got 2, want 1"),
        ({"namespaces": ["Team"]}, "at '/namespaces/0': 'Team' does not match pattern"),
        ({"image": {"repository": ""}}, "at '/image/repository': minLength"),
    ],
)
def test_mistakes_in_values_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=words):
        render(values)
