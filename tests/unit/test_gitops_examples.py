"""examples/gitops: what it hands to Argo CD and Flux is what the chart ships and the operator takes."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from footplate.manifests.documents import read_documents
from footplate.manifests.validation import judge
from footplate.policy.labels import check_patterns
from health.judges import HEALTH, flux_expressions

EXAMPLES = Path(__file__).parents[2] / "examples"
GITOPS = EXAMPLES / "gitops"
ROOT = EXAMPLES.parent


def documents(path: str) -> list[dict[str, Any]]:
    return [*yaml.safe_load_all((GITOPS / path).read_text())]


def all_documents() -> list[dict[str, Any]]:
    return [each for path in sorted(GITOPS.rglob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]


def test_argo_cd_gets_the_charts_script() -> None:
    [config] = documents("argocd/argocd-cm.yaml")
    script = config["data"]["resource.customizations.health.footplate.dev_TrainingJob"]
    assert script == (HEALTH / "argocd.lua").read_text()


def test_flux_gets_the_charts_expressions() -> None:
    _, kustomization = documents("flux/trainings.yaml")
    assert kustomization["spec"]["healthCheckExprs"] == [flux_expressions()]
    assert kustomization["spec"]["wait"] is True


def test_nothing_is_ignored() -> None:
    text = json.dumps(all_documents())
    for word in ("ignoreDifferences", "driftDetection", "IgnoreExtraneous", "RespectIgnoreDifferences"):
        assert word not in text


def test_every_source_is_there() -> None:
    sources = {each["metadata"]["name"] for each in all_documents() if each["kind"] == "GitRepository"}
    named = re.findall(r'"sourceRef": {"kind": "GitRepository", "name": "([^"]+)"}', json.dumps(all_documents()))
    assert sources == {*named} == {"footplate", "vision-trainings"}


def paths() -> dict[str, str]:
    named = {}
    for each in all_documents():
        spec = each.get("spec", {})
        chart = spec.get("chart", {}).get("spec", {}).get("chart")
        for path in (spec.get("path"), spec.get("source", {}).get("path"), chart):
            if path is not None:
                named[f"{each['kind']} {each['metadata']['name']}"] = path
    return named


def test_what_they_point_at_is_there() -> None:
    assert len(paths()) == 4
    for path in paths().values():
        assert (ROOT / path).is_dir(), path


@pytest.mark.parametrize("tool", ["argocd/applications.yaml", "flux/operator.yaml"])
def test_the_charts_values_are_values_of_the_chart(tool: str) -> None:
    known = yaml.safe_load((ROOT / "helm/footplate/values.yaml").read_text())
    specs = [each["spec"] for each in documents(tool)]
    given = [spec.get("values") or spec.get("source", {}).get("helm", {}).get("valuesObject") for spec in specs]
    [values] = [each for each in given if each is not None]
    assert values.keys() <= known.keys()
    check_patterns(values["propagateLabels"])


def test_the_training_is_a_job_that_keeps_its_record() -> None:
    [said] = judge(read_documents(str(GITOPS / "trainings/job.yaml"), stdin=io.StringIO()))
    assert [*said.problems] == []
    [job] = documents("trainings/job.yaml")
    assert job["spec"]["runPolicy"]["ttlKeepsJob"] is True
    assert job["spec"]["runPolicy"]["restartNonce"]
    assert job["spec"]["output"]["uri"]
