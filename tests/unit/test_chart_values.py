"""What is said of the chart's values, and to whoever gives wrong ones."""

import json
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from footplate.policy.labels import NEVER, NEVER_OF
from realcluster.chart import CHART, ROOT, load_helm, render, render_texts

helm = load_helm()
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
FIRST = ROOT / "tests/realcluster/charts/footplate-0.1.0.tgz"
FREE = {"global", "nodeAffinity", "podAffinity", "podAntiAffinity"}
"""Maps of Helm or of the API server, which says itself what is wrong with them."""


def maps(schema: Mapping[str, Any], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each schema of a map, with its name."""
    if schema.get("type") == "object":
        yield name, schema
    for key, each in schema.get("properties", {}).items():
        yield from maps(each, key)
    if "items" in schema:
        yield from maps(schema["items"], f"{name}[]")


def test_no_unknown_value_passes() -> None:
    all_maps = [*maps(SCHEMA, ""), *(each for name, part in SCHEMA["definitions"].items() for each in maps(part, name))]
    assert {name for name, each in all_maps if "additionalProperties" not in each} == FREE


def properties(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, each in schema.get("properties", {}).items():
        yield name, each
        yield from properties(each)


def test_each_value_is_described_and_has_a_default() -> None:
    assert [name for name, each in properties(SCHEMA) if not each.get("description")] == []
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert {*values} == {*SCHEMA["properties"]} - {"global"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"podSecurityContext": {"runAsUser": 0}}, "at '/podSecurityContext/runAsUser': minimum: got 0, want 1"),
        ({"podSecurityContext": {"privileged": True}}, "additional properties 'privileged' not allowed"),
        ({"image": {"tag": "a b"}}, "at '/image/tag': 'a b' does not match pattern"),
        ({"image": {"digest": "sha256:12"}}, "at '/image/digest': 'sha256:12' does not match pattern"),
        ({"image": {"repository": "a/b:1"}}, "at '/image/repository': 'a/b:1' does not match pattern"),
        ({"tolerations": [{"effekt": "NoSchedule"}]}, "additional properties 'effekt' not allowed"),
        ({"resources": {"limit": {}}}, "additional properties 'limit' not allowed"),
        ({"networkPolicies": {"metricsFrom": [{}]}}, "at '/networkPolicies/metricsFrom/0': minProperties"),
        ({"networkPolicies": {"apiServer": {"cidrs": ["10.0.0.1"]}}}, "'10.0.0.1' does not match pattern"),
        ({"runtime": {"gpu": {"env": {"A-B": "1"}}}}, "at '/runtime/gpu/env': additional properties 'A-B' not allowed"),
        ({"chargebackLabel": "cost center"}, "at '/chargebackLabel': 'cost center' does not match pattern"),
        (
            {"networkPolicies": {"apiServer": {"ports": None}}},
            "/apiServer': missing property 'ports'",
        ),
    ],
)
def test_what_is_wrong_by_itself_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=re.escape(words)):
        render(values)


NEEDED = {*SCHEMA["required"]}


@pytest.mark.parametrize("name", sorted({*SCHEMA["properties"]} - {"global"}))
def test_a_value_that_is_null_is_missed_or_not_needed(name: str) -> None:
    """Helm takes a value that is null away, with its default."""
    if name not in NEEDED:
        assert render({name: None})
        return
    with pytest.raises(helm.HelmValuesError, match=f"missing property '{name}'"):
        render({name: None})


JOBS_HAVE_POLICIES = {"jobs": {"enabled": True, "namespaces": ["team"]}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"leaderElection": False},
            "replicas is 2 and leaderElection is false: all of them would act at the same time.",
        ),
        ({"image": {"tag": "latest"}}, "Name a version, or image.digest."),
        ({"extraEnv": [{"name": "POD_NAME", "value": "x"}]}, "extraEnv has POD_NAME, which the chart sets itself."),
        ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "commonLabels has app.kubernetes.io/name, which the chart"),
        ({"podLabels": {"helm.sh/chart": "x"}}, "podLabels has helm.sh/chart, which the chart sets itself"),
        ({"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "extraEnv has A twice."),
        ({"metrics": {"serviceMonitor": True}}, "metrics.service is false: there would be no Service to select."),
        (
            {"metrics": {"service": True, "serviceMonitor": True, "podMonitor": True}},
            "the operator would be scraped twice",
        ),
        (
            {"prometheus": {"url": "http://p:9090"}, "networkPolicies": {"operator": {"enabled": True}}},
            "networkPolicies.operator would keep the operator from prometheus.url, http://p:9090",
        ),
        (
            {
                "prometheus": {"url": "https://p/x"},
                "networkPolicies": {"operator": {"enabled": True}, "apiServer": {"cidrs": ["10.0.0.1/32"]}},
            },
            "networkPolicies.operator would keep the operator from prometheus.url, https://p/x",
        ),
        (
            {"metrics": {"podMonitor": True}, "networkPolicies": {"operator": {"enabled": True}}},
            "networkPolicies would shut out the Prometheus",
        ),
        (
            {"metrics": {"podMonitor": True}, "networkPolicies": JOBS_HAVE_POLICIES},
            "Name its namespace in networkPolicies.metricsFrom",
        ),
        ({"networkPolicies": {"jobs": {"enabled": True}}}, "List them in networkPolicies.jobs.namespaces."),
        (
            {"namespaces": ["other"], "networkPolicies": JOBS_HAVE_POLICIES},
            "networkPolicies.jobs.namespaces has team, which isn't among namespaces",
        ),
        (
            {"networkPolicies": {"jobs": {"namespaces": ["a", "b"]}}},
            "names a, b, and networkPolicies.jobs.enabled is false: nothing would keep them.",
        ),
        ({"podTokens": {"existingSecret": "ours"}}, "podTokens.existingSecret is set and podTokens.enabled is false"),
        ({"podTokens": {"openMetrics": True}}, "podTokens.openMetrics is set and podTokens.enabled is false"),
        ({"podTokens": {"enabled": True}, "metrics": {"podMonitor": True}}, "Set podTokens.openMetrics: true"),
        ({"metrics": {"auth": True, "podMonitor": True}}, "every scrape of the operator would be a 401."),
        (
            {"metrics": {"auth": True, "service": True, "serviceMonitor": True}},
            "Name the Secret that holds one in metrics.authSecret",
        ),
        ({"metrics": {"authSecret": "scrape"}}, "metrics.authSecret is set, and nothing would read it."),
        *(({"propagateLabels": [never]}, f"propagateLabels has {never}, by which tools know") for never in NEVER),
        *(
            ({"propagateLabels": [f"{at}{domain}/*"]}, f"propagateLabels has {at}{domain}/*, by which tools know")
            for domain in NEVER_OF
            for at in ("", "below.")
        ),
        ({"propagateLabels": ["helm.sh/chart"]}, "propagateLabels has helm.sh/chart, by which tools know"),
    ],
)
def test_contradictions_end_in_a_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(helm.HelmRenderError) as failed:
        render(values)
    assert words in str(failed.value)
    assert str(failed.value).rstrip()[-1] in ".]", "the way out comes last"


def notes(**values: Any) -> str:
    [text] = [text for path, text in render_texts(values).items() if path.endswith("NOTES.txt")]
    return text


def test_notes_say_what_comes_next() -> None:
    text = notes(image={"repository": "registry.acme.example/operator"})
    assert "serves TrainingJobs in every namespace" in text
    assert "helm -n footplate-system test footplate" in text
    crds = [path.stem.partition("_")[2] for path in sorted((CHART / "files/crds").iterdir())]
    assert f"kubectl delete crd {' '.join(f'{name}.footplate.dev' for name in crds)}" in text
    assert "WARNING" not in text
    assert "serves TrainingJobs in a, b" in notes(namespaces=["a", "b"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "WARNING: image.repository is still registry.example.com/footplate/operator"),
        ({"replicas": 0}, "WARNING: replicas is 0."),
        ({"replicas": 1}, "With one replica nothing is started or restarted while its node is away"),
        (
            {"networkPolicies": {"jobs": {"enabled": True, "namespaces": ["a"], "internet": False}}},
            "WARNING: jobs may go nowhere but to DNS",
        ),
        ({"networkPolicies": {"operator": {"enabled": True}}}, "name its own in networkPolicies.apiServer.cidrs"),
        ({"runtime": {"gpu": {"image": "a"}}}, "--reset-then-reuse-values"),
    ],
)
def test_notes_warn(values: dict[str, Any], words: str) -> None:
    assert words in notes(**values)


def test_values_of_the_first_chart_render_what_they_did(tmp_path: Path) -> None:
    """`helm upgrade --reuse-values` keeps the old chart's defaults: what is new isn't there at all, not even empty."""
    chart = Path(shutil.copytree(CHART, tmp_path / "footplate"))
    with tarfile.open(FIRST) as package:
        text = package.extractfile("footplate/values.yaml")
        assert text is not None
        (chart / "values.yaml").write_bytes(text.read())
    [deployment] = [each for each in render({"runtime": {"image": "a"}}, chart=chart) if each["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    given = {*deployment["spec"]["template"]["spec"]["containers"][0]["args"]}
    assert not any(each.startswith("--without-gang") for each in given), "it has the rights for them"
