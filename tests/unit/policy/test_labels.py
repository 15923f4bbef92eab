"""Labels go on to what is created for a job by an allow-list, and never those that tools know their own by."""

from dataclasses import replace

import pytest

from footplate.errors import ConfigurationError
from footplate.policy.labels import DEFAULT, NEVER, NEVER_OF, check_patterns, propagated
from footplate.policy.plan import Observed
from unit.policy.build import JSON, NOW, config_map, job, plan_of

TRACKING = {
    "app.kubernetes.io/instance": "trainings",
    "app.kubernetes.io/managed-by": "Helm",
    "argocd.argoproj.io/instance": "trainings",
    "kustomize.toolkit.fluxcd.io/name": "trainings",
    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    "helm.toolkit.fluxcd.io/name": "trainings",
    "helm.sh/chart": "trainings-1",
    "footplate.dev/job": "somebody-elses",
    "kueue.x-k8s.io/queue-name": "gpus",
}
STEERING = (
    "scheduling.x-k8s.io/pod-group",
    "pod-group.scheduling.sigs.k8s.io/name",
    "scheduling.k8s.io/group-name",
    "jobset.sigs.k8s.io/jobset-name",
    "volcano.sh/queue-name",
    "scheduling.volcano.sh/queue-name",
    "yunikorn.apache.org/queue",
    "applicationId",
    "kai.scheduler/queue",
    "karpenter.sh/do-not-disrupt",
    "karpenter.k8s.aws/x",
    "cluster-autoscaler.kubernetes.io/safe-to-evict",
    "descheduler.alpha.kubernetes.io/evict",
    "controller.kubernetes.io/pod-deletion-cost",
    "batch.kubernetes.io/job-name",
    "pod-security.kubernetes.io/enforce",
    "sidecar.istio.io/inject",
    "istio.io/rev",
    "linkerd.io/inject",
    "config.linkerd.io/proxy-image",
    "azure.workload.identity/use",
    "aadpodidbinding",
    "eks.amazonaws.com/fargate-profile",
)
"""What others read of a pod's labels: who schedules, evicts, injects into, or lends an identity to it."""
WANTED = {
    "cost-center": "4711",
    "team": "vision",
    "example.com/project": "x",
    "app.kubernetes.io/part-of": "vision",
    "notvolcano.sh/x": "y",
}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), set()),
        (DEFAULT, {"cost-center", "team"}),
        (("example.com/*",), {"example.com/project"}),
        (("app.kubernetes.io/*",), {"app.kubernetes.io/part-of"}),
        (("cost-center", "example.com/project"), {"cost-center", "example.com/project"}),
        (("notvolcano.sh/*",), {"notvolcano.sh/x"}),
        (("example.co/*", "cost"), set()),
    ],
)
def test_what_goes_on(patterns: tuple[str, ...], expected: set[str]) -> None:
    check_patterns(patterns)
    assert propagated({**WANTED, **TRACKING}, patterns).keys() == expected


@pytest.mark.parametrize("never", [*TRACKING, *STEERING, *NEVER, *(f"{domain}/*" for domain in NEVER_OF)])
def test_an_allow_list_that_names_what_never_goes_on_is_refused(never: str) -> None:
    with pytest.raises(ConfigurationError, match=r"propagateLabels: .* never goes on to pods"):
        check_patterns(["cost-center", never])


@pytest.mark.parametrize("wrong", ["", "*", "cost*", "a b", "/x", "example.com/", "example.com/*/x", "-a", "é"])
def test_a_pattern_that_can_match_no_label_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is neither a label's key nor a prefix"):
        check_patterns([wrong])


@pytest.mark.parametrize("key", [*TRACKING, *STEERING])
def test_even_one_that_is_named_stays_behind(key: str) -> None:
    assert propagated({key: "x"}, [key, f"{key.partition('/')[0]}/*"]) == {}


def test_an_allow_list_has_a_bound() -> None:
    with pytest.raises(ConfigurationError, match="65 patterns, and 64 is the most"):
        check_patterns([f"label-{number}" for number in range(65)])


def created(of: JSON, labels: dict[str, str]) -> list[JSON]:
    """The first ConfigMap, then Service and pods."""
    observed = Observed(of, labels=labels)
    (made,) = plan_of(observed, now=NOW).create
    started = plan_of(replace(observed, run_config=made), now=NOW)
    living = {**of, "status": started.status}
    rest = plan_of(replace(observed, job=living, run_config=made), now=NOW).create
    return [dict(made), *map(dict, rest)]


def test_all_that_is_created_has_them_and_ours_and_the_jobs_own_count_more() -> None:
    of = job({"podTemplate": {"labels": {"team": "its-own"}}})
    labels = {"cost-center": "4711", "team": "vision", "footplate.dev/job": "a lie"}
    objects = created(of, labels)
    assert [each["kind"] for each in objects] == ["ConfigMap", "Service", "Pod", "Pod"]
    for each in objects:
        said = each["metadata"]["labels"]
        assert (said["cost-center"], said["footplate.dev/job"]) == ("4711", "fashion")
        assert said["team"] == ("its-own" if each["kind"] == "Pod" else "vision")
    assert objects[1]["spec"]["selector"].keys() == {"footplate.dev/job", "footplate.dev/job-uid", "footplate.dev/run"}


def test_without_an_allow_list_nothing_goes_on() -> None:
    for each in created(job(labels=WANTED | TRACKING), {}):
        assert all(key.startswith("footplate.dev/") for key in each["metadata"]["labels"])


def test_a_run_goes_on_with_its_config_map_though_labels_change() -> None:
    of = job()
    observed = Observed(of, labels={"team": "other"}, run_config=config_map(of))
    assert plan_of(observed, now=NOW).delete == ()
