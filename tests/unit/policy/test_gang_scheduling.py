"""Whose gang an attempt is: chosen before its first pod, waited for, told, and cleaned up after."""

from typing import Any

import pytest

from footplate.gangs.kinds import GangKind
from footplate.gangs.state import GangState
from footplate.gangs.table import SCHEDULERS
from footplate.policy.plan import Target
from unit.policy.build import JSON, NOW, RUNNING, at, config_map, job, look, merged, observe, plan_of, pod, status

KUEUE, VOLCANO, NATIVE, COSCHEDULING = GangKind.KUEUE, GangKind.VOLCANO, GangKind.NATIVE, GangKind.COSCHEDULING
GROUP = "fashion-1-0-0b9fb7b6"
GATE = {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}
QUEUED = {"scheduling": {"queueName": "vision"}}


def served(*kinds: GangKind, groups: tuple[JSON, ...] = ()) -> GangState:
    return GangState({kind: SCHEDULERS[kind].apis[0] for kind in kinds}, frozenset(kinds), groups)


def group(kind: GangKind, name: str = GROUP, **rest: Any) -> JSON:
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}"}
    head = {"apiVersion": SCHEDULERS[kind].apis[0], "kind": "Workload" if kind is KUEUE else "PodGroup"}
    return merged({**head, "metadata": metadata}, rest)


def waiting(rank: int, **spec: Any) -> JSON:
    """A pod without a node."""
    return merged(pod(rank, phase="Pending", state={}, on=None), {"spec": spec})


def attempt(gang: str | None = None, **more: Any) -> list[JSON]:
    named = {"gang": gang} if gang else {}
    return [{"attempt": 0, "startTime": at(-600), "nodes": 2, **named, **more}]


def test_a_run_begins_with_its_gang() -> None:
    of = job(QUEUED)
    observed = observe({**of, "status": status(of, "Pending", attempts=[], resolved=None)}, gang_state=served(KUEUE))
    plan = plan_of(observed, now=NOW)
    assert plan.status is not None
    assert plan.status["attempts"] == [merged(plan.status["attempts"][0], {"gang": "kueue", "attempt": 0})]


def test_what_isnt_served_is_waited_for_without_a_pod() -> None:
    plan = look(job(QUEUED), phase="Pending", attempts=attempt(), gang_state=served(NATIVE))
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Pending", "WaitingForGang")
    assert plan.status["message"].startswith("scheduling.queueName needs Kueue")
    assert "delete the job and create it anew" in plan.status["message"]
    assert not plan.create
    assert "gang" not in plan.status["attempts"][0]
    assert plan.requeue_after == 60


def test_while_it_waits_the_attempt_before_is_cleaned_up() -> None:
    attempts = [*attempt("kueue", endTime=at(-60), reason="Evicted"), {"attempt": 1, "startTime": at(-1), "nodes": 2}]
    plan = look(job(QUEUED), pod(0), phase="Pending", attempts=attempts)
    assert [target.name for target in plan.delete] == ["fashion-1-0-0"]
    assert not plan.create


def test_it_goes_on_when_it_is_served() -> None:
    of = job(QUEUED)
    plan = look(of, phase="Pending", attempts=attempt(), gang_state=served(KUEUE))
    assert plan.status is not None
    assert plan.status["attempts"][0]["gang"] == "kueue"
    assert not plan.create, "no pod before the status says whose it is"


def test_the_queue_deadline_counts_while_a_scheduler_is_missing() -> None:
    of = job({**QUEUED, "runPolicy": {"queueDeadlineSeconds": 60}})
    plan = look(of, phase="Pending", attempts=attempt())
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Failed", "QueueDeadlineExceeded")


@pytest.mark.parametrize(
    ("kind", "scheduling"),
    [
        (COSCHEDULING, {"gang": "coscheduling"}),
        (VOLCANO, {"gang": "volcano"}),
        (NATIVE, {"gang": "native"}),
        (NATIVE, {}),
    ],
)
def test_the_group_comes_with_the_pods(kind: GangKind, scheduling: JSON) -> None:
    plan = look(job({"scheduling": scheduling}), phase="Pending", attempts=attempt(str(kind)), gang_state=served(kind))
    assert [each["kind"] for each in plan.create] == ["Service", "PodGroup", "Pod", "Pod"]
    made = plan.create[1]
    assert (made["apiVersion"], made["metadata"]["name"]) == (SCHEDULERS[kind].apis[0], GROUP)


def test_kueue_makes_its_workload_itself() -> None:
    plan = look(job(QUEUED), phase="Pending", attempts=attempt("kueue"), gang_state=served(KUEUE))
    assert [each["kind"] for each in plan.create] == ["Service", "Pod", "Pod"]
    assert plan.create[1]["spec"]["schedulingGates"] == GATE["schedulingGates"]


def test_a_group_that_somebody_deleted_is_made_again_while_it_is_needed() -> None:
    of = job({"scheduling": {"gang": "native"}})
    gangs: JSON = {"attempts": attempt("native"), "gang_state": served(NATIVE)}
    plan = look(of, waiting(0), waiting(1), phase="Queued", **gangs)
    assert [each["kind"] for each in plan.create] == ["PodGroup"]
    plan = look(of, pod(0), pod(1), phase="Running", **gangs)
    assert not plan.create


def test_an_attempt_of_before_goes_on_as_nobodys() -> None:
    """An older operator's, or one that began before the cluster served gangs."""
    plan = look(job(), waiting(0), phase="Pending", attempts=attempt(), gang_state=served(NATIVE))
    assert [each["kind"] for each in plan.create] == ["Service", "Pod"]
    assert "schedulingGroup" not in plan.create[1]["spec"]


def test_a_queue_holds_what_the_scheduling_timeout_would_release() -> None:
    of = job({**QUEUED, "runPolicy": {"schedulingTimeoutSeconds": 10}})
    pods = (pod(0, phase="Pending", state={}), waiting(1, **GATE))
    held = look(of, *pods, phase="Queued", attempts=attempt("kueue"), gang_state=served(KUEUE))
    assert held.status is None or held.status["phase"] == "Queued"
    free = look(of, pods[0], waiting(1), phase="Queued", attempts=attempt("kueue"), gang_state=served(KUEUE))
    assert free.status is not None
    assert free.status["reason"] == "SchedulingTimeout", "admitted as a whole, and half of it finds no node"


@pytest.mark.parametrize(
    ("kind", "pods", "of_group", "reason", "words"),
    [
        pytest.param(KUEUE, GATE, {}, "WaitingForQueue", "Kueue's queue vision: it waits for its turn", id="kueue"),
        pytest.param(
            KUEUE,
            {},
            {"status": {"conditions": [{"type": "Admitted", "status": "True"}]}},
            "WaitingForNodes",
            "scheduled, waiting since",
            id="kueue, admitted",
        ),
        pytest.param(
            VOLCANO, {}, {"status": {"phase": "Pending"}}, "WaitingForQueue", "hasn't let it in yet", id="volcano"
        ),
        pytest.param(
            COSCHEDULING, {}, {"status": {"phase": "Scheduling"}}, "WaitingForGang", "has said nothing of", id="silent"
        ),
        pytest.param(NATIVE, {}, {}, "WaitingForGang", "scheduled, waiting since", id="native"),
    ],
)
def test_what_is_said_of_a_waiting_gang(kind: GangKind, pods: JSON, of_group: JSON, reason: str, words: str) -> None:
    scheduling = {"gang": str(kind), **({"queueName": "vision"} if kind in (KUEUE, VOLCANO) else {})}
    plan = look(
        job({"scheduling": scheduling}),
        waiting(0, **pods),
        waiting(1, **pods),
        phase="Queued",
        attempts=attempt(str(kind)),
        gang_state=served(kind, groups=(group(kind, **of_group),)),
    )
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Queued", reason)
    assert words in plan.status["message"]


def test_kueue_that_takes_pods_one_by_one_is_told() -> None:
    plan = look(job(), waiting(0, **GATE), waiting(1, **GATE), phase="Queued")
    assert plan.status is not None
    assert plan.status["reason"] == "Gated"
    assert "create the job anew with scheduling.queueName" in plan.status["message"]


OLD = "fashion-1-7-0b9fb7b6"


@pytest.mark.parametrize(
    ("phase", "more", "gone"),
    [
        pytest.param("Running", {"attempts": attempt("volcano")}, [OLD], id="an older attempt's"),
        pytest.param(
            "Suspended",
            {"attempts": attempt("volcano", endTime=at(-1), reason="SuspendedByUser")},
            [GROUP, OLD],
            id="between two attempts",
        ),
        pytest.param(
            "Succeeded",
            {"attempts": attempt("volcano", endTime=at(-1), reason="Completed"), "completionTime": at(-1)},
            [GROUP, OLD],
            id="when all is done",
        ),
    ],
)
def test_groups_go_with_their_attempts(phase: str, more: JSON, gone: list[str]) -> None:
    groups = (group(VOLCANO), group(VOLCANO, OLD), group(VOLCANO, "x", metadata={"deletionTimestamp": at()}))
    pods = [] if phase == "Suspended" else [pod(rank, phase=phase) for rank in range(2)]
    of = job({"scheduling": {"gang": "volcano"}, "runPolicy": {"suspend": phase == "Suspended"}})
    plan = look(of, *pods, phase=phase, gang_state=served(VOLCANO, groups=groups), **more)
    api = SCHEDULERS[VOLCANO].apis[0]
    assert [each for each in plan.delete if each.kind == "PodGroup"] == [
        Target("PodGroup", "team", name, f"uid-{name}", api=api) for name in gone
    ]


def test_preemption_is_the_infrastructures_and_told_in_kueues_words() -> None:
    target = {"type": "TerminationTarget", "status": "True", "reason": "WorkloadEvicted", "message": "Preempted by x"}
    pods = [pod(rank, conditions=[target], deleted=0, state=RUNNING) for rank in range(2)]
    plan = look(job(QUEUED), *pods, attempts=attempt("kueue", runningTime=at(-300)), gang_state=served(KUEUE))
    assert plan.status is not None
    assert plan.status["restarts"]["infrastructure"] == 1
    assert plan.status["failure"]["class"] == "Infrastructure"
    assert "was stopped by Kueue: Preempted by x" in plan.status["failure"]["message"]


def test_the_config_map_says_what_was_asked() -> None:
    assert (
        '"gang":"none","priorityClassName":""' in config_map(job({"scheduling": {"gang": "none"}}))["data"]["job.json"]
    )
    said = config_map(job())["data"]["job.json"]
    assert '"scheduling":{"priorityClassName":"","topologyKey":""}' in said, "a trainer of 0.1.0 knows no other field"
