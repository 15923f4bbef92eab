"""What the chart's NetworkPolicies let through, and what not."""

from typing import Any

import pytest

from footplate.contract import METRICS_PORT
from network_policies import Endpoint, admits
from realcluster.chart import NAMESPACE, RELEASE, load_helm, render

load_helm()
OPERATOR_PORT = 8080


def pod(namespace: str, ip: str, labels: dict[str, str]) -> Endpoint:
    name = {"kubernetes.io/metadata.name": namespace}
    return Endpoint(ip=ip, namespace=namespace, labels=labels, namespace_labels=name)


def of_release(component: str, ip: str) -> Endpoint:
    labels = {"name": "footplate", "instance": RELEASE, "component": component}
    return pod(NAMESPACE, ip, {f"app.kubernetes.io/{key}": value for key, value in labels.items()})


TRAINER = {"footplate.dev/managed-by": "footplate"}
WHO = {
    "operator": of_release("operator", "10.1.0.1"),
    "test": of_release("test", "10.1.0.2"),
    "neighbour": pod(NAMESPACE, "10.1.0.3", {"app": "other"}),
    "rank 0": pod("vision", "10.1.1.0", TRAINER),
    "rank 1": pod("vision", "10.1.1.1", TRAINER),
    "notebook": pod("vision", "10.1.1.2", {"app": "notebook"}),
    "other team": pod("speech", "10.1.2.0", TRAINER),
    "unserved": pod("unserved", "10.1.3.0", TRAINER),
    "prometheus": pod("monitoring", "10.1.4.0", {"app": "prometheus"}),
    "dns": pod("kube-system", "10.1.5.0", {"k8s-app": "kube-dns"}),
    "kube-system": pod("kube-system", "10.1.5.1", {"k8s-app": "other"}),
    "minio": pod("minio", "10.1.6.0", {"app": "minio"}),
    "api server": Endpoint(ip="10.0.0.10"),
    "service of api server": Endpoint(ip="10.96.0.1"),
    "public api server": Endpoint(ip="203.0.113.7"),
    "api server on v6": Endpoint(ip="2001:db8::7"),
    "metadata": Endpoint(ip="169.254.169.254"),
    "metadata of AWS on v6": Endpoint(ip="fd00:ec2::254"),
    "Azure's platform": Endpoint(ip="168.63.129.16"),
    "node": Endpoint(ip="192.168.7.7"),
    "S3": Endpoint(ip="52.216.0.1"),
    "S3 on v6": Endpoint(ip="2600:1f00::1"),
    "tracker": Endpoint(ip="10.20.0.5"),
}
VALUES: dict[str, Any] = {
    "namespaces": ["vision", "speech"],
    "networkPolicies": {
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "apiServer": {"cidrs": ["10.96.0.1/32", "10.0.0.10/32", "203.0.113.7/32", "2001:db8::7/128"]},
        "operator": {"enabled": True},
        "jobs": {
            "enabled": True,
            "egress": [
                {
                    "to": [
                        {
                            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "minio"}},
                            "podSelector": {"matchLabels": {"app": "minio"}},
                        }
                    ],
                    "ports": [{"protocol": "TCP", "port": 9000}],
                },
                {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}], "ports": [{"protocol": "TCP", "port": 5000}]},
            ],
        },
    },
}


def policies(**changed: Any) -> list[dict[str, Any]]:
    values = {**VALUES, "networkPolicies": {**VALUES["networkPolicies"], **changed}, "crds": {"install": False}}
    return [each for each in render(values) if each["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize(
    ("source", "target", "port", "admitted"),
    [
        ("rank 0", "rank 1", 29500, True),
        ("rank 1", "rank 0", 41234, True),
        ("rank 0", "other team", 29500, False),
        ("other team", "rank 0", METRICS_PORT, False),
        ("notebook", "rank 0", 29500, False),
        ("notebook", "rank 0", METRICS_PORT, False),
        ("rank 0", "notebook", 8888, False),
        ("operator", "rank 0", METRICS_PORT, True),
        ("operator", "other team", METRICS_PORT, True),
        ("operator", "rank 0", 29500, False),
        ("operator", "unserved", METRICS_PORT, False),
        ("operator", "notebook", METRICS_PORT, False),
        ("test", "rank 0", METRICS_PORT, False),
        ("prometheus", "rank 0", METRICS_PORT, True),
        ("prometheus", "rank 0", 29500, False),
        ("prometheus", "operator", OPERATOR_PORT, True),
        ("neighbour", "operator", OPERATOR_PORT, False),
        ("rank 0", "operator", OPERATOR_PORT, False),
        ("test", "operator", OPERATOR_PORT, True),
        ("rank 0", "dns", 53, True),
        ("rank 0", "kube-system", 53, False),
        ("rank 0", "dns", 9153, False),
        ("operator", "dns", 53, True),
        ("rank 0", "minio", 9000, True),
        ("rank 0", "minio", 9001, False),
        ("rank 0", "tracker", 5000, True),
        ("rank 0", "tracker", 22, False),
        ("rank 0", "S3", 443, True),
        ("rank 0", "S3 on v6", 443, True),
        ("rank 0", "S3", 80, False),
        ("rank 0", "metadata", 80, False),
        ("rank 0", "metadata", 443, False),
        ("rank 0", "metadata of AWS on v6", 443, False),
        ("rank 0", "Azure's platform", 443, False),
        ("rank 0", "node", 10250, False),
        ("rank 0", "node", 443, False),
        ("rank 0", "api server", 6443, False),
        ("rank 0", "service of api server", 443, False),
        ("rank 0", "public api server", 443, False),
        ("rank 0", "api server on v6", 443, False),
        ("operator", "api server", 6443, True),
        ("operator", "service of api server", 443, True),
        ("operator", "public api server", 443, True),
        ("test", "service of api server", 443, True),
        ("operator", "S3", 443, False),
        ("operator", "metadata", 80, False),
    ],
)
def test_what_gets_through(source: str, target: str, port: int, admitted: bool) -> None:
    assert admits(policies(), WHO[source], WHO[target], port=port) is admitted


def test_names_are_asked_for_over_udp_and_tcp() -> None:
    for protocol in ("UDP", "TCP"):
        for who in ("rank 0", "operator"):
            assert admits(policies(), WHO[who], WHO["dns"], port=53, protocol=protocol)


def test_where_the_api_server_isn_t_named_the_operator_finds_it_on_its_ports() -> None:
    loose = policies(apiServer={"cidrs": []})
    assert admits(loose, WHO["operator"], WHO["api server"], port=6443)
    assert not admits(loose, WHO["operator"], WHO["S3"], port=80)
    assert not admits(loose, WHO["rank 0"], WHO["api server"], port=6443)
    assert not admits(loose, WHO["rank 0"], WHO["metadata"], port=80)


def test_the_operator_goes_where_it_is_told_besides() -> None:
    proxy = [{"to": [{"ipBlock": {"cidr": "10.20.0.5/32"}}], "ports": [{"protocol": "TCP", "port": 3128}]}]
    told = policies(operator={"enabled": True, "egress": proxy})
    assert admits(told, WHO["operator"], WHO["tracker"], port=3128)
    assert not admits(policies(), WHO["operator"], WHO["tracker"], port=3128)


def test_without_internet_jobs_reach_what_is_named_and_nothing_else() -> None:
    closed = policies(jobs={**VALUES["networkPolicies"]["jobs"], "internet": False})
    assert not admits(closed, WHO["rank 0"], WHO["S3"], port=443)
    assert admits(closed, WHO["rank 0"], WHO["minio"], port=9000)


def test_each_is_behind_a_switch() -> None:
    off = {"enabled": False}
    assert {each["metadata"]["namespace"] for each in policies(operator=off)} == {"vision", "speech"}
    assert {each["metadata"]["namespace"] for each in policies(jobs=off)} == {NAMESPACE}
    assert [each for each in render({"crds": {"install": False}}) if each["kind"] == "NetworkPolicy"] == []


def test_where_all_namespaces_are_served_the_operator_reaches_jobs_of_all() -> None:
    values = {"crds": {"install": False}, "networkPolicies": {"operator": {"enabled": True}}}
    made = [each for each in render(values) if each["kind"] == "NetworkPolicy"]
    assert admits(made, WHO["operator"], WHO["unserved"], port=METRICS_PORT)
    assert not admits(made, WHO["operator"], WHO["notebook"], port=METRICS_PORT)


# The evaluator itself, by the examples of Kubernetes' documentation.


def policy(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"metadata": {"namespace": "vision"}, "spec": {"podSelector": {}, **spec}}]


A, B = WHO["rank 0"], WHO["notebook"]
ELSEWHERE = WHO["neighbour"]
TEAM = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}}
OTHER = {"podSelector": {"matchLabels": {"app": "other"}}}


@pytest.mark.parametrize(
    ("spec", "source", "target", "admitted"),
    [
        pytest.param({"policyTypes": ["Ingress"]}, ELSEWHERE, A, False, id="no rule: default deny"),
        pytest.param({"policyTypes": ["Ingress"]}, A, ELSEWHERE, True, id="the other direction stays open"),
        pytest.param({"ingress": [{}]}, ELSEWHERE, A, True, id="an empty rule: allow all"),
        pytest.param({"egress": []}, A, ELSEWHERE, False, id="types follow from what is there"),
        pytest.param({"policyTypes": ["Egress"]}, A, ELSEWHERE, False, id="no egress"),
        pytest.param({"ingress": [{"from": [{**TEAM, **OTHER}]}]}, ELSEWHERE, A, True, id="both in one peer: and"),
        pytest.param(
            {"ingress": [{"from": [{**TEAM, "podSelector": {"matchLabels": {"app": "x"}}}]}]},
            *(ELSEWHERE, A, False),
            id="both in one peer: one alone isn't enough",
        ),
        pytest.param({"ingress": [{"from": [TEAM, OTHER]}]}, ELSEWHERE, A, True, id="two peers: or"),
        pytest.param({"ingress": [{"from": [OTHER]}]}, ELSEWHERE, A, False, id="pods alone: of its own namespace"),
        pytest.param({"ingress": [{"from": [{"podSelector": {}}]}]}, B, A, True, id="an empty selector: all pods"),
        pytest.param({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, ELSEWHERE, A, True, id="all namespaces"),
        pytest.param({"egress": [{"to": [{"namespaceSelector": {}}]}]}, A, WHO["S3"], False, id="no pod, no namespace"),
        pytest.param(
            {"egress": [{"ports": [{"protocol": "TCP", "port": 400, "endPort": 500}]}]},
            *(A, WHO["S3"], True),
            id="a range of ports",
        ),
        pytest.param({"egress": [{"ports": [{"protocol": "UDP"}]}]}, A, WHO["S3"], False, id="another protocol"),
        pytest.param(
            {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "egress": []},
            *(A, WHO["S3"], True),
            id="it isn't for this pod",
        ),
    ],
)
def test_semantics(spec: dict[str, Any], source: Endpoint, target: Endpoint, admitted: bool) -> None:
    assert admits(policy(spec), source, target, port=443) is admitted
