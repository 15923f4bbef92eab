"""The chart as Helm renders it, without a cluster."""

import base64
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic.alias_generators import to_camel

from documents import read_block
from footplate.cli.operator import operator
from footplate.contract import Label
from footplate.gangs.kinds import GangKind
from footplate.gangs.table import SCHEDULERS
from footplate.machinery.settings import OperatorSettings
from realcluster.chart import CHART, NAMESPACE, RELEASE, is_hook, load_helm, render

ROOT = Path(__file__).parents[2]
MONITORED = {"service": True, "podMonitor": True, "prometheusRule": True, "dashboards": True}
helm = load_helm()


def of_kind(kind: str, **values: Any) -> list[dict[str, Any]]:
    if kind != "CustomResourceDefinition":  # half a MB of YAML
        values = {"crds": {"install": False}} | values
    return [each for each in render(values) if each["kind"] == kind and not is_hook(each)]


def test_lint_finds_nothing_but_the_missing_icon() -> None:
    report = helm.lint(CHART, {"runtime": {"image": "trainer"}, "namespaces": ["a"], "metrics": MONITORED}, strict=True)
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


def test_rights_on_gangs_are_those_of_the_schedulers_that_are_named() -> None:
    def groups(**gangs: bool) -> set[str]:
        roles = of_kind("ClusterRole", gangs=gangs)
        rules = next(role for role in roles if role["metadata"]["name"] == RELEASE)["rules"]
        return {rule["apiGroups"][0] for rule in rules if {"workloads", "podgroups"} & {*rule["resources"]}}

    of_kind_of_gang = {str(kind): scheduler.apis[0].split("/")[0] for kind, scheduler in SCHEDULERS.items()}
    assert groups() == {*of_kind_of_gang.values()}
    for kind, group in of_kind_of_gang.items():
        assert groups(**{kind: False}) == {*of_kind_of_gang.values()} - {group}
        [deployment] = of_kind("Deployment", gangs={kind: False})
        arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        assert command().make_context("operator", arguments).params["without_gang"] == [GangKind(kind)]


def test_package_holds_all_that_it_needs(tmp_path: Path) -> None:
    with helm.Chart.load(helm.package(CHART, destination=tmp_path)) as packaged, helm.Chart.load(CHART) as folder:
        values = {"metrics": MONITORED}
        assert packaged.render(values, name="a", namespace="b") == folder.render(values, name="a", namespace="b")


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
    assert pod["automountServiceAccountToken"]
    [account] = of_kind("ServiceAccount")
    assert account["automountServiceAccountToken"] is False, (
        "whoever runs a pod with it must say that they want its token"
    )
    assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "operator/Dockerfile").read_text()
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_no_rights_on_secrets_nor_on_everything() -> None:
    rules = [rule for kind in ("Role", "ClusterRole") for role in of_kind(kind) for rule in role["rules"]]
    assert rules
    for rule in rules:
        assert not {"secrets", "*"} & {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}, rule


def command() -> Any:
    """`footplate operator`, which reads them."""
    app = typer.Typer()
    app.command()(operator)
    return typer.main.get_command(app)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ({}, ["--log-level=info"]),
        ({"leaderElection": False, "replicas": 1}, ["--no-leader-election"]),
        ({"namespaces": ["a", "b"]}, ["--namespace=a", "--namespace=b"]),
        (
            {
                "logLevel": "debug",
                "workers": 4,
                "pollInterval": 0.5,
                "accelerators": ["nvidia.com/mig-*"],
                "prometheus": {"url": "http://p:9090"},
            },
            [
                "--log-level=debug",
                "--workers=4",
                "--poll-interval=0.5",
                "--accelerator=nvidia.com/mig-*",
                "--prometheus=http://p:9090",
            ],
        ),
        ({"propagateLabels": ["a.b/*", "cost"]}, ["--propagate-label=a.b/*", "--propagate-label=cost"]),
        (
            {"prometheus": {"url": "https://p/x"}, "networkPolicies": {"operator": {"enabled": True}}},
            ["--prometheus=https://p/x"],
        ),
        (
            {"prometheus": {"url": "http://p:90"}, "networkPolicies": {"operator": {"enabled": True, "egress": [{}]}}},
            ["--prometheus=http://p:90"],
        ),
        ({"propagateLabels": []}, ["--propagate-label="]),
        ({"metrics": {"auth": True}}, ["--metrics-auth"]),
        ({"podTokens": {"enabled": True}}, ["--token-key-file=/etc/footplate/pod-tokens/key"]),
        ({"podTokens": {"enabled": True, "openMetrics": True}}, ["--open-pod-metrics"]),
    ],
)
def test_options(values: dict[str, Any], options: list[str]) -> None:
    [deployment] = of_kind("Deployment", **values)
    given = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--port=8080", *options} <= {*given}
    assert command().make_context("operator", given).params["port"] == 8080  # it knows them all
    alone = deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert alone is ("--no-leader-election" in options)


def test_the_key_of_the_pods_tokens_is_mounted_and_not_read() -> None:
    for existing, secret in (("", "footplate-pod-tokens"), ("ours", "ours")):
        values = {"podTokens": {"enabled": True, "existingSecret": existing}}
        [deployment] = of_kind("Deployment", **values)
        pod = deployment["spec"]["template"]["spec"]
        [volume] = pod["volumes"]
        assert volume["secret"] == {"secretName": secret, "items": [{"key": "key", "path": "key"}]}
        assert [mount["name"] for mount in pod["containers"][0]["volumeMounts"]] == [volume["name"]]
        made = of_kind("Secret", **values)
        assert [len(base64.b64decode(each["data"]["key"])) for each in made] == ([] if existing else [64])
    assert of_kind("Secret") == []


def test_tokens_and_a_pod_monitor_contradict_each_other() -> None:
    values = {"podTokens": {"enabled": True}, "metrics": {"podMonitor": True}}
    with pytest.raises(Exception, match=r"Set podTokens\.openMetrics: true"):
        of_kind("PodMonitor", **values)
    assert of_kind("PodMonitor", podTokens={"enabled": True, "openMetrics": True}, metrics={"podMonitor": True})


@pytest.mark.parametrize(
    ("kind", "monitor"),
    [("PodMonitor", {"podMonitor": True}), ("ServiceMonitor", {"service": True, "serviceMonitor": True})],
)
def test_who_scrapes_shows_the_token_that_is_asked_for(kind: str, monitor: dict[str, bool]) -> None:
    shown = [
        endpoint["authorization"]["credentials"]
        for each in of_kind(kind, metrics={"auth": True, "authSecret": "scrape", **monitor})
        for endpoint in each["spec"].get("podMetricsEndpoints") or each["spec"]["endpoints"]
        if "authorization" in endpoint
    ]
    assert shown == [{"name": "scrape", "key": "token"}], "and the pods of jobs never see it"


def test_who_scrapes_is_asked_for_with_a_right_of_its_own() -> None:
    [role] = [each for each in of_kind("ClusterRole", metrics={"auth": True}) if "auth" in each["metadata"]["name"]]
    assert [rule["verbs"] for rule in role["rules"]] == [["create"], ["create"]]
    assert not [each for each in of_kind("ClusterRole") if "auth" in each["metadata"]["name"]]


def test_defaults_are_the_operator_s() -> None:
    [deployment] = of_kind("Deployment")
    given = command().make_context("operator", deployment["spec"]["template"]["spec"]["containers"][0]["args"]).params
    settings = OperatorSettings()
    assert (given["workers"], given["poll_interval"]) == (settings.workers, settings.poll_interval)
    assert tuple(given["propagate_label"]) == settings.propagate_labels


def test_values_of_the_pod() -> None:
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
    affinity = {"nodeAffinity": {}}
    values = {
        "extraEnv": [proxy],
        "priorityClassName": "system-cluster-critical",
        "affinity": affinity,
        "annotations": {"team": "ml"},
        "podAnnotations": {"sidecar.istio.io/inject": "false"},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
    }
    [deployment] = of_kind("Deployment", **values)
    template = deployment["spec"]["template"]
    pod = template["spec"]
    assert deployment["metadata"]["annotations"] == values["annotations"]
    assert template["metadata"]["annotations"] == values["podAnnotations"]
    assert [each["name"] for each in pod["containers"][0]["env"]] == ["POD_NAME", "POD_NAMESPACE", "HTTPS_PROXY"]
    for name in ("priorityClassName", "affinity", "nodeSelector", "tolerations", "imagePullSecrets"):
        assert pod[name] == values[name]


def test_nothing_stands_empty_in_the_pod() -> None:
    [deployment] = of_kind("Deployment")
    template = deployment["spec"]["template"]
    assert "annotations" not in {*deployment["metadata"], *template["metadata"]}
    assert not {"priorityClassName", "affinity", "nodeSelector", "tolerations"} & {*template["spec"]}


def test_probes_give_a_start_its_time() -> None:
    """Each probe that fails is a Warning event, also while the operator just starts."""
    [deployment] = of_kind("Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["initialDelaySeconds"] >= 10
    assert container["livenessProbe"]["initialDelaySeconds"] >= 10


def test_who_only_has_a_namespace_may_be_let_read_the_cluster_s_runtimes() -> None:
    [role] = [each for each in of_kind("ClusterRole") if each["metadata"]["name"] == "footplate-runtimes"]
    assert role["rules"] == [
        {"apiGroups": ["footplate.dev"], "resources": ["clustertrainingruntimes"], "verbs": ["get", "list", "watch"]}
    ]


def test_admission_policies_can_be_left_to_another_release() -> None:
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    assert [len(of_kind(kind)) for kind in kinds] == [3, 3]
    assert [len(of_kind(kind, admissionPolicy=False)) for kind in kinds] == [0, 0]


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
        ("Service", {"metrics": {"service": True}}),
        ("ServiceMonitor", {"metrics": {"service": True, "serviceMonitor": True}}),
        ("PrometheusRule", {"metrics": {"prometheusRule": True}}),
    ],
)
def test_made_only_where_asked_for(kind: str, values: dict[str, Any]) -> None:
    assert (len(of_kind(kind)), len(of_kind(kind, **values))) == (0, 1)


def test_one_of_two_replicas_may_go_at_a_time_and_one_alone_always() -> None:
    [budget] = of_kind("PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert of_kind("PodDisruptionBudget", replicas=1) == []


def test_replicas_are_spread_over_nodes_and_zones() -> None:
    [deployment] = of_kind("Deployment")
    assert deployment["spec"]["replicas"] == 2
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert all({*each["labelSelector"]["matchLabels"].items()} <= {*labels.items()} for each in spread)


def test_service_monitor_selects_the_service() -> None:
    values = {"metrics": {"service": True, "serviceMonitor": True}}
    [monitor], [service] = of_kind("ServiceMonitor", **values), of_kind("Service", **values)
    assert {*monitor["spec"]["selector"]["matchLabels"].items()} <= {*service["metadata"]["labels"].items()}
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_pod_monitors_select_the_pods_that_there_are() -> None:
    assert of_kind("PodMonitor") == []
    operator, trainers = of_kind("PodMonitor", metrics={"podMonitor": True, "labels": {"release": "prometheus"}})
    [deployment] = of_kind("Deployment")
    template = deployment["spec"]["template"]
    assert operator["metadata"]["labels"]["release"] == trainers["metadata"]["labels"]["release"] == "prometheus"
    assert {*operator["spec"]["selector"]["matchLabels"].items()} <= {*template["metadata"]["labels"].items()}
    [endpoint] = operator["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    assert endpoint["honorLabels"]
    assert trainers["spec"]["selector"]["matchLabels"] == {Label.MANAGED_BY: "footplate"}
    assert trainers["spec"]["namespaceSelector"] == {"any": True}
    [_, chosen] = of_kind("PodMonitor", metrics={"podMonitor": True}, namespaces=["team"])
    assert chosen["spec"]["namespaceSelector"] == {"matchNames": ["team"]}


def test_pod_monitors_scrape_as_the_documented_configuration() -> None:
    """What the Prometheus operator adds by itself (port, phase, namespace and pod) aside."""
    by_itself = {"port", "phase", "namespace", "pod"}
    monitors = of_kind("PodMonitor", metrics={"podMonitor": True})
    scrapes = yaml.safe_load(read_block("operations.md", "prometheus: scrape"))["scrape_configs"]
    for monitor, scrape in zip(monitors, scrapes, strict=True):
        [endpoint] = monitor["spec"]["podMetricsEndpoints"]
        for limit in ("body_size", "sample", "label", "label_name_length", "label_value_length"):
            assert monitor["spec"].get(to_camel(f"{limit}_limit")) == scrape.get(f"{limit}_limit")
        assert endpoint.get("honorLabels", False) == scrape.get("honor_labels", False)
        relabelings = {(*each["sourceLabels"], each["targetLabel"]) for each in endpoint.get("relabelings", ())}
        documented = {(*each["source_labels"], each.get("target_label")) for each in scrape["relabel_configs"]}
        left = {each for each in documented - relabelings if each[1] not in by_itself | {None}}
        assert relabelings <= documented
        assert left == set()


def test_rules_are_those_of_the_plain_file_with_their_runbooks_address() -> None:
    address = "https://docs.example.com/footplate/alerts.md"
    plain = (CHART / "files/alerts.yaml").read_text()
    [rule] = of_kind("PrometheusRule", metrics={"prometheusRule": True})
    assert rule["spec"] == yaml.safe_load(plain)
    [linked] = of_kind("PrometheusRule", metrics={"prometheusRule": True, "runbooks": address})
    links = {each["annotations"]["runbook_url"] for group in linked["spec"]["groups"] for each in group["rules"]}
    assert all(re.fullmatch(rf"{re.escape(address)}#\w+", link) for link in links)


def test_dashboards_are_as_grafana_s_sidecar_wants_them() -> None:
    """It puts all files into one folder, so that their names must tell them from others'."""
    made = {each["metadata"]["name"]: each for each in of_kind("ConfigMap", metrics={"dashboards": True})}
    assert of_kind("ConfigMap") == []
    files = sorted((CHART / "files/dashboards").iterdir())
    assert sorted(made) == [f"footplate-dashboard-{file.stem}" for file in files]
    for file in files:
        config_map = made[f"footplate-dashboard-{file.stem}"]
        assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert config_map["data"] == {f"footplate-{file.name}": file.read_text()}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"namespaces": ["Team"]}, "at '/namespaces/0': 'Team' does not match pattern"),
        ({"image": {"repository": ""}}, "at '/image/repository': minLength"),
        ({"logLevel": "verbose"}, "at '/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
        ({"workers": 0}, "at '/workers': minimum: got 0, want 1"),
        ({"pollInterval": 0}, "at '/pollInterval': minimum: got 0, want 0.1"),
        ({"propagateLabels": ["cost-"]}, "at '/propagateLabels/0': 'cost-' does not match pattern"),
        ({"extraEnv": [{"value": "x"}]}, "at '/extraEnv/0': missing property 'name'"),
        ({"metrics": {"runbooks": "alerts.md#a"}}, "at '/metrics/runbooks': 'alerts.md#a' does not match pattern"),
        ({"podAnnotations": {"a": True}}, "at '/podAnnotations/a': got boolean, want string"),
    ],
)
def test_mistakes_in_values_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=words):
        render(values)
