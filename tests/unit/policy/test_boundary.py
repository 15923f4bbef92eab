"""What TrainingPolicies refuse, by the operator alone: each attempt of `boundary_cases`, and what a refusal does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from boundary_cases import (
    ATTEMPTS,
    EDITS,
    GPU,
    HONEST,
    NAMESPACE,
    PLATFORM,
    POLICY,
    STRICT,
    TENANT,
    Attempt,
    Edit,
    objects_of,
    only,
    with_,
)
from footplate.objects import Kept
from footplate.policy.boundary import packages_of, read
from footplate.policy.plan import Observed, Plan
from footplate.policy.reconcile import reconcile
from footplate.policy.selectors import selects
from unit.policy.build import JSON, NOW, UID, at, names, plan_of, pod, runtime

GRANTING = only(imagePrefixes=["registry.example.com/"])
TIGHTER = only(imagePrefixes=["registry.example.com/other/"])
HELD = "isn't among the images that TrainingPolicy tenants allows namespace team"


def selected(policies: Mapping[str, JSON], labels: Mapping[str, str] = TENANT) -> list[JSON]:
    return [each for each in objects_of(policies) if selects(each["spec"]["namespaceSelector"], labels)]


def make_job(spec: Mapping[str, Any], **more: Any) -> JSON:
    metadata = {"name": "fashion", "namespace": NAMESPACE, "uid": UID, "generation": 1}
    head = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob"}
    return {**head, "metadata": metadata, "spec": dict(spec), **more}


class Life:
    """A job under policies that may change, looked at until nothing more happens."""

    def __init__(self, spec: Mapping[str, Any], policies: Mapping[str, JSON], blueprint: JSON | None = None) -> None:
        self.observed = Observed(make_job(spec), runtime=blueprint, policies=selected(policies))
        self.after = 0.0

    @property
    def status(self) -> JSON:
        status: JSON = self.observed.job["status"]
        return status

    def look(self, **changes: Any) -> Plan:
        """One look after another, with what is observed by now, until one changes nothing."""
        self.observed = replace(self.observed, **changes)
        plan = self._look()
        while plan.status is not None or any(each["kind"] == "ConfigMap" for each in plan.create):
            plan = self._look()
        return plan

    def edit(self, spec: Mapping[str, Any], **changes: Any) -> Plan:
        return self.look(job={**self.observed.job, "spec": dict(spec)}, **changes)

    def end(self, reason: str = "Stopped") -> Plan:
        """Its pods are gone, on a node that was drained."""
        gone = [pod(rank, phase="Failed", deleted=0, grace=0) for rank in range(len(self.observed.pods))]
        self.look(pods=gone)
        self.after += 3600
        return self.look(pods=())

    def run(self, nodes: int) -> Plan:
        """All of its pods run."""
        return self.look(pods=[pod(rank, attempt=self.status["attempt"]) for rank in range(nodes)])

    def _look(self) -> Plan:
        plan = plan_of(self.observed, now=NOW + timedelta(seconds=self.after))
        for each in plan.create:
            if each["kind"] == "ConfigMap":
                self.observed = replace(self.observed, run_config=each)
        if plan.status is not None:
            self.observed = replace(self.observed, job={**self.observed.job, "status": plan.status})
        return plan


def condition(status: Mapping[str, Any], kind: str) -> JSON:
    return next((each for each in status["conditions"] if each["type"] == kind), {})


def test_the_honest_are_let_through() -> None:
    life = Life(HONEST, {POLICY: STRICT})
    plan = life.look()
    assert [each["kind"] for each in plan.create] == ["Service", "Pod", "Pod"]


def test_what_the_platform_s_runtime_sets_passes_where_the_job_leaves_it() -> None:
    spec = {"runtimeRef": {"name": "torch"}, "trainer": {"command": ["true"]}, "resources": {"limits": {"cpu": "4"}}}
    plan = Life(spec, {POLICY: STRICT}, runtime(PLATFORM)).look()
    assert len([each for each in plan.create if each["kind"] == "Pod"]) == 8


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.id)
def test_an_attempt_is_refused_by_the_operator_alone(attempt: Attempt) -> None:
    kind = attempt.spec.get("runtimeRef", {}).get("kind", "ClusterTrainingRuntime")
    blueprint = None if attempt.runtime is None else runtime(attempt.runtime, kind=kind)
    policies = selected(attempt.policies, attempt.labels)
    observed = Observed(make_job(attempt.spec), runtime=blueprint, policies=policies)
    plan = reconcile(observed, now=NOW)
    assert plan.create == ()
    assert plan.status is not None
    assert attempt.problem in plan.status["message"]
    if attempt.of_the_api:
        assert plan.status["reason"] == "InvalidSpec"
        return
    assert (plan.status["phase"], plan.status["reason"]) == ("Pending", "PolicyRefuses")
    assert condition(plan.status, "Stalled")["status"] == "True"
    assert [(event.type, event.reason) for event in plan.events] == [("Warning", "PolicyRefuses")]


def test_there_are_attempts_enough() -> None:
    assert len({attempt.name for attempt in ATTEMPTS}) + len(EDITS) >= 50


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.id)
def test_an_edit_is_refused_by_the_operator_alone(edit: Edit) -> None:
    life = Life(edit.before, {POLICY: STRICT})
    life.look()
    if life.status["phase"] != "Suspended":
        life.run(2)
    if edit.begins_a_run:
        life.look(pods=[pod(rank, phase="Succeeded") for rank in range(2)])
        assert life.status["phase"] == "Succeeded"
    before = life.status
    plan = life.edit(edit.after, policies=selected(edit.policies))
    assert plan.create == ()
    told = condition(life.status, "EditsRefused").get("message") or life.status["message"]
    assert edit.problem in told
    if not edit.begins_a_run:
        assert life.status["phase"] == before["phase"]
        assert life.status["attempts"] == before["attempts"]


def test_an_edit_counts_once_it_is_allowed() -> None:
    life = Life(HONEST, {POLICY: STRICT})
    life.look()
    life.run(2)
    life.edit(with_("scheduling/priorityClassName", "high"))
    assert condition(life.status, "EditsRefused")
    life.look(policies=selected({POLICY: {**STRICT, "priorityClasses": ["batch-low", "high"]}}))
    assert not condition(life.status, "EditsRefused")


def test_a_job_that_was_refused_begins_when_it_is_allowed() -> None:
    life = Life(HONEST, TIGHTER)
    assert life.look().create == ()
    plan = life.look(policies=selected(GRANTING))
    assert len([each for each in plan.create if each["kind"] == "Pod"]) == 2


@pytest.mark.parametrize("policies", [pytest.param({}, id="deleted"), pytest.param(GRANTING, id="looser")])
def test_a_gang_that_runs_is_left_alone_by_a_policy_that_changes(policies: Mapping[str, JSON]) -> None:
    life = Life(HONEST, {POLICY: STRICT})
    life.look()
    life.run(2)
    before = life.status
    plan = life.look(policies=selected(policies))
    assert (plan.create, plan.delete, life.status) == ((), (), before)


def test_a_tighter_policy_holds_from_the_next_attempt_on() -> None:
    life = Life(HONEST, {POLICY: STRICT})
    life.look()
    life.run(2)
    plan = life.look(policies=selected(TIGHTER))
    assert (plan.create, plan.delete, life.status["phase"]) == ((), (), "Running")
    plan = life.end()
    assert (life.status["phase"], life.status["reason"]) == ("Pending", "PolicyRefuses")
    assert HELD in life.status["message"]
    assert plan.create == ()
    assert life.status["attempt"] == 0
    plan = life.look(policies=selected(GRANTING))
    assert life.status["attempt"] == 1
    assert len([each for each in plan.create if each["kind"] == "Pod"]) == 2


def test_what_the_platform_s_runtime_set_passes_at_the_next_attempt_too() -> None:
    """Whatever has become of that runtime."""
    spec = {"runtimeRef": {"name": "torch"}, "trainer": {"command": ["true"]}}
    life = Life(spec, {POLICY: STRICT}, runtime({**PLATFORM, "nodes": 2}))
    life.look()
    life.run(2)
    life.observed = replace(life.observed, runtime=None)
    life.end()
    assert (life.status["attempt"], life.status["reason"]) == (1, "CreatingPods")


ELASTIC: JSON = {**with_("resources", {"limits": {GPU: 1}}), "elastic": {"minNodes": 1, "maxNodes": 4}, "nodes": 2}


def test_an_elastic_gang_isnt_ended_for_a_size_that_a_policy_wouldnt_let_it_begin() -> None:
    life = Life(ELASTIC, {POLICY: STRICT})
    life.look()
    life.run(2)
    for nodes in (4, 1):
        plan = life.edit({**ELASTIC, "nodes": nodes}, policies=selected(TIGHTER))
        assert (plan.create, plan.delete, life.status["phase"]) == ((), (), "Running")
        said = condition(life.status, "EditsRefused")["message"]
        assert said.startswith(f"spec.nodes = {nodes}: waits, because spec.trainer.image")
    life.edit({**ELASTIC, "nodes": 1}, policies=selected(GRANTING))
    assert life.status["phase"] == "Restarting"


def test_a_size_that_was_allowed_once_stays_until_the_gang_ends() -> None:
    life = Life(ELASTIC, {POLICY: STRICT})
    life.look()
    life.edit({**ELASTIC, "nodes": 4})
    life.after += 60
    life.look()
    life.after += 60
    life.run(life.status["nodes"]["desired"])
    assert life.status["attempts"][-1]["nodes"] in (2, 4)
    before = life.status["attempts"]
    plan = life.look(policies=selected(only(maxNodes=4, maxAccelerators={GPU: 1})))
    assert (plan.delete, life.status["attempts"]) == ((), before)


def test_a_namespace_of_unknown_labels_begins_nothing() -> None:
    life = Life(HONEST, {})
    life.observed = replace(life.observed, policies_known=False)
    assert life.look().create == ()
    assert life.status["reason"] == "PolicyRefuses"
    assert "has labels that aren't known" in life.status["message"]
    assert len(life.look(policies_known=True).create) == 3


def test_a_job_that_is_seen_before_its_namespace_waits_without_a_word() -> None:
    young = make_job(HONEST)
    young["metadata"]["creationTimestamp"] = at(-1)
    plan = reconcile(Observed(young, policies_known=False), now=NOW)
    assert (plan.create, plan.status, plan.requeue_after) == ((), None, 10.0)


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        pytest.param({"spec": {"namespaceSelector": {}, "future": {}}}, "spec.future: unknown field", id="a newer one"),
        pytest.param({"spec": {"namespaceSelector": {}, "maxNodes": "4"}}, "spec.maxNodes", id="another type"),
        pytest.param({}, "spec: is required", id="nothing in it"),
        pytest.param({"spec": {"namespaceSelector": {}}, "oversize": {"bytes": 1}}, "too large", id="too large"),
    ],
)
def test_a_policy_that_isnt_understood_allows_nothing(policy: JSON, why: str) -> None:
    policies = [{"kind": "TrainingPolicy", "metadata": {"name": "odd"}, **policy}]
    plan = reconcile(Observed(make_job(HONEST), policies=policies), now=NOW)
    assert plan.create == ()
    assert plan.status is not None
    assert "TrainingPolicy odd isn't understood, so it allows nothing: " in plan.status["message"]
    assert why in plan.status["message"]


@pytest.mark.parametrize(
    ("spec", "one", "other", "said"),
    [
        pytest.param(HONEST, {"imagePrefixes": ["registry.example.com/"]}, {"imagePrefixes": ["ghcr.io/"]},
                     "can't be among the images that namespace team is allowed: TrainingPolicy a allows "
                     "registry.example.com/ alone, and TrainingPolicy b ghcr.io/, which have nothing in common; "
                     "whoever runs the cluster must change one of them", id="images"),
        pytest.param({"runtimeRef": {"name": "torch"}, "trainer": {"command": ["true"]}},
                     {"runtimes": {"allowed": [{"name": "torch"}]}}, {"runtimes": {"allowed": [{"name": "jax"}]}},
                     "TrainingPolicy a allows ClusterTrainingRuntime/torch alone, and TrainingPolicy b "
                     "ClusterTrainingRuntime/jax", id="runtimes"),
        pytest.param(HONEST, {"tolerations": [{"key": GPU}]}, {"tolerations": [{"key": "dedicated"}]},
                     f"TrainingPolicy a allows {GPU}:* alone, and TrainingPolicy b dedicated:*", id="tolerations"),
    ],
)  # fmt: skip
def test_policies_that_contradict_are_both_named(spec: JSON, one: JSON, other: JSON, said: str) -> None:
    policies = {"a": {"namespaceSelector": {}, **one}, "b": {"namespaceSelector": {}, **other}}
    observed = Observed(make_job(spec), runtime=runtime(PLATFORM), policies=selected(policies))
    plan = reconcile(observed, now=NOW)
    assert plan.status is not None
    assert said in plan.status["message"]


def test_policies_that_have_something_in_common_are_each_held(
) -> None:  # fmt: skip
    policies = {
        "a": {"namespaceSelector": {}, "imagePrefixes": ["registry.example.com/"]},
        "b": {"namespaceSelector": {}, "imagePrefixes": ["registry.example.com/other/", "ghcr.io/"]},
    }
    plan = reconcile(Observed(make_job(HONEST), policies=selected(policies)), now=NOW)
    assert plan.status is not None
    assert "TrainingPolicy b allows namespace team" in plan.status["message"]
    assert "TrainingPolicy a" not in plan.status["message"]


def test_a_job_that_isnt_kept_whole_is_held_by_what_it_was_resolved_to() -> None:
    """Else a namespace full of large jobs would hide what one of them asks for."""
    life = Life(with_("runPolicy/suspend", True), {POLICY: STRICT})
    life.look()
    stub = {**life.observed.job, "spec": {"runPolicy": {"suspend": False}}, "oversize": {"bytes": 0, "most": 1}}
    plan = life.look(job=stub, policies=selected(TIGHTER))
    assert plan.create == ()
    assert HELD in condition(life.status, "EditsRefused")["message"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([{"install": "fromFiles"}, {"indexes": ["https://a/"]}], ("fromFiles", []), id="files"),
        pytest.param([{"install": "never"}, {"install": "fromFiles"}], ("never", []), id="never"),
        pytest.param([{"indexes": ["https://a/", "https://b"]}, {"indexes": ["https://b/"]}],
                     ("fromIndex", ["https://b/"]), id="common"),
        pytest.param([{"indexes": ["https://a/"]}, {"indexes": ["https://b/"]}], ("fromFiles", []), id="disjoint"),
    ],
)  # fmt: skip
def test_packages_come_from_where_all_allow_it(said: Sequence[JSON], expected: Any) -> None:
    policies = {f"p{number}": {"namespaceSelector": {}, "pip": pip} for number, pip in enumerate(said)}
    found = packages_of(Observed({}, policies=selected(policies)), None)
    assert (found and (found.install, found.indexes)) == expected


def test_the_trainer_is_told_where_packages_may_come_from() -> None:
    life = Life(HONEST, {POLICY: STRICT})
    life.look()
    assert life.observed.run_config is not None
    assert '"indexes":["https://pypi.example.com/simple/"]' in life.observed.run_config["data"]["job.json"]


def test_labels_of_the_job_that_go_on_to_its_pods_are_held_like_the_pods_own() -> None:
    """Else more would be had by a label that isn't in the spec."""
    labels = {"team": "a", "example.net/class": "high"}
    plan = reconcile(Observed(make_job(HONEST), policies=selected({POLICY: STRICT}), labels=labels), now=NOW)
    assert plan.create == ()
    assert plan.status is not None
    assert plan.status["message"] == (
        'metadata.labels = "example.net/class": isn\'t among the labels that TrainingPolicy tenants allows '
        "namespace team; allowed are team, example.com/*, kai.scheduler/queue, kueue.x-k8s.io/priority-class"
    )


def test_a_policy_that_a_store_keeps_is_read_once() -> None:
    [policy] = objects_of({POLICY: STRICT})
    kept = Kept(policy)
    assert read(kept) is read(kept)


def test_of_finished_jobs_those_go_that_ended_first() -> None:
    done = make_job(HONEST, status={"phase": "Succeeded", "run": 1, "completionTime": at(-60), "conditions": []})
    policies = selected({"a": {"namespaceSelector": {}, "historyLimit": 5}, **only(historyLimit=2)})
    for since, goes in ((0, False), (1, False), (2, True)):
        plan = reconcile(Observed(done, policies=policies, finished_since=since), now=NOW)
        assert (names(plan.delete) == ["TrainingJob/fashion"]) is goes
    assert reconcile(Observed(done, finished_since=9), now=NOW).delete == ()


def test_a_job_that_is_to_run_again_isnt_pruned() -> None:
    status = {"phase": "Succeeded", "run": 1, "completionTime": at(-60), "conditions": []}
    again = make_job(with_("runPolicy/restartNonce", "again"), status=status)
    plan = reconcile(Observed(again, policies=selected(only(historyLimit=0)), finished_since=9), now=NOW)
    assert plan.delete == ()
