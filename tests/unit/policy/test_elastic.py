"""The size of an elastic job's gang: how it shrinks, how it grows, and what becomes of its scouts."""

from typing import Any

import pytest

from footplate.attempt_spec import AttemptSpec
from footplate.contract import Label
from footplate.podspec import build_pods
from footplate.policy import elastic
from footplate.policy.plan import Plan, Refusal
from footplate.scouts import build_scouts
from unit.policy.build import at, job, look, merged, names, node, observe, pod, situate, terminated

JSON = dict[str, Any]
ELASTIC = job({"nodes": 4, "elastic": {"minNodes": 2, "maxNodes": 6}})
LOST = {"ready": "Unknown", "since": -2}
DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}


def nodes_of(**changed: JSON) -> dict[str, JSON]:
    """Four nodes; `n3={…}` is how node-3 differs."""
    return {f"node-{n}": node(f"node-{n}", **changed.get(f"n{n}", {})) for n in range(4)}


def cordoned(name: str) -> JSON:
    return merged(node(name), {"spec": {"unschedulable": True}})


def attempt(nodes: int, *, running: bool = True, **more: Any) -> list[JSON]:
    since = {"runningTime": at(-300)} if running else {}
    return [{"attempt": 0, "startTime": at(-600), "nodes": nodes, **since, **more}]


def ranks(count: int, **changed: JSON) -> list[JSON]:
    """A gang, a rank on each node; `r1={…}` is how rank 1 differs."""
    return [pod(rank, **{"on": f"node-{rank}", **changed.get(f"r{rank}", {})}) for rank in range(count)]


def scout(rank: int = 3, *, on: str | None = "node-3", since: float = -5, phase: str = "Running", **more: Any) -> JSON:
    state = {"running": {"startedAt": at(since)}} if on and phase == "Running" else None
    raw = pod(rank, on=on, phase=phase if on else "Pending", state=state, started=since, **more)
    return merged(raw, {"metadata": {"labels": {"footplate.dev/scout": "true"}}})


def status_of(plan: Plan) -> JSON:
    assert plan.status is not None
    return dict(plan.status)


SHRINKS = [
    pytest.param(ranks(4), {"nodes": nodes_of(n3=LOST)}, "NodeLost", 3, id="a node is lost"),
    pytest.param(ranks(4), {"nodes": nodes_of(n2=LOST, n3=LOST)}, "NodeLost", 2, id="two are"),
    pytest.param(ranks(4), {"nodes": nodes_of(n1=LOST, n2=LOST, n3=LOST)}, "NodeLost", 2, id="never below minNodes"),
    pytest.param(ranks(4, r1={"on": "node-3"}), {"nodes": nodes_of(n3=LOST)}, "NodeLost", 2, id="two ranks on it"),
    pytest.param(ranks(4, r3={"conditions": [DISRUPTED], "deleted": -1}), {}, "Evicted", 3, id="evicted"),
    pytest.param(
        ranks(4, r3={"phase": "Failed", "state": {}, "reason": "Evicted"}), {}, "Evicted", 3, id="node pressure"
    ),
    pytest.param(
        ranks(4, r2={"on": "node-3"}, r3={"conditions": [DISRUPTED], "deleted": -1}),
        {"nodes": {**nodes_of(), "node-3": cordoned("node-3")}},
        "Evicted", 2, id="a drained node takes its other ranks with it",
    ),
    pytest.param(ranks(4, r3={"deleted": -1}), {}, "Evicted", 4, id="somebody deleted a pod: nothing is lost"),
    pytest.param(ranks(3), {"attempts": attempt(4)}, "PodLost", 4, id="and is gone"),
    pytest.param(ranks(4, r3={"phase": "Failed", "state": terminated(70)}), {}, "UserError", 4, id="user error"),
    pytest.param(ranks(4, r3={"phase": "Failed", "state": terminated(77)}), {}, "Hang", 4, id="hang"),
    pytest.param(
        ranks(3, r2={"phase": "Failed", "state": terminated(70)}), {"attempts": attempt(3)}, "UserError", 3,
        id="the size of the last attempt, not the wanted one",
    ),
    pytest.param(
        ranks(4, r0={"phase": "Failed", "state": terminated(70)}),
        {"nodes": {**nodes_of(), "node-3": cordoned("node-3")}},
        "UserError", 4, id="a cordoned node alone takes nobody's place",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pods", "more", "reason", "size"), SHRINKS)
def test_the_size_after_a_failure(pods: list[JSON], more: JSON, reason: str, size: int) -> None:
    after = status_of(look(ELASTIC, *pods, **{"nodes": nodes_of(), **more}))
    assert (after["phase"], after["reason"], after["restartNodes"]) == ("Restarting", reason, size)
    before = after["attempts"][-1]["nodes"]
    when = "starts now" if reason != "Evicted" else "starts when the other ranks have saved and stopped, in 125 s"
    assert when in after["message"]
    assert after["message"].endswith(f" on {size} nodes") is (size != before)
    ended = [{**each, "endTime": at(-500)} for each in after["attempts"]]
    begun = status_of(look({**ELASTIC, "status": {**after, "attempts": ended}}, nodes=nodes_of()))
    assert begun["attempts"][-1]["nodes"] == size
    assert "restartNodes" not in begun


def test_a_shrink_is_charged_and_doesnt_wait() -> None:
    short = [{"attempt": n, "startTime": at(-9), "endTime": at(-8), "reason": "NodeLost", "nodes": 4} for n in (0, 1)]
    last = {"attempt": 2, "startTime": at(-7), "runningTime": at(-6), "nodes": 4}
    pods = [pod(rank, attempt=2, on=f"node-{rank}") for rank in range(4)]
    after = status_of(look(ELASTIC, *pods, attempts=[*short, last], nodes=nodes_of(n3=LOST)))
    assert (after["restarts"]["infrastructure"], after["restartTime"]) == (1, at(0))
    same = status_of(look(ELASTIC, *pods[:3], attempts=[*short, last], nodes=nodes_of()))
    assert same["restartTime"] > at(0), "the same size again waits, as for any job"


def test_other_jobs_keep_their_size() -> None:
    after = status_of(look(job({"nodes": 4}), *ranks(4), nodes=nodes_of(n3=LOST)))
    assert after["message"].endswith("starts now")
    assert "restartNodes" not in after


@pytest.mark.parametrize(
    ("stored", "wanted", "size"),
    [
        pytest.param(3, 4, 3, id="as decided"),
        pytest.param(1, 4, 2, id="minNodes at least"),
        pytest.param(4, 3, 3, id="lowered meanwhile"),
        pytest.param(None, 4, 4, id="not decided: what is wanted"),
    ],
)
def test_the_decision_is_kept_within_the_bounds(stored: int | None, wanted: int, size: int) -> None:
    of = merged(ELASTIC, {"spec": {"nodes": wanted}})
    ended = attempt(4, endTime=at(-5), reason="NodeLost")
    begun = status_of(look(of, phase="Restarting", attempts=ended, restartNodes=stored))
    assert begun["attempts"][-1]["nodes"] == size


def test_a_resumed_job_starts_with_what_is_wanted() -> None:
    ended = attempt(3, endTime=at(-5), reason="SuspendedByUser")
    resumed = status_of(look(ELASTIC, phase="Suspended", attempts=ended, restartNodes=3))
    assert resumed["attempts"][-1]["nodes"] == 4


def half(*bound: float, of: int = 4) -> list[JSON]:
    """A gang some pods of which found a node, so many seconds ago."""
    scheduled = [pod(rank, on=f"node-{rank}", started=since) for rank, since in enumerate(bound)]
    return scheduled + [pod(rank, on=None, phase="Pending") for rank in range(len(bound), of)]


STOPPING = pod(3, attempt=8, on="node-3", deleted=-100)
FEWER = [
    pytest.param(half(-90, -30, -31), 3, None, id="no further one for 30 s"),
    pytest.param(half(-90, -29, -31), None, 1, id="29 s"),
    pytest.param(half(-100), None, 200, id="fewer than minNodes: the scheduling timeout"),
    pytest.param([*half(-90, -30, -31), STOPPING], None, 25, id="an older pod may be in the way"),
    pytest.param(
        [*half(-90, -30, -31), {**STOPPING, "spec": {"nodeName": "gone"}}], 3, None, id="not from a lost node"
    ),
    pytest.param(half(-299, -298, -10), None, 1, id="at most the scheduling timeout: soon"),
    pytest.param(half(-300, -298, -10), 3, None, id="at most the scheduling timeout"),
    pytest.param(half(-90, -90)[:2], 2, None, id="the others were refused"),
]


@pytest.mark.parametrize(("pods", "size", "wait"), FEWER)
def test_a_half_scheduled_gang_makes_do_with_what_it_has(
    pods: list[JSON], size: int | None, wait: float | None
) -> None:
    phase = "Queued" if len(pods) >= 4 else "Pending"
    plan = look(ELASTIC, *pods, phase=phase, attempts=attempt(4, running=False), nodes=nodes_of())
    if size is None:
        assert plan.requeue_after == wait
        return
    after = status_of(plan)
    assert (after["phase"], after["reason"], after["restartNodes"]) == ("Restarting", "Resized", size)
    assert (after["restartTime"], after["restarts"]["total"]) == (at(0), 0)
    assert [event.type for event in plan.events] == ["Normal"]


def test_lowering_nodes_ends_the_attempt_and_raising_them_doesnt() -> None:
    lowered = status_of(look(ELASTIC, *ranks(5, r4={"on": "node-0"}), attempts=attempt(5), nodes=nodes_of()))
    assert (lowered["reason"], lowered["restartNodes"], lowered["restarts"]["total"]) == ("Resized", 4, 0)
    raised = status_of(look(ELASTIC, *ranks(3), attempts=attempt(3), nodes=nodes_of()))
    assert (raised["phase"], raised["attempt"]) == ("Running", 0)


def running(*pods: JSON, after: float = 0, **more: Any) -> Plan:
    """A look at a gang of 3 nodes of the 4 that are wanted."""
    return look(ELASTIC, *ranks(3), *pods, after=after, **{"attempts": attempt(3), "nodes": nodes_of(), **more})


def test_scouts_are_sent_once_the_status_says_so() -> None:
    first = running()
    assert (first.create, status_of(first)["scoutTime"]) == ((), at(0))
    sent = look({**ELASTIC, "status": status_of(first)}, *ranks(3), nodes=nodes_of())
    assert names(sent.create) == ["Pod/fashion-1-0-3"]
    assert sent.status is None


SENDS = [
    pytest.param((), {"scoutTime": at(-4)}, True, id="sent a moment ago, not seen yet"),
    pytest.param((), {"scoutTime": at(-5)}, False, id="not again for a while"),
    pytest.param((), {"scoutTime": at(-179)}, False, id="gone or refused: minutes later"),
    pytest.param((scout(on=None),), {"scoutTime": at(-1)}, False, id="it is there"),
    pytest.param((scout(on=None, deleted=-1),), {"scoutTime": at(-1)}, False, id="it is going"),
    pytest.param((), {"scoutTime": at(-1), "phase": "Starting"}, False, id="the gang doesn't run"),
]


@pytest.mark.parametrize(("scouts", "more", "sends"), SENDS)
def test_when_scouts_are_sent(scouts: tuple[JSON, ...], more: JSON, sends: bool) -> None:
    assert names(running(*scouts, **more).create) == (["Pod/fashion-1-0-3"] if sends else [])


@pytest.mark.parametrize("since", [-180, -9999, 1])
def test_scouts_are_sent_again(since: float) -> None:
    assert status_of(running(scoutTime=at(since)))["scoutTime"] == at(0)


REFUSED = [
    pytest.param(403, "Forbidden", id="quota"),
    pytest.param(409, "NameConflict", id="a foreign object has its name"),
    pytest.param(422, "Invalid", id="invalid"),
]


@pytest.mark.parametrize(("code", "reason"), REFUSED)
def test_a_refused_scout_disturbs_nobody(code: int, reason: str) -> None:
    refusal = Refusal("Pod", "fashion-1-0-3", code, reason, "no")
    plan = running(scoutTime=at(-1), refusals=[refusal])
    after = status_of(plan)
    assert (after["phase"], after["reason"]) == ("Running", "AllPodsRunning")
    assert (plan.create, plan.requeue_after) == ((), 179)


FINISHED = ranks(3, r1={"phase": "Succeeded"})


@pytest.mark.parametrize(
    ("pods", "more", "deleted"),
    [
        pytest.param([*ranks(3), scout(3, on=None)], {}, [], id="wanted"),
        pytest.param([*ranks(3), scout(4)], {}, ["Pod/fashion-1-0-4"], id="a rank that isn't wanted any more"),
        pytest.param([*ranks(3), scout(3, phase="Failed")], {}, ["Pod/fashion-1-0-3"], id="failed"),
        pytest.param([*ranks(3), scout(3)], {"nodes": nodes_of(n3=LOST)}, ["Pod/fashion-1-0-3"], id="its node is lost"),
        pytest.param([*FINISHED, scout(3)], {}, ["Pod/fashion-1-0-3"], id="the gang is about to finish"),
        pytest.param([*ranks(3), pod(3)], {}, ["Pod/fashion-1-0-3"], id="a stray with the name of a scout"),
    ],
)
def test_scouts_that_are_of_no_use_are_deleted(pods: list[JSON], more: JSON, deleted: list[str]) -> None:
    plan = look(ELASTIC, *pods, **{"attempts": attempt(3), "nodes": nodes_of(), "scoutTime": at(-60), **more})
    assert names(plan.delete) == deleted
    assert status_of(plan)["phase"] == "Running", "whatever becomes of a scout, training goes on"


TWO_MORE = merged(ELASTIC, {"spec": {"nodes": 5}})
USAGE_IN = 540
"""Nothing else is awaited."""
GROWS = [
    pytest.param([scout(3, since=-1), scout(4, since=-1)], 5, None, id="all that are wanted"),
    pytest.param([scout(3, since=-60), scout(4, on=None)], 4, None, id="no further one for 60 s"),
    pytest.param([scout(3, since=-59), scout(4, on=None)], None, 1, id="59 s"),
    pytest.param([scout(3, since=-90), scout(4, since=-10, phase="Pending")], None, 50, id="the next one starts"),
    pytest.param([scout(3, since=-90, phase="Pending"), scout(4, on=None)], None, USAGE_IN, id="none runs yet"),
    pytest.param([scout(3, since=-90, deleted=-1), scout(4, on=None)], None, USAGE_IN, id="somebody deletes it"),
]


@pytest.mark.parametrize(("scouts", "size", "wait"), GROWS)
def test_the_gang_grows_into_places_that_were_found(scouts: list[JSON], size: int | None, wait: float | None) -> None:
    more: JSON = {"attempts": attempt(3), "nodes": nodes_of(), "scoutTime": at(-60)}
    plan = look(TWO_MORE, *ranks(3), *scouts, **more)
    if size is None:
        assert (status_of(plan)["phase"], plan.requeue_after) == ("Running", wait)
        return
    after = status_of(plan)
    assert (after["phase"], after["reason"], after["restartNodes"]) == ("Restarting", "Resized", size)
    assert (plan.delete, after["restarts"]["total"], after["restartTime"]) == ((), 0, at(0))
    assert [event.type for event in plan.events] == ["Normal"]


def growing(*pods: JSON, **more: Any) -> Plan:
    """A look while the old ranks stop."""
    ended = attempt(3, endTime=at(-5), reason="Resized")
    return look(ELASTIC, *pods, phase="Restarting", attempts=ended, restartNodes=4, nodes=nodes_of(), **more)


def test_scouts_hold_their_places_until_the_old_ranks_have_stopped() -> None:
    plan = growing(*ranks(3), scout(3))
    assert names(plan.delete) == [f"Pod/fashion-1-0-{rank}" for rank in range(3)]
    stopping = ranks(3, r0={"deleted": -9}, r1={"deleted": -9}, r2={"deleted": -9})
    assert (growing(*stopping, scout(3)).delete, growing(*stopping, scout(3)).requeue_after) == ((), 116)
    begun = status_of(growing(scout(3)))
    assert (begun["attempt"], begun["attempts"][-1]["nodes"]) == (1, 4)
    created = look({**ELASTIC, "status": begun}, scout(3), nodes=nodes_of())
    assert names(created.create)[:4] == [f"Pod/fashion-1-1-{rank}" for rank in range(4)]
    assert names(created.delete) == ["Pod/fashion-1-0-3"]


def test_a_scout_goes_with_a_suspended_or_ended_attempt() -> None:
    suspended = merged(ELASTIC, {"spec": {"runPolicy": {"suspend": True}}})
    ended = attempt(3, endTime=at(-5), reason="SuspendedByUser")
    plan = look(suspended, scout(3), phase="Suspending", attempts=ended, nodes=nodes_of())
    assert status_of(plan)["phase"] == "Suspended", "a scout has nothing to save"
    after = look(suspended, scout(3), phase="Suspended", attempts=ended, nodes=nodes_of())
    assert names(after.delete) == ["Pod/fashion-1-0-3"]
    done = look(ELASTIC, scout(3), phase="Succeeded", attempts=ended, completionTime=at(0), nodes=nodes_of())
    assert names(done.delete) == ["Pod/fashion-1-0-3"]


def test_the_message_says_what_the_gang_lacks_and_why() -> None:
    unschedulable = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/4 nodes are available: 4 Insufficient cpu.",
    }
    waiting = scout(3, on=None, conditions=[unschedulable])
    more: JSON = {"scoutTime": at(-9)}
    after = status_of(running(waiting, **more))
    assert after["message"] == "3 of 3 nodes running; 1 more wanted: 0/4 nodes are available: 4 Insufficient cpu."
    assert after["nodes"]["summary"] == "3/3"
    assert status_of(running(**more))["message"] == "3 of 3 nodes running; 1 more wanted"


def test_scouts_count_nowhere() -> None:
    situation = situate(observe(ELASTIC, *ranks(3), scout(3), attempts=attempt(3), nodes=nodes_of()))
    assert [len(bucket) for bucket in (situation.gang.pods, situation.gang.scouts, situation.gang.older)] == [3, 1, 0]
    assert status_of(running(scout(3, phase="Failed"), scoutTime=at(-1)))["nodes"]["failed"] == 0


def test_a_scout_is_a_rank_to_the_scheduler_and_nothing_to_training() -> None:
    of = merged(
        ELASTIC,
        {
            "spec": {
                "resources": {"limits": {"nvidia.com/gpu": 8}},
                "storage": {"secretRef": {"name": "s3"}},
                "podTemplate": {"nodeSelector": {"gpu": "h100"}, "labels": {"team": "vision"}},
            }
        },
    )
    situation = situate(observe(of, attempts=attempt(3)))
    gang = AttemptSpec(situation.config, situation.spec, situation.run_name, attempt=0, nodes=3)
    [rank], [scout_] = build_pods(gang, [3]), build_scouts(gang, [3])
    mine, theirs = scout_["spec"], rank["spec"]
    assert scout_["metadata"]["labels"] == {**rank["metadata"]["labels"], Label.SCOUT: "true"}
    assert {key for key in theirs if mine[key] != theirs[key]} == {"containers", "terminationGracePeriodSeconds"}
    [container], [full] = mine["containers"], theirs["containers"]
    assert container["command"][0] == "sleep"
    assert (container["image"], container["resources"]) == (full["image"], full["resources"])
    assert not {"env", "envFrom", "volumeMounts", "ports", "livenessProbe"} & container.keys()
    assert mine["terminationGracePeriodSeconds"] == 0


def test_a_bare_command_s_gang_has_scouts_too() -> None:
    """What it is told of its place among the others names hosts that the gang hasn't got."""
    command = {"recipe": None, "command": ["python", "train.py"]}
    situation = situate(observe(merged(ELASTIC, {"spec": {"trainer": command}}), attempts=attempt(3)))
    gang = AttemptSpec(situation.config, situation.spec, situation.run_name, attempt=0, nodes=3)
    [scout_] = build_scouts(gang, [3])
    assert scout_["metadata"]["name"] == gang.pod_name(3)


def test_only_elastic_jobs_have_scouts() -> None:
    situation = situate(observe(job({"nodes": 4}), *ranks(3), attempts=attempt(3)))
    assert not elastic.scouts_are_due(situation)
    assert elastic.resize(situation) is None
