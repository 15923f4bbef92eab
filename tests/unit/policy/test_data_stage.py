"""Data before accelerators: one pod without any prepares them, and the gang follows once it has succeeded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from footplate.contract import Verdict
from footplate.gangs.kinds import GangKind
from footplate.gangs.state import GangState
from footplate.gangs.table import SCHEDULERS
from footplate.policy.plan import Admission, Plan
from footplate.policy.pod import Pod
from unit.policy.build import NOW, at, job, look, names, observe, plan_of, pod, waiting
from unit.policy.fakecluster import FakeCluster

JSON = dict[str, Any]
SPEC: JSON = {
    "nodes": 2,
    "resources": {"requests": {"cpu": "64", "memory": "512Gi"}, "limits": {"nvidia.com/gpu": 8}},
    "inputs": [{"name": "train", "uri": "s3://datasets/train/"}],
    "data": {"split": {"train": 0.9, "test": 0.1}},
    "output": {"uri": "s3://models/fashion/"},
}
DATA: JSON = {
    "rows": 10,
    "splits": [{"name": "train", "rows": 9, "share": 0.9}, {"name": "test", "rows": 1, "share": 0.1}],
    "digest": "a" * 64,
    "profile": "s3://models/fashion/fashion/records-1-0b9fb7b6/data/profile.html",
}
TOLD = json.dumps({"outcome": "succeeded", "exitCode": 0, "data": DATA})
SUCCEEDED = Verdict(outcome="succeeded", exit_code=0, notes=["data: 10 rows"]).model_dump_json(by_alias=True)


def cluster(**changes: Any) -> FakeCluster:
    cluster = FakeCluster(job=job({**SPEC, **changes}))
    cluster.settle()
    return cluster


def pods(cluster: FakeCluster) -> list[str]:
    return [pod.name for pod in cluster.pods()]


def run_data(cluster: FakeCluster, code: int = 0, **more: Any) -> None:
    (pod,) = cluster.live_pods()
    cluster.schedule(pod, "node-0")
    cluster.settle()
    cluster.start(cluster.live_pods()[0])
    cluster.settle()
    cluster.tick(30)
    cluster.end(cluster.live_pods()[0], code, **more)
    cluster.settle()
    cluster.tick(30)
    cluster.settle()


def run_gang(cluster: FakeCluster, *, code: int) -> None:
    """All pods of the gang run, and the first ends so."""

    def gang() -> list[Pod]:
        return [each for each in cluster.live_pods() if not each.terminating]

    for each in gang():
        cluster.schedule(each, "node-1")
    cluster.settle()
    for each in gang():
        cluster.start(each)
    cluster.settle()
    assert cluster.phase == "Running"
    cluster.tick(30)
    cluster.end(gang()[0], code)
    cluster.settle()


def environment(pod: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in pod["spec"]["containers"][0]["env"]}


def test_one_pod_without_accelerators_comes_first() -> None:
    found = cluster()
    assert pods(found) == ["fashion-1-0-0"]
    (raw,) = [pod.raw for pod in found.pods()]
    assert raw["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {}}
    env = environment(raw)
    assert (env["FOOTPLATE_STAGE"], env["FOOTPLATE_NODES"], env["FOOTPLATE_PROCESSES_PER_NODE"]) == ("data", "1", "1")
    assert (found.phase, found.status["reason"]) == ("Pending", "PreparingData")
    assert "the data are being prepared by pod fashion-1-0-0" in found.status["message"]
    assert found.status["attempts"][0]["stage"] == "data"
    assert raw["spec"]["securityContext"]["runAsNonRoot"]
    assert raw["metadata"]["ownerReferences"][0]["uid"] == found.job["metadata"]["uid"]


def test_the_gang_follows_once_they_are_prepared() -> None:
    found = cluster()
    run_data(found, message=SUCCEEDED)
    assert sorted(pods(found)) == ["fashion-1-1-0", "fashion-1-1-1"]
    (first, _) = [pod.raw for pod in found.pods()]
    assert first["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    assert "FOOTPLATE_STAGE" not in environment(first)
    data, gang = found.status["attempts"]
    assert (data["reason"], data["stage"]) == ("DataPrepared", "data")
    assert "stage" not in gang
    assert found.status["dataTime"]
    assert found.status["notes"] == ["data: 10 rows"]
    assert found.status["restarts"].get("user", 0) == found.status["restarts"].get("infrastructure", 0) == 0
    # Once a run: a gang that is made again prepares nothing.
    run_gang(found, code=70)
    found.tick(60)
    found.settle()
    assert [attempt.get("stage") for attempt in found.status["attempts"]] == ["data", None, None]
    gang_now = [each.name for each in found.live_pods() if not each.terminating]
    assert sorted(gang_now) == ["fashion-1-2-0", "fashion-1-2-1"]


def test_no_accelerator_seconds_are_charged_for_it() -> None:
    found = cluster()
    run_data(found, message=SUCCEEDED)
    assert found.status.get("usage", {}).get("acceleratorSeconds", {}).get("nvidia.com/gpu", 0) == 0


def test_data_that_break_a_check_end_the_run_before_there_is_a_gang() -> None:
    said = "data.checks: column 'age': minimum: 0 is broken once: -5 in row 3 of train/a.csv"
    verdict = json.dumps({"outcome": "failed", "exitCode": 65, "error": {"message": said}})
    found = cluster()
    run_data(found, 65, message=verdict)
    assert (found.phase, found.status["reason"]) == ("Failed", "DataError")
    assert said in found.status["message"]
    assert pods(found) == ["fashion-1-0-0"]


def test_it_is_tried_again_so_often_as_any_attempt() -> None:
    found = cluster(runPolicy={"maxRestarts": 1})
    run_data(found, 70)
    found.tick(60)
    found.settle()
    assert [attempt["stage"] for attempt in found.status["attempts"]] == ["data", "data"]
    assert found.status["restarts"]["user"] == 1
    (again,) = found.live_pods()
    assert again.name == "fashion-1-1-0"
    run_data(found, 71)
    assert (found.phase, found.status["reason"]) == ("Failed", "MaxRestartsExceeded")


def test_a_lost_node_costs_the_infrastructures_budget() -> None:
    found = cluster()
    (data,) = found.live_pods()
    found.schedule(data, "node-0")
    found.start(data)
    found.settle()
    found.set_node("node-0", ready="Unknown")
    found.tick(60)
    found.settle()
    found.tick(60)
    found.settle()
    assert found.status["restarts"]["infrastructure"] == 1
    assert found.status["attempts"][-1]["stage"] == "data"


def test_suspending_stops_it_and_resuming_prepares_again() -> None:
    found = cluster()
    found.edit("runPolicy", suspend=True)
    found.settle()
    for each in found.pods():
        found.end(each, 143)
    found.tick(200)
    found.settle()
    assert found.phase == "Suspended"
    found.edit("runPolicy", suspend=False)
    found.settle()
    assert found.status["attempts"][-1]["stage"] == "data"
    assert len(found.live_pods()) == 1


def test_an_elastic_gang_begins_with_all_its_nodes() -> None:
    found = cluster(nodes=3, elastic={"minNodes": 2, "maxNodes": 4}, checkpoint={"uri": "s3://checkpoints/"})
    assert pods(found) == ["fashion-1-0-0"]
    run_data(found, message=SUCCEEDED)
    assert sorted(pods(found)) == ["fashion-1-1-0", "fashion-1-1-1", "fashion-1-1-2"]


def test_a_model_that_is_there_already_ends_the_run() -> None:
    artifact: JSON = {
        "uri": "s3://models/fashion/fashion/1/",
        "manifest": "s3://models/fashion/fashion/1/manifest.json",
    }
    artifact |= {"sha256": "a" * 64, "sizeBytes": 1}
    said = {"outcome": "succeeded", "exitCode": 0, "alreadyComplete": True, "artifact": artifact}
    found = cluster()
    run_data(found, message=json.dumps(said))
    assert (found.phase, found.status["reason"]) == ("Succeeded", "AlreadyComplete")


@pytest.mark.parametrize("field", ["data", "output"])
def test_without_data_or_a_place_to_keep_them_the_gang_comes_at_once(field: str) -> None:
    found = FakeCluster(job=job({name: value for name, value in SPEC.items() if name != field}))
    found.settle()
    assert sorted(pods(found)) == ["fashion-1-0-0", "fashion-1-0-1"]
    assert "stage" not in found.status["attempts"][0]


def test_it_has_the_resources_that_are_asked_for_it() -> None:
    resources = {"requests": {"cpu": "8"}, "limits": {"memory": "64Gi"}}
    found = cluster(data={**SPEC["data"], "resources": resources})
    assert found.pods()[0].raw["spec"]["containers"][0]["resources"] == resources


def test_it_takes_no_place_in_the_queue_and_the_gang_does() -> None:
    waiting = Admission(limited=frozenset({"nvidia.com/gpu"}), why="3 jobs are before it")

    def plan(**status: Any) -> Plan:
        return plan_of(replace(observe(job(SPEC), phase="Pending", **status), admission=waiting), now=NOW)

    begun = plan(attempts=[])
    assert begun.status is not None
    assert begun.status["attempts"][0]["stage"] == "data"
    assert "queue" not in begun.status
    ended = [{"attempt": 0, "startTime": at(-60), "endTime": at(-9), "reason": "DataPrepared", "stage": "data"}]
    then = plan(attempts=ended, dataTime=at(-9))
    assert then.status is not None
    assert then.status["phase"] == "Queued"
    assert then.status["queue"]["nodes"] == 0
    assert then.create == ()


def test_the_gangs_wait_counts_as_that_of_a_run_that_has_never_run() -> None:
    found = cluster(runPolicy={"queueDeadlineSeconds": 100})
    run_data(found, message=SUCCEEDED)
    assert "runningTime" not in found.status
    found.tick(200)
    found.settle()
    assert (found.phase, found.status["reason"]) == ("Failed", "QueueDeadlineExceeded")


def test_pods_of_the_stage_go_when_the_gang_begins() -> None:
    ended = [{"attempt": 0, "startTime": at(-60), "endTime": at(-9), "reason": "DataPrepared", "stage": "data"}]
    data = pod(0, phase="Succeeded")
    plan = look(job(SPEC), data, phase="Pending", attempts=ended, dataTime=at(-9))
    assert plan.status is not None
    after = look({**job(SPEC), "status": plan.status}, data)
    assert names(after.delete) == ["Pod/fashion-1-0-0"]


def test_the_status_has_what_the_data_are_for_all_attempts_of_the_run() -> None:
    found = cluster()
    run_data(found, message=TOLD)
    assert found.status["data"] == {**DATA, "classes": [], "problems": 0, "broken": []}
    assert found.status["attempts"][0]["reason"] == "DataPrepared"
    run_gang(found, code=70)
    found.tick(60)
    found.settle()
    assert found.status["attempt"] == 2
    assert found.status["data"]["rows"] == 10
    # Another run's data are others.
    run_gang(found, code=65)
    assert found.phase == "Failed"
    found.edit("runPolicy", restartNonce="again")
    found.settle()
    assert (found.status["run"], found.status["attempts"][-1]["stage"]) == (2, "data")
    assert "data" not in found.status


def test_what_is_said_of_broken_checks_is_in_the_status() -> None:
    broken = {"problems": 1, "broken": [{"column": "age", "rule": "minimum: 0", "count": 1}]}
    verdict = {"outcome": "failed", "exitCode": 65, "error": {"message": "no"}, "data": {**DATA, **broken}}
    found = cluster()
    run_data(found, 65, message=json.dumps(verdict))
    assert (found.status["data"]["problems"], found.status["data"]["broken"]) == (1, broken["broken"])


def test_the_gang_begins_with_whole_budgets() -> None:
    found = cluster(runPolicy={"maxRestarts": 1, "maxDisruptions": 1})
    run_data(found, 70)
    found.tick(60)
    found.settle()
    assert found.status["spent"]["restarts"] == 1
    run_data(found, message=SUCCEEDED)
    assert found.status["spent"] == {"restarts": 0, "disruptions": 0}
    assert found.status["restarts"]["user"] == 1
    run_gang(found, code=70)
    assert (found.status["attempt"], found.status["spent"]["restarts"]) == (3, 1)


def test_the_first_failure_of_the_gang_is_the_first_of_a_row() -> None:
    found = cluster(runPolicy={"restartBackoffSeconds": 100})
    run_data(found, 70)
    found.tick(60)
    found.settle()
    run_data(found, message=SUCCEEDED)
    run_gang(found, code=70)
    assert found.status["attempt"] == 3, "it is made again at once"


def test_memory_that_is_too_small_is_that_of_its_pod() -> None:
    found = cluster(runPolicy={"maxRestarts": 0})
    run_data(found, 137, reason="OOMKilled")
    assert (found.phase, found.status["reason"]) == ("Failed", "OutOfMemory")
    assert "which prepares the data, was killed" in found.status["message"]
    assert "raise data.resources.limits.memory" in found.status["message"]


def test_an_image_that_cannot_be_pulled_costs_nobody() -> None:
    found = cluster()
    (data,) = found.live_pods()
    found.schedule(data, "node-0")
    found.set_state(data, "Pending", waiting("ImagePullBackOff", "no such image"))
    found.settle()
    assert (found.phase, found.status["reason"]) == ("Pending", "PreparingData")
    assert "no such image" in found.status["message"]
    found.tick(40)
    found.settle()
    assert found.status["attempts"][-1]["reason"] == "ImagePullFailed"
    assert found.status["spent"] == {"restarts": 0, "disruptions": 0}


def test_a_queue_outside_sees_one_pod_first_and_the_gang_only_then() -> None:
    kueue = GangState({GangKind.KUEUE: SCHEDULERS[GangKind.KUEUE].apis[0]}, frozenset({GangKind.KUEUE}), ())
    of = job({**SPEC, "scheduling": {"queueName": "vision"}})
    begun = [{"attempt": 0, "startTime": at(-1), "nodes": 1, "gang": "kueue", "stage": "data"}]
    plan = look(of, phase="Pending", attempts=begun, gang_state=kueue)
    (data,) = [each for each in plan.create if each["kind"] == "Pod"]
    assert data["metadata"]["annotations"]["kueue.x-k8s.io/pod-group-total-count"] == "1"
    ended = [{**begun[0], "endTime": at(-1), "reason": "DataPrepared"}]
    ended += [{"attempt": 1, "startTime": at(-1), "nodes": 2, "gang": "kueue"}]
    plan = look(of, phase="Pending", attempts=ended, attempt=1, dataTime=at(-1), gang_state=kueue)
    counts = [
        each["metadata"]["annotations"]["kueue.x-k8s.io/pod-group-total-count"]
        for each in plan.create
        if each["kind"] == "Pod"
    ]
    assert counts == ["2", "2"]


def policy(above: str | None) -> JSON:
    named = {} if above is None else {"dataPodAbove": above}
    return {"metadata": {"name": f"above-{above}"}, "spec": {"namespaceSelector": {}, **named}}


def begun(*sizes: str | None, above: tuple[str | None, ...] = ("100Mi",)) -> FakeCluster:
    """A job whose inputs may hold so much, under policies."""
    names = ("train", "more", "model")
    inputs = [
        {"name": name, "uri": "s3://datasets/train/", **({} if size is None else {"maxSize": size})}
        for name, size in zip(names, sizes, strict=False)
    ]
    found = FakeCluster(job=job({**SPEC, "inputs": inputs}), policies=[policy(each) for each in above])
    found.settle()
    return found


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(lambda: begun("100Mi"), id="as much"),
        pytest.param(lambda: begun("50Mi", "50Mi", None), id="together, without the model"),
        pytest.param(lambda: begun("10Mi", above=("100Mi", None, "20Mi")), id="by the smallest"),
    ],
)
def test_small_data_are_prepared_by_node_0_of_the_gang(found: Callable[[], FakeCluster]) -> None:
    cluster = found()
    assert sorted(pods(cluster)) == ["fashion-1-0-0", "fashion-1-0-1"]
    assert cluster.status["resolved"]["dataInGang"] is True
    assert "stage" not in cluster.status["attempts"][0]
    assert all("FOOTPLATE_STAGE" not in environment(each.raw) for each in cluster.pods())
    (config,) = [raw for (kind, _), raw in cluster.objects.items() if kind == "ConfigMap"]
    assert json.loads(config["data"]["job.json"])["dataInGang"] is True
    # What the policy says later is no matter of this run's.
    cluster.policies = [policy(None)]
    run_gang(cluster, code=70)
    cluster.tick(60)
    cluster.settle()
    assert [attempt.get("stage") for attempt in cluster.status["attempts"]] == [None, None]


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(lambda: begun("101Mi"), id="more"),
        pytest.param(lambda: begun("60Mi", "60Mi"), id="more together"),
        pytest.param(lambda: begun("1Mi", None), id="one of unknown size"),
        pytest.param(lambda: begun("1Mi", above=()), id="no policy"),
        pytest.param(lambda: begun("1Mi", above=(None,)), id="a policy that says nothing"),
        pytest.param(lambda: begun("30Mi", above=("100Mi", "20Mi")), id="more than the smallest"),
    ],
)
def test_other_data_have_a_pod_of_their_own(found: Callable[[], FakeCluster]) -> None:
    cluster = found()
    assert pods(cluster) == ["fashion-1-0-0"]
    assert cluster.status["attempts"][0]["stage"] == "data"
    assert "dataInGang" not in cluster.status["resolved"]
