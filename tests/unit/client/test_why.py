"""Why a job waits, restarts or failed, and the way out: a table of statuses, each with its sentence."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from footplate.client.advice import ADVICE, advice
from footplate.client.events import JobEvent, view_events
from footplate.client.status import read_status
from footplate.client.why import Why, explain
from footplate.policy.reasons import Reason

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RESTART = "`footplate restart fashion` then starts another run"


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def why(status: dict[str, Any], *events: JobEvent, created: float = 10, **policy: int) -> Why:
    metadata = {"name": "fashion", "namespace": "team", "creationTimestamp": ago(created)}
    job = {"metadata": metadata, "spec": {"runPolicy": policy}, "status": status}
    return explain(job, read_status(job), events, now=NOW)


def warning(message: str, *, count: int = 1) -> JobEvent:
    return JobEvent("Warning", "FailedMount", message, NOW, NOW, count)


QUEUED = {
    "phase": "Queued",
    "reason": "WaitingForNodes",
    "message": "3 of 8 nodes scheduled; 0/4 nodes are available: 4 Insufficient nvidia.com/gpu.",
    "transitions": [{"phase": "Pending", "time": ago(900)}, {"phase": "Queued", "time": ago(754)}],
    "nodes": {"desired": 8, "created": 8, "scheduled": 3, "ready": 0, "succeeded": 0, "failed": 0},
}
FAILED = {
    "phase": "Failed",
    "reason": "MaxRestartsExceeded",
    "message": "RuntimeError: CUDA out of memory",
    "spent": {"restarts": 2, "disruptions": 0},
    "failure": {
        "rank": 3,
        "node": "gpu-7",
        "exitCode": 1,
        "class": "User",
        "message": "RuntimeError: CUDA out of memory",
        "traceback": 'Traceback:\n  File "train.py", line 7\nRuntimeError: CUDA out of memory\n',
    },
    "attempts": [
        {"attempt": 0, "startTime": ago(900), "endTime": ago(600), "reason": "UserError", "lastStep": 1200},
        {"attempt": 1, "startTime": ago(600), "endTime": ago(60), "reason": "NodeLost", "node": "gpu-7"},
    ],
}

CASES: dict[str, tuple[dict[str, Any], str, list[str], list[str]]] = {
    "queued": (
        QUEUED,
        "It waits for nodes, for 12 min 34 s so far (WaitingForNodes): 3 of 8 nodes scheduled; 0/4 nodes are "
        "available: 4 Insufficient nvidia.com/gpu.",
        ["of 8 pods 8 are created, 3 have a node, 0 run"],
        ["wait for room, ask for less in resources, or correct podTemplate.nodeSelector, tolerations and affinity"],
    ),
    "an image that can't be pulled": (
        {
            "phase": "Restarting",
            "reason": "ImagePullFailed",
            "message": "pod x: ErrImagePull",
            "trouble": {"reason": "ImagePullFailed", "since": ago(30), "waitedSeconds": 60},
            "restartTime": ago(-40),
        },
        "It restarts (ImagePullFailed): pod x: ErrImagePull",
        ["its pods can't start (ImagePullFailed), for 1 min 30 s so far", "the next attempt starts in 40 s"],
        ["push the image, or correct the Secret in podTemplate.imagePullSecrets: the job goes on by itself"],
    ),
    "failed": (
        FAILED,
        "It has failed (MaxRestartsExceeded): RuntimeError: CUDA out of memory",
        [
            "root cause: rank 3, on node gpu-7, exit code 1: RuntimeError: CUDA out of memory",
            "its traceback ends with: RuntimeError: CUDA out of memory",
            "charged to the code",
            "attempt 0 ended after 5 min, at step 1,200: UserError",
            "attempt 1 ended after 9 min: NodeLost on node gpu-7",
            "2 of 3 (runPolicy.maxRestarts) are spent",
        ],
        [
            "lower the batch size and accumulate gradients over more steps, checkpoint activations, or shard the model "
            "over more accelerators",
            "`footplate logs fashion --failed` shows what the rank wrote last",
        ],
    ),
    "broken data": (
        {
            "phase": "Failed",
            "reason": "DataError",
            "message": "data.checks: minRows: 150 (120 rows are there) is broken",
            "failure": {"exitCode": 65, "class": "Permanent", "message": "data.checks: minRows: 150"},
            "attempts": [
                {"attempt": 0, "startTime": ago(90), "endTime": ago(60), "reason": "DataError", "stage": "data"}
            ],
            "data": {"rows": 120, "digest": "a", "problems": 1, "profile": "s3://m/data/profile.html"},
        },
        "It has failed (DataError): data.checks: minRows: 150 (120 rows are there) is broken",
        [
            "root cause: exit code 65: data.checks: minRows: 150",
            "it is permanent: trying again as it is can't help",
            "its data: 120 rows; 1 rule of data.checks is broken; s3://m/data/profile.html describes them",
            "attempt 0, the pod that prepares the data, ended after 30 s: DataError",
        ],
        [
            "put the data right; " + RESTART,
            "or correct the URI: the spec can't be changed: `footplate cancel fashion`, then create it anew",
        ],
    ),
    "not accepted": (
        {
            "phase": "Failed",
            "reason": "GateNotPassed",
            "message": "testAccuracy is 0.7",
            "failure": {"class": "Permanent", "message": "testAccuracy is 0.7"},
            "artifact": {"uri": "s3://m/1/", "manifest": "m", "sha256": "a", "sizeBytes": 5, "accepted": False},
        },
        "It has failed (GateNotPassed): testAccuracy is 0.7",
        [
            "root cause: testAccuracy is 0.7",
            "it is permanent: trying again as it is can't help",
            "the model is kept, as not accepted: s3://m/1/",
        ],
        [
            "`footplate evaluation fashion` shows all that was measured; `footplate artifact get fashion FOLDER` "
            "fetches the model all the same",
            "train better, or set another bound in spec.evaluation.gates: the spec can't be changed: "
            "`footplate cancel fashion`, then create it anew",
        ],
    ),
    "permanent": (
        {
            "phase": "Failed",
            "reason": "DataError",
            "message": "no bucket",
            "failure": {"class": "Permanent", "message": "no bucket"},
        },
        "It has failed (DataError): no bucket",
        ["it is permanent: trying again as it is can't help"],
        [f"put the data right; {RESTART}"],
    ),
    "a reason of another version": (
        {"phase": "Failed", "reason": "Levitation", "message": "up"},
        "It has failed (Levitation): up",
        [],
        [RESTART],
    ),
    "running with a slow rank": (
        {
            "phase": "Running",
            "reason": "AllPodsRunning",
            "message": "2 of 2 nodes running",
            "transitions": [{"phase": "Running", "time": ago(7_260)}],
            "stragglers": [{"rank": 1, "nodeRank": 1, "node": "gpu-2", "factor": 1.8}],
            "notes": ["a checkpoint is damaged"],
            "progress": {"step": 7, "lastStepTime": ago(600)},
        },
        "It runs, for 2 h 1 min so far: 2 of 2 nodes running",
        [
            "the last step was finished 10 min ago",
            "rank 1 on node gpu-2 is slow: its steps take 1.8 times the median rank's",
            "a checkpoint is damaged",
        ],
        ["to leave it, `kubectl cordon` it, then `footplate suspend fashion` and `footplate resume fashion`"],
    ),
    "stalled": (
        {
            "phase": "Pending",
            "reason": "RuntimeNotFound",
            "message": "there is no runtime",
            "conditions": [
                {"type": "Stalled", "status": "True", "reason": "x", "message": "wait", "lastTransitionTime": ago(5)},
                {"type": "ReplicaFailure", "status": "False", "reason": "x", "lastTransitionTime": ago(5)},
            ],
        },
        "It waits (RuntimeNotFound): there is no runtime",
        ["Stalled: wait"],
        [],
    ),
    "suspended": (
        {"phase": "Suspended", "reason": "SuspendedByUser"},
        "It is suspended (SuspendedByUser).",
        [],
        ["`footplate resume fashion` lets it go on"],
    ),
    "a clock that is off": (
        {"phase": "Queued", "transitions": [{"phase": "Queued", "time": ago(-500)}]},
        "It waits for nodes, for 0 s so far.",
        [],
        [],
    ),
}


@pytest.mark.parametrize(("status", "headline", "facts", "way_out"), CASES.values(), ids=CASES)
def test_why(status: dict[str, Any], headline: str, facts: list[str], way_out: list[str]) -> None:
    answer = why(status)
    assert answer.headline == headline
    assert [fact for fact in facts if fact not in answer.facts] == []
    assert [words for words in way_out if words not in answer.way_out] == []


def test_a_checkpoint_is_spoken_of_where_there_is_one() -> None:
    """Not of data that are wrong, which no gang has seen."""
    checkpoint = {"uri": "s3://c/1", "step": 7}
    for phase, reason in (("Failed", "DataError"), ("Failed", "Unheard"), ("Suspended", "SuspendedByUser")):
        status = {"phase": phase, "reason": reason}
        assert "checkpoint" not in " ".join(why(status).way_out), reason
        assert " from the newest checkpoint" in " ".join(why({**status, "checkpoint": checkpoint}).way_out), reason


def test_success_needs_no_way_out() -> None:
    answer = why({"phase": "Succeeded", "failure": {"class": "User", "message": "before"}})
    assert (answer.headline, answer.facts, answer.way_out) == ("It has succeeded.", [], [])


def test_who_had_nothing_to_train_says_so_and_how_to_train_all_the_same() -> None:
    answer = why({"phase": "Succeeded", "reason": "AlreadyComplete", "message": "the model is there"})
    assert answer.headline == "It has succeeded (AlreadyComplete): the model is there"
    assert answer.way_out == ["nothing; to train again all the same, `footplate restart fashion`"]


def test_a_job_that_no_operator_has_seen() -> None:
    assert why({}).headline == "It is new: the operator hasn't looked at it yet."
    assert why({}, created=600).headline == "No operator has looked at it, 10 min after it was created."


def test_attempts_of_which_the_status_keeps_no_more_are_counted() -> None:
    kept = [{"attempt": n, "startTime": ago(60), "endTime": ago(30), "reason": "UserError"} for n in range(15, 25)]
    facts = why({"phase": "Failed", "attempts": kept}).facts
    assert facts[0] == "20 earlier attempts ended too"
    assert facts[1] == "attempt 20 ended after 30 s: UserError"


def test_what_only_events_say_is_a_fact_and_no_more_than_three_of_them() -> None:
    told = [warning(f"volume {number}", count=number) for number in range(1, 6)]
    answer = why(QUEUED, *told, warning(QUEUED["message"]))  # type: ignore[arg-type]
    assert answer.facts[-3:] == [f"FailedMount ({n} times): volume {n}" for n in (3, 4, 5)]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("WaitingForQuota", "It waits for its turn"),
        ("ExceedsQuota", "It waits for a larger quota"),
        ("WaitingForQueue", "It waits for its turn"),
        ("Gated", "It waits for whose gate holds its pods back"),
    ],
)
def test_who_waits_for_leave_waits_for_no_nodes(reason: str, words: str) -> None:
    assert why({"phase": "Queued", "reason": reason, "message": "asks"}).headline == f"{words} ({reason}): asks"


def test_a_sentence_is_said_once_though_a_condition_and_an_event_have_it_too() -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "x", "message": "asks", "lastTransitionTime": ago(5)}
    told = JobEvent("Warning", "ExceedsQuota", "Queued: asks", NOW, NOW, 1)
    status = {"phase": "Queued", "reason": "ExceedsQuota", "message": "asks", "conditions": [stalled]}
    assert why(status, told).facts == []


def test_what_tenants_write_can_not_command_a_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2Jdone\nfake line"
    failure = {"class": "User", "message": evil, "node": evil, "traceback": evil}
    event = {"type": "Warning", "reason": evil, "message": f"{evil} again", "count": 2}
    status = {"phase": "Failed", "reason": evil[:60], "message": evil, "failure": failure}
    answer = why(status, *view_events([event]))
    said = "\n".join([answer.headline, *answer.facts, *answer.way_out])
    assert "(2 times): done | fake line again" in said
    assert "\x1b" not in said
    assert "\nfake line" not in said


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_way_out(reason: Reason) -> None:
    assert reason in ADVICE
    assert all("{" not in words for words in advice(reason, name="fashion", saved=True))
