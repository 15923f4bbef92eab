"""How an attempt ends, and what follows."""

import json
from typing import Any

import pytest

from footplate.policy.plan import Observed, Plan, Refusal
from footplate.policy.reconcile import reconcile
from unit.policy.build import NOW, at, config_map, job, look, names, node, pod, status, terminated

JSON = dict[str, Any]
ALL_PODS = ["Pod/fashion-1-0-0", "Pod/fashion-1-0-1"]


def failed(rank: int = 1, code: int = 1, **more: Any) -> JSON:
    return pod(rank, phase="Failed", state=terminated(code, **more))


def says(rank: int = 0, **verdict: Any) -> JSON:
    message = json.dumps({"outcome": "succeeded", "exitCode": 0, **verdict})
    return pod(rank, phase="Succeeded", state=terminated(0, message=message))


def ended(reason: str, *, seconds_ago: float = 5, **more: Any) -> list[JSON]:
    """An attempt that ended."""
    return [{"attempt": 0, "startTime": at(-600), "endTime": at(-seconds_ago), "reason": reason, **more}]


def status_of(plan: Plan) -> JSON:
    assert plan.status is not None
    return dict(plan.status)


def test_success() -> None:
    artifact = {"uri": "s3://m/fashion/1/", "manifest": "s3://m/fashion/1/m", "sha256": "a" * 64, "sizeBytes": 5}
    after = status_of(look(job(), says(0, artifact=artifact, step=9), says(1)))
    assert (after["phase"], after["reason"], after["completionTime"]) == ("Succeeded", "Completed", at())
    assert "s3://m/fashion/1/" in after["message"]
    assert after["artifact"]["uri"] == "s3://m/fashion/1/"
    assert (after["attempts"][-1]["reason"], after["attempts"][-1]["lastStep"]) == ("Completed", 9)
    assert after["activeSeconds"] == 300
    assert "failure" not in after


@pytest.mark.parametrize(
    ("ended", "progress", "words"),
    [
        ("earlyStopping", {"epoch": 7, "epochs": 20}, "training stopped early (earlyStopping) at epoch 7 of 20; the"),
        ("callback", {"step": 5}, "training stopped early (callback); the verified model"),
        ("epochs", {"epoch": 20, "epochs": 20}, "training finished; the verified model"),
        (None, {"epoch": 7, "epochs": 20}, "training finished; the verified model"),
    ],
)
def test_success_says_where_training_stopped_early(ended: str | None, progress: JSON, words: str) -> None:
    artifact = {"uri": "s3://m/1/", "manifest": "s3://m/1/m", "sha256": "a" * 64, "sizeBytes": 5, "ended": ended}
    after = status_of(look(job(), says(0, artifact=artifact, progress=progress), says(1)))
    assert after["message"].startswith(words)


def test_where_nothing_was_trained_no_model_is_said_to_be_there() -> None:
    artifact = {"uri": "s3://m/fashion/1/", "manifest": "s3://m/fashion/1/m", "sha256": "a" * 64, "sizeBytes": 5}
    after = status_of(look(job({"trainer": {"recipe": "evaluate"}}), says(0, artifact=artifact), says(1)))
    assert after["message"] == "the model was evaluated; what was found is at s3://m/fashion/1/"


def test_success_without_a_word_of_the_model() -> None:
    of = job({"output": {"uri": "s3://models/x/"}})
    done = (pod(0, phase="Succeeded"), pod(1, phase="Succeeded"))
    assert "look below s3://models/x/" in status_of(look(of, *done))["message"]
    assert status_of(look(job(), *done))["message"] == "training finished"


def test_one_success_is_not_all() -> None:
    plan = look(job(), says(0), pod(1))
    assert status_of(plan)["phase"] == "Running"


def test_a_failure_restarts_the_gang() -> None:
    plan = look(job(), pod(0), failed(1, 70))
    after = status_of(plan)
    assert (after["phase"], after["reason"], after["attempt"]) == ("Restarting", "UserError", 0)
    assert (after["restarts"]["user"], after["restartTime"]) == (1, at(0))
    assert after["message"].endswith("attempt 1 starts now")
    assert (after["failure"]["rank"], after["failure"]["class"]) == (1, "User")
    assert (plan.create, plan.delete) == ((), ()), "first the decision, then what follows from it"


def test_the_old_pods_go_while_the_backoff_runs() -> None:
    plan = look(
        job(), pod(0), failed(1), phase="Restarting", attempts=ended("UserError"), restartTime=at(7), failure=None
    )
    assert names(plan.delete) == ALL_PODS
    assert plan.create == ()


def test_then_the_next_attempt_takes_its_number_and_then_its_pods() -> None:
    of = job()
    begun = look(of, pod(0), phase="Restarting", attempts=ended("UserError"), restartTime=at(-1))
    after = status_of(begun)
    assert (after["phase"], after["attempt"], begun.create) == ("Restarting", 1, ())
    assert begun.events == ()
    created = look({**of, "status": after}, pod(0))
    assert names(created.create) == ["Pod/fashion-1-1-0", "Pod/fashion-1-1-1", "Service/fashion-run-1-0b9fb7b6"]
    assert names(created.delete) == ["Pod/fashion-1-0-0"]


WAITS = [
    pytest.param("Evicted", (pod(0, deleted=-9),), 116, id="evicted: the others save"),
    pytest.param("Stopped", (pod(0, deleted=-9),), 116, id="stopped"),
    pytest.param("Resized", (pod(0, deleted=-9),), 116, id="resized"),
    pytest.param("Evicted", (pod(0, deleted=-126),), None, id="no longer than the grace"),
    pytest.param("Evicted", (pod(0, phase="Failed", deleted=-9),), None, id="they have ended"),
    pytest.param("NodeLost", (pod(0, deleted=-9),), None, id="node lost: nobody to wait for"),
    pytest.param("UserError", (pod(0, deleted=-9),), None, id="an error: nothing to save"),
]


@pytest.mark.parametrize(("reason", "pods", "wait"), WAITS)
def test_who_is_waited_for(reason: str, pods: tuple[JSON, ...], wait: float | None) -> None:
    plan = look(job(), *pods, phase="Restarting", attempts=ended(reason))
    if wait is None:
        assert status_of(plan)["attempt"] == 1
    else:
        assert plan.requeue_after == wait
        assert plan.status is None or plan.status["attempt"] == 0


@pytest.mark.parametrize("reason", ["Evicted", "Stopped", "Resized"])
def test_who_is_on_a_lost_node_isnt_waited_for(reason: str) -> None:
    """A kubelet that is gone: its pods stay Terminating for the whole grace, and nobody hears what they save."""
    nodes = {"node-0": node(), "node-1": node("node-1", ready="Unknown", since=-30)}
    lost = pod(1, on="node-1", attempt=7, deleted=-9)
    after = status_of(look(job(), lost, phase="Restarting", attempts=ended(reason), nodes=nodes))
    assert after["attempt"] == 1
    waited_for = look(job(), pod(1, attempt=7, deleted=-9), phase="Restarting", attempts=ended(reason), nodes=nodes)
    assert waited_for.requeue_after == 116


def test_what_is_said_of_the_start_is_so() -> None:
    waits = status_of(look(job(), pod(0), pod(1, deleted=-9)))["message"]
    assert waits.endswith("attempt 1 starts when the other ranks have saved and stopped, in 125 s at the latest")
    nodes = {"node-0": node(ready="Unknown", since=-30), "node-1": node("node-1", ready="Unknown", since=-30)}
    evicted = pod(1, on="node-1", phase="Failed", state={}, reason="Evicted")
    nobody = status_of(look(job(), pod(0), evicted, nodes=nodes))["message"]
    assert nobody.endswith("attempt 1 starts now")


def test_a_bare_command_that_ends_with_0_when_its_pod_is_deleted_runs_again() -> None:
    stopped = pod(1, phase="Succeeded", state=terminated(0, ended=-1), deleted=-2)
    after = status_of(look(job(), pod(0, phase="Succeeded"), stopped))
    assert (after["phase"], after["reason"], after["attempts"][-1]["succeededRanks"]) == ("Restarting", "Evicted", "0")


def test_evicted_pods_peers_are_told_to_stop() -> None:
    plan = look(job(), pod(0, deleted=-9), pod(1), phase="Restarting", attempts=ended("Evicted"))
    assert names(plan.delete) == ["Pod/fashion-1-0-1"]


def test_somebody_deletes_a_pod() -> None:
    after = status_of(look(job(), pod(0), pod(1, deleted=-1)))
    assert (after["phase"], after["reason"]) == ("Restarting", "Evicted")
    assert (after["restarts"]["infrastructure"], after["restarts"]["user"]) == (1, 0)
    gone = status_of(look(job(), pod(0)))
    assert gone["reason"] == "PodLost"


def test_a_lost_node_is_remembered() -> None:
    nodes = {"node-0": node(), "node-1": node("node-1", ready="Unknown", since=-2)}
    after = status_of(look(job(), pod(0), pod(1, on="node-1"), nodes=nodes))
    assert (after["reason"], after["attempts"][-1]["node"]) == ("NodeLost", "node-1")
    assert after["message"].endswith("attempt 1 starts now")


def test_budget_spent() -> None:
    after = status_of(look(job(), pod(0), failed(1), restarts={"user": 3}))
    assert (after["phase"], after["reason"], after["failure"]["class"]) == ("Failed", "MaxRestartsExceeded", "User")
    assert after["completionTime"] == at()


ASKED = {"evaluation": {"gates": [{"metric": "testAccuracy", "atLeast": 0.9}]}}
GATED = {**ASKED, "output": {"uri": "s3://models/m/"}}
MODEL = {"uri": "s3://m/1/", "manifest": "s3://m/1/m", "sha256": "a" * 64, "sizeBytes": 5}
MISSED = {"metric": "testAccuracy", "atLeast": 0.9, "value": 0.7, "passed": False}
PASSED = {"metric": "testAccuracy", "atLeast": 0.9, "value": 0.95, "passed": True}


def test_a_gate_that_is_not_passed_ends_the_run_with_the_model() -> None:
    artifact = {**MODEL, "accepted": False}
    said = {"artifact": artifact, "evaluation": {"gates": [MISSED]}, "error": {"message": "testAccuracy is 0.7"}}
    message = json.dumps({"outcome": "failed", "exitCode": 80, **said})
    after = status_of(look(job(GATED), failed(0, 80, message=message), pod(1, phase="Succeeded")))
    assert (after["phase"], after["reason"], after["failure"]["class"]) == ("Failed", "GateNotPassed", "Permanent")
    assert after["message"] == "testAccuracy is 0.7"
    assert after["artifact"]["accepted"] is False
    assert after["evaluation"]["gates"] == [MISSED]


def test_a_gate_that_is_passed_ends_it_with_an_accepted_model() -> None:
    said = says(artifact={**MODEL, "accepted": True}, evaluation={"gates": [PASSED]})
    after = status_of(look(job(GATED), said, says(1)))
    assert (after["phase"], after["artifact"]["accepted"]) == ("Succeeded", True)
    assert after["evaluation"]["gates"] == [PASSED]
    short = status_of(look(job(GATED), says(artifact={**MODEL, "accepted": True}), says(1)))
    assert short["phase"] == "Succeeded", "the verdict had no room for all gates"


@pytest.mark.parametrize(
    ("accepted", "gates", "words"),
    [
        pytest.param(True, [{**MISSED, "passed": True}], "testAccuracy is 0.7, at least 0.9", id="says it is passed"),
        pytest.param(True, [{**MISSED, "value": None, "passed": True}], "is no value, at least 0.9", id="no value"),
        pytest.param(True, [MISSED], "testAccuracy is 0.7, at least 0.9", id="contradicts itself"),
        pytest.param(False, [PASSED], "doesn't say that it passes", id="not accepted"),
        pytest.param(None, [], "use an image whose footplate_trainer knows them", id="knows no gates"),
        pytest.param(None, [{**PASSED, "atLeast": 0.1}], "doesn't say that it passes", id="another bound"),
    ],
)
def test_a_model_isnt_accepted_by_a_word_that_its_values_belie(
    accepted: bool | None, gates: list[JSON], words: str
) -> None:
    said = says(artifact={**MODEL, "accepted": accepted}, evaluation={"gates": gates})
    after = status_of(look(job(GATED), said, says(1)))
    assert (after["phase"], after["reason"], after["failure"]["class"]) == ("Failed", "GateNotPassed", "Permanent")
    assert words in after["message"]
    assert after["artifact"].get("accepted") is not True
    assert all(gate["passed"] == (gate.get("value") == 0.95) for gate in after["evaluation"]["gates"])


@pytest.mark.parametrize("output", [{}, {"output": {"uri": "s3://models/m/"}}])
def test_gates_of_which_nothing_is_said_are_not_passed(output: JSON) -> None:
    """As by an image that writes what it likes where the verdict belongs."""
    done = [pod(rank, phase="Succeeded", state=terminated(0, message="{")) for rank in (0, 1)]
    after = status_of(look(job({**ASKED, **output}), *done))
    assert (after["phase"], after["reason"]) == ("Failed", "GateNotPassed")
    said = says(evaluation={"gates": []}), says(1)
    assert status_of(look(job({**ASKED, **output}), *said))["phase"] == ("Failed" if output else "Succeeded")


def test_a_job_without_gates_has_neither_accepted_nor_refused_models() -> None:
    said = says(artifact={**MODEL, "accepted": True}, evaluation={"metrics": {"a": 1}, "gates": [PASSED]})
    after = status_of(look(job(), said, says(1)))
    assert (after["phase"], after["evaluation"]) == ("Succeeded", {"metrics": {"a": 1}, "gates": []})
    assert "accepted" not in after["artifact"]


def test_texts_of_pods_stand_in_one_line() -> None:
    """Else they forge lines of `kubectl describe`."""
    forged = "s3://m/1/\n  Phase:  Running\x1b[2J"
    gate = {"metric": "testAccuracy", "atLeast": 0.9, "passed": False, "why": forged}
    checkpoint = {"uri": forged, "step": 3}
    said = says(
        artifact={**MODEL, "uri": forged, "ended": forged, "metrics": {forged: 1}},
        evaluation={"metrics": {forged: 1}, "gates": [gate]},
        checkpoint=checkpoint,
        progress={"step": 3, "metrics": {forged: 1}},
        data={"rows": 1, "digest": forged, "classes": [{"name": forged, "rows": 1}]},
        tracking=[{"name": forged, "url": "https://example.com"}],
    )
    after = json.dumps(status_of(look(job(GATED), said, says(1))))
    assert after.count("Phase:  Running") == 10
    assert "\\n" not in after
    assert "\\u001b" not in after


def test_permanent_failure_ends_the_run() -> None:
    after = status_of(look(job(), pod(0), failed(1, 78)))
    assert (after["phase"], after["reason"], after["failure"]["class"]) == ("Failed", "ConfigError", "Permanent")


def test_an_error_that_comes_back_is_permanent() -> None:
    trace = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\nE: m'
    error = {"type": "E", "message": "m", "traceback": trace}
    said = json.dumps({"outcome": "failed", "exitCode": 70, "step": 5, "error": error})
    attempts = [
        {"attempt": 0, "startTime": at(-900), "endTime": at(-700), "reason": "UserError", "lastStep": 5},
        {"attempt": 1, "startTime": at(-600), "runningTime": at(-300)},
    ]
    before = {"class": "User", "message": "E: m", "traceback": trace}
    broken = pod(1, attempt=1, phase="Failed", state=terminated(70, message=said))
    after = status_of(look(job(), pod(0, attempt=1), broken, attempts=attempts, failure=before))
    assert (after["reason"], after["failure"]["class"]) == ("RepeatedError", "Permanent")


ELASTIC = job({"nodes": 3, "elastic": {"minNodes": 1, "maxNodes": 4}})


def test_resizing_an_elastic_job_is_a_new_attempt_that_nobody_pays() -> None:
    attempts = [{"attempt": 0, "startTime": at(-600), "runningTime": at(-300), "nodes": 4}]
    after = status_of(look(ELASTIC, *(pod(rank) for rank in range(4)), attempts=attempts))
    assert (after["phase"], after["reason"], after["restarts"]["total"]) == ("Restarting", "Resized", 0)
    begun = status_of(look({**ELASTIC, "status": after}))
    assert begun["attempts"][-1]["nodes"] == 3


def test_other_jobs_cant_be_resized() -> None:
    attempts = [{"attempt": 0, "startTime": at(-600), "runningTime": at(-300), "nodes": 2}]
    edited = {**job({"nodes": 3}), "status": status(job(), attempts=attempts)}
    plan = reconcile(Observed(edited, (pod(0), pod(1)), run_config=config_map(job())), now=NOW)
    assert status_of(plan)["phase"] == "Running"


INVALID = 'Pod "fashion-1-0-0" is invalid: spec.tolerations[0].operator: Unsupported value: "Equals"'
NO_POD = 'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field'
REFUSED = [
    pytest.param(409, "NameConflict", "no", "NameConflict", id="name taken"),
    pytest.param(422, "Invalid", INVALID, "InvalidPod", id="invalid"),
    pytest.param(400, "BadRequest", NO_POD, "InvalidPod", id="not even JSON of a pod"),
]
POLICY_SAYS = (
    "pods \"fashion-1-0-0\" is forbidden: ValidatingAdmissionPolicy 'cost' with binding 'cost' denied request: no"
)
WEBHOOK_SAYS = 'admission webhook "policy.example.com" denied the request: Pod "fashion-1-0-0" is invalid: no label'
DENIED = [
    pytest.param(422, "Invalid", POLICY_SAYS, id="a ValidatingAdmissionPolicy"),
    pytest.param(400, "BadRequest", WEBHOOK_SAYS, id="a webhook's 400"),
    pytest.param(403, "Forbidden", WEBHOOK_SAYS, id="a webhook's 403"),
    pytest.param(422, "Invalid", WEBHOOK_SAYS, id="a webhook's 422"),
    pytest.param(403, "Forbidden", 'pods "x" is forbidden: no PriorityClass with name p was found', id="no class yet"),
    pytest.param(422, "Invalid", "words that no version of the API server has used yet", id="unknown words"),
]


@pytest.mark.parametrize(("code", "reason", "message", "expected"), REFUSED)
def test_refused_for_good(code: int, reason: str, message: str, expected: str) -> None:
    refusal = Refusal("Pod", "fashion-1-0-0", code, reason, message)
    after = status_of(look(job(), phase="Pending", refusals=[refusal]))
    assert (after["phase"], after["reason"]) == ("Failed", expected)


@pytest.mark.parametrize(("code", "reason", "message"), DENIED)
def test_what_admission_denies_is_told_and_waited_out(code: int, reason: str, message: str) -> None:
    plan = look(job(), phase="Pending", refusals=[Refusal("Pod", "fashion-1-0-0", code, reason, message)])
    after = status_of(plan)
    assert (after["phase"], after["reason"]) == ("Pending", "PodsRefused")
    assert plan.create, "wanted still: the worker says when it is tried again"
    assert message in after["message"]
    assert [event.type for event in plan.events] == ["Warning"]


@pytest.mark.parametrize(("code", "message"), [(422, INVALID), (400, NO_POD)])
def test_what_was_taken_once_is_never_refused_for_good(code: int, message: str) -> None:
    attempts = [*ended("Evicted", runningTime=at(-500)), {"attempt": 1, "startTime": at(-1), "nodes": 2}]
    refusal = Refusal("Pod", "fashion-1-1-0", code, "Invalid", message.replace("1-0-0", "1-1-0"))
    after = status_of(look(job(), phase="Restarting", attempts=attempts, runningTime=at(-500), refusals=[refusal]))
    assert (after["phase"], after["reason"]) == ("Restarting", "PodsRefused")


def test_active_deadline() -> None:
    of = job({"runPolicy": {"activeDeadlineSeconds": 300}})
    assert status_of(look(of, pod(0), pod(1)))["reason"] == "DeadlineExceeded"
    assert look(of, pod(0), pod(1), after=-1).requeue_after == 1


def test_queue_deadline() -> None:
    of = job({"runPolicy": {"queueDeadlineSeconds": 600}})
    waiting = [pod(rank, phase="Pending", on=None) for rank in (0, 1)]
    assert status_of(look(of, *waiting, phase="Queued"))["reason"] == "QueueDeadlineExceeded"


def test_queue_deadline_is_looked_at_between_two_tries_too() -> None:
    of = job({"runPolicy": {"queueDeadlineSeconds": 320}})
    attempts = [{"attempt": 0, "startTime": at(-310), "endTime": at(-5), "reason": "SchedulingTimeout", "nodes": 2}]
    assert look(of, phase="Restarting", attempts=attempts, restartTime=at(590)).requeue_after == 10


QUOTA = "exceeded quota: gpus, requested: requests.nvidia.com/gpu=8, used: 8, limited: 8"


@pytest.mark.parametrize("held", [True, False])
def test_a_gang_that_a_quota_cut_in_half_names_the_quota(held: bool) -> None:
    """Whether it was refused a moment ago, or is about to be tried again."""
    refusal = Refusal("Pod", "fashion-1-0-1", 403, "Forbidden", QUOTA)
    said = f"Pod fashion-1-0-1 was refused: {QUOTA}"
    more: JSON = {"refusals": [refusal]} if held else {"reason": "PodsRefused", "message": said}
    after = status_of(look(job(), pod(0, phase="Pending", state={}, started=-301), phase="Pending", **more))
    assert after["reason"] == "SchedulingTimeout"
    assert "only 1 of 2 nodes were scheduled" in after["message"]
    assert said in after["message"]


def test_a_gang_that_the_scheduler_cut_in_half_says_why() -> None:
    says = [{"type": "PodScheduled", "status": "False", "message": "0/4 nodes are available: 4 Insufficient gpu."}]
    waits = pod(1, phase="Pending", on=None, conditions=says)
    assert "4 Insufficient gpu" in status_of(look(job(), pod(0, started=-301), waits, phase="Queued"))["message"]


def taken(number: int, step: int) -> JSON:
    return {"attempt": number, "startTime": at(-60), "runningTime": at(-30), "endTime": at(-5), "reason": "Evicted",
            "lastStep": step}  # fmt: skip


def test_what_the_ranks_say_as_they_stop_counts_as_progress() -> None:
    """The pause was reckoned when the first pod went; how far the gang got is known when the last one has saved."""
    attempts = [taken(0, 9), taken(1, 9)]
    said = json.dumps({"outcome": "stopped", "exitCode": 75, "step": 12})
    stopped = pod(0, attempt=1, phase="Failed", state=terminated(75, message=said))
    waits = look(job(), phase="Restarting", attempts=attempts, restartTime=at(10))
    assert (status_of(waits)["attempt"], waits.requeue_after) == (1, 10)
    assert status_of(look(job(), stopped, phase="Restarting", attempts=attempts, restartTime=at(10)))["attempt"] == 2


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"activeDeadlineSeconds": 305}, id="deadline"),
        pytest.param({"suspend": True}, id="suspend"),
        pytest.param({"activeDeadlineSeconds": 305, "suspend": True}, id="both"),
    ],
)
@pytest.mark.parametrize("phase", ["Running", "Suspending"])
def test_nothing_ends_a_run_whose_ranks_have_ended_well_before_their_kubelets_had_their_say(
    phase: str, edit: JSON
) -> None:
    """Something beside the trainer runs on, so that the pod's phase says nothing."""
    of = job({"runPolicy": edit})
    done = pod(0, state=terminated(0, ended=-4))
    attempts = None if phase == "Running" else ended("SuspendedByUser", seconds_ago=3, succeededRanks="1")
    rest = [pod(1, state=terminated(0, ended=-2))] if phase == "Running" else []
    waits = look(of, done, *rest, phase=phase, attempts=attempts, after=5.5)
    assert waits.status is None or waits.status["phase"] == phase
    assert waits.delete == ()
    assert waits.requeue_after is not None
    sure = look(of, done, *rest, phase=phase, attempts=attempts, after=8)
    assert status_of(sure)["phase"] == "Succeeded"


def test_a_trainer_that_ends_with_0_as_it_was_told_to_stop_holds_nothing_up() -> None:
    told = pod(0, state=terminated(0, ended=-2), deleted=-4)
    after = status_of(look(job({"nodes": 1, "runPolicy": {"suspend": True}}), told))
    assert after["phase"] == "Suspended"


FOUND = {"uri": "s3://m/fashion/1/", "manifest": "s3://m/fashion/1/manifest.json", "sha256": "a" * 64, "sizeBytes": 5}


@pytest.mark.parametrize(
    "other",
    [pod(1), pod(1, phase="Pending", on=None), failed(1, 76), None],
    ids=["waits for its peer", "has no node", "has lost its peer", "isn't there yet"],
)
def test_a_model_that_is_there_already_ends_the_run_whatever_the_others_do(other: JSON | None) -> None:
    pods = [says(0, artifact=FOUND, alreadyComplete=True), *([other] if other is not None else [])]
    of = job({"output": {"uri": "s3://models/"}})
    after = status_of(look(of, *pods, phase="Starting"))
    assert (after["phase"], after["reason"]) == ("Succeeded", "AlreadyComplete")
    assert (after["artifact"]["uri"], after["restarts"]["total"]) == ("s3://m/fashion/1/", 0)
    for word in ("nothing was trained", "s3://m/fashion/1/", "runPolicy.restartNonce"):
        assert word in after["message"]
    gone = look({**of, "status": after}, *pods).delete
    living = [] if other is None or other["status"]["phase"] == "Failed" else ["Pod/fashion-1-0-1"]
    assert names(gone) == living, "and no node is held for longer"


@pytest.mark.parametrize(
    "pods",
    [
        [says(0, alreadyComplete=True), pod(1)],
        [says(0, artifact=FOUND), pod(1)],
        [pod(0), says(1, artifact=FOUND, alreadyComplete=True)],
    ],
    ids=["it names no model", "it says nothing of the kind", "another rank says it"],
)
def test_by_one_rank_that_is_done_no_run_is(pods: list[JSON]) -> None:
    plan = look(job(), *pods)
    assert plan.status is None or plan.status["phase"] == "Running"
