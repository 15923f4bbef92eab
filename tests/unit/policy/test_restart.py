"""Budgets, backoff, and errors that come back."""

import json
from typing import Any

import pytest

from footplate.api.blocks import RunPolicy
from footplate.api.reports import CheckpointStatus, ProgressStatus
from footplate.api.status import Attempt, FailureClass, FailureStatus, Restarts, Spent, TrainingJobStatus
from footplate.contract import Progress
from footplate.policy import failure, restart
from footplate.policy.failure import Failure
from footplate.policy.pod import Pod
from footplate.policy.reasons import Reason
from footplate.policy.restart import Decision, refilled, spent_so_far
from unit.policy.build import NOW, UID, at, gang, job, look, merged, pod, terminated
from unit.policy.fakecluster import FakeCluster

JSON = dict[str, Any]
POLICY = RunPolicy(max_restarts=3, max_disruptions=5, restart_backoff_seconds=10)


def attempt(
    reason: str = "UserError", *, ran: int | None = 60, step: int | None = None, resumed: int | None = None
) -> Attempt:
    """An attempt that ended now; `ran` None is one that never ran."""
    raw = {"attempt": 0, "startTime": at(-9999), "endTime": at(), "reason": reason, "lastStep": step}
    raw["resumedFromStep"] = resumed
    return Attempt.model_validate(raw if ran is None else {**raw, "runningTime": at(-ran)})


def decide(failure: Failure, *, restarts: Restarts, spent: Spent | None = None, **more: Any) -> Decision:
    return restart.decide(failure, restarts=restarts, spent=spent or spent_so_far(restarts), **more)


def failing(reason: Reason = Reason.USER_ERROR, *, traceback: str | None = None) -> Failure:
    said = {"outcome": "failed", "exitCode": 70, "error": {"type": "E", "message": "m", "traceback": traceback}}
    raw = pod(0, phase="Failed", state=terminated(70, message=json.dumps(said)))
    return Failure(reason, "it broke", NOW, Pod(raw))


def before(traceback: str | None = None) -> FailureStatus:
    return FailureStatus(class_=FailureClass.USER, traceback=traceback)


@pytest.mark.parametrize(
    ("reason", "restarts", "charged"),
    [
        (Reason.USER_ERROR, Restarts(), Restarts(user=1)),
        (Reason.KILLED, Restarts(user=1, hang=1), Restarts(user=2, hang=1)),
        (Reason.OUT_OF_MEMORY, Restarts(), Restarts(user=1)),
        (Reason.HANG, Restarts(user=1), Restarts(user=1, hang=1)),
        (Reason.NODE_LOST, Restarts(user=3), Restarts(user=3, infrastructure=1)),
        (Reason.EVICTED, Restarts(infrastructure=4), Restarts(infrastructure=5)),
        (Reason.PEER_LOST, Restarts(), Restarts(infrastructure=1)),
    ],
)
def test_who_is_charged(reason: Reason, restarts: Restarts, charged: Restarts) -> None:
    decision = decide(failing(reason), policy=POLICY, restarts=restarts, attempts=[attempt(reason)], before=None)
    assert decision.restarts == charged
    assert decision.restarts.total == restarts.total + 1
    assert decision.delay is not None
    assert decision.reason is reason


@pytest.mark.parametrize(
    ("reason", "restarts", "over", "field"),
    [
        (Reason.USER_ERROR, Restarts(user=3), Reason.MAX_RESTARTS, "maxRestarts"),
        (Reason.USER_ERROR, Restarts(user=2, hang=1), Reason.MAX_RESTARTS, "maxRestarts"),
        (Reason.HANG, Restarts(user=3), Reason.MAX_RESTARTS, "maxRestarts"),
        (Reason.NODE_LOST, Restarts(infrastructure=5), Reason.MAX_DISRUPTIONS, "maxDisruptions"),
    ],
)
def test_spent_budget_ends_the_run(reason: Reason, restarts: Restarts, over: Reason, field: str) -> None:
    decision = decide(failing(reason), policy=POLICY, restarts=restarts, attempts=[attempt()], before=None)
    assert (decision.delay, decision.reason, decision.restarts) == (None, over, restarts)
    most = {"maxRestarts": 3, "maxDisruptions": 5}[field]
    share = f"{most} of this run's {restarts.total} restarts count against runPolicy.{field}, which allows {most}"
    assert decision.message == f"it broke ({share})", "the total is what the column RESTARTS shows"


@pytest.mark.parametrize(
    ("reason", "field"),
    [(Reason.USER_ERROR, "maxRestarts"), (Reason.OUT_OF_MEMORY, "maxRestarts"), (Reason.NODE_LOST, "maxDisruptions")],
)
def test_without_a_budget_the_failure_itself_is_the_reason(reason: Reason, field: str) -> None:
    policy = RunPolicy(max_restarts=0, max_disruptions=0)
    decision = decide(failing(reason), policy=policy, restarts=Restarts(), attempts=[attempt()], before=None)
    assert (decision.delay, decision.reason, decision.restarts) == (None, reason, Restarts())
    assert decision.message == f"it broke (runPolicy.{field} is 0: no restart)"


@pytest.mark.parametrize("reason", [Reason.DATA_ERROR, Reason.CONFIG_ERROR])
def test_permanent_failures_end_the_run_uncharged(reason: Reason) -> None:
    decision = decide(failing(reason), policy=POLICY, restarts=Restarts(), attempts=[attempt()], before=None)
    assert (decision.delay, decision.reason, decision.restarts) == (None, reason, Restarts())


USER, LOST, STOPPED = Reason.USER_ERROR, Reason.NODE_LOST, Reason.STOPPED
BACKOFF = [
    pytest.param(USER, [attempt()], 0, id="the first restarts at once"),
    pytest.param(USER, [attempt(), attempt()], 10, id="the second"),
    pytest.param(USER, [attempt()] * 4, 40, id="the fourth"),
    pytest.param(USER, [attempt()] * 10, 600, id="at most ten minutes"),
    pytest.param(USER, [attempt(ran=None)] * 2, 10, id="attempts that never ran count"),
    pytest.param(USER, [attempt(), attempt(), attempt(ran=600)], 0, id="a good run begins anew"),
    pytest.param(USER, [attempt(), attempt(ran=600), attempt()], 0, id="the first after a good run"),
    pytest.param(USER, [attempt("SuspendedByUser"), attempt("Resized"), attempt()], 0, id="no failures, no backoff"),
    pytest.param(LOST, [attempt("NodeLost")], 0, id="infrastructure's first"),
    pytest.param(LOST, [attempt("NodeLost")] * 2, 10, id="infrastructure's second"),
    pytest.param(LOST, [attempt("NodeLost", ran=600)] * 3, 0, id="infrastructure after a good run"),
    pytest.param(STOPPED, [attempt("Stopped", step=9)], 0, id="a clean stop is free"),
    pytest.param(STOPPED, [attempt("Stopped", step=s) for s in (1, 2, 3)], 0, id="each one that got further is"),
    pytest.param(STOPPED, [attempt("Stopped")] * 3, 20, id="stopping without a step isn't"),
    pytest.param(STOPPED, [attempt("Stopped", step=9)] * 3, 20, id="nor is one that got no further"),
    *(
        pytest.param(reason, [attempt(reason, step=s) for s in (1, 2, 3)], 0, id=f"{reason} after a step is free")
        for reason in (Reason.EVICTED, Reason.POD_LOST, Reason.NODE_LOST, Reason.PEER_LOST)
    ),
    pytest.param(
        LOST, [attempt("NodeLost", step=9), attempt("NodeLost"), attempt("NodeLost", step=9)], 20,
        id="steps that were done before are no progress",
    ),
    pytest.param(
        Reason.EVICTED, [attempt("Evicted", step=7), attempt("Evicted", step=9, resumed=9)], 10,
        id="nor are those of the checkpoint it came from",
    ),
    pytest.param(USER, [attempt(step=1), attempt(step=2)], 10, id="an error is no disruption"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "attempts", "delay"), BACKOFF)
def test_backoff(reason: Reason, attempts: list[Attempt], delay: float) -> None:
    policy = POLICY.model_copy(update={"max_restarts": 99, "max_disruptions": 99})
    decision = decide(failing(reason), policy=policy, restarts=Restarts(), attempts=attempts, before=None)
    assert decision.delay == delay


OOM = "OutOfMemory"
T, U = (
    f'Traceback (most recent call last):\n  File "/pods/1/train.py", line {line}, in <module>\nValueError: {line}'
    for line in (3, 4)
)
REFUSED = T + "; Connection refused"
NAMELESS = T + "\nsocket.gaierror: [Errno -2] Name or service not known"
FULL = T + "; [Errno 28] No space left on device"
AT_5 = [attempt(step=5), attempt(step=5)]
REPEATS = [
    pytest.param(USER, T, AT_5, before(T), True, id="same traceback, same step"),
    pytest.param(USER, T, AT_5, before(T.replace("pods/1", "pods/2")), True, id="in another pod's folder"),
    pytest.param(USER, f"{U}\n\n{T}", AT_5, before(T), True, id="the last of several"),
    pytest.param(USER, T, [attempt(step=5), attempt(step=6)], before(T), False, id="another step"),
    pytest.param(USER, T, AT_5, before(U), False, id="another traceback"),
    pytest.param(USER, None, AT_5, before(None), False, id="no traceback, another message"),
    pytest.param(USER, REFUSED, AT_5, before(REFUSED), True, id="whatever it says, at the same step"),
    pytest.param(USER, REFUSED, [attempt(step=0)] * 2, before(REFUSED), False, id="before the first step"),
    pytest.param(USER, T, [attempt(step=0)] * 2, before(T), True, id="before the first step, of its own"),
    pytest.param(USER, FULL, [attempt(), attempt()], before(FULL), False, id="no step: it may be the node"),
    pytest.param(USER, T, [attempt(), attempt()], before(T), True, id="no step, but soon"),
    pytest.param(USER, REFUSED, [attempt(), attempt()], before(REFUSED), False, id="no step: it may be the network"),
    pytest.param(USER, NAMELESS, [attempt(), attempt()], before(NAMELESS), False, id="no step: a name may come later"),
    pytest.param(USER, T, [attempt(ran=900), attempt()], before(T), False, id="no step, after a long time"),
    pytest.param(USER, T, [attempt(), attempt(step=5)], before(T), False, id="a step for the first time"),
    pytest.param(USER, T, [attempt(step=5)], None, False, id="the first time"),
    pytest.param(USER, T, [attempt("Evicted", step=5), attempt(step=5)], before(T), False, id="not in a row"),
    pytest.param(
        Reason.OUT_OF_MEMORY, None, [attempt(OOM, step=5), attempt(OOM, step=5)], before(), True, id="memory again"
    ),
    pytest.param(Reason.OUT_OF_MEMORY, None, [attempt(OOM)] * 2, before(), False, id="memory, nobody knows where"),
    pytest.param(Reason.KILLED, T, [attempt("Killed", step=5)] * 2, before(T), False, id="killed isn't an error"),
]


@pytest.mark.parametrize(("reason", "traceback", "attempts", "earlier", "repeated"), REPEATS)
def test_errors_that_come_back(
    reason: Reason, traceback: str | None, attempts: list[Attempt], earlier: FailureStatus | None, repeated: bool
) -> None:
    cause = failing(reason, traceback=traceback)
    decision = decide(cause, policy=POLICY, restarts=Restarts(), attempts=attempts, before=earlier)
    assert (decision.reason is Reason.REPEATED_ERROR) is repeated
    assert (decision.delay is None) is repeated
    if repeated:
        known = attempts[-1].last_step is not None
        assert ("at the same step" in decision.message, "soon after the start" in decision.message) == (
            known,
            not known,
        )


@pytest.mark.parametrize(
    ("said", "repeated"),
    [
        pytest.param("train.py: error: the following arguments are required: --epochs\n", True, id="its last line"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_a_command_that_no_supervisor_watches_is_known_by_its_last_line(said: str, repeated: bool) -> None:
    def end(number: int) -> Failure:
        raw = pod(0, attempt=number, phase="Failed", state=terminated(2, message=said))
        found = failure.find(gang(raw, attempt=number), {}, desired=1, all_created=True, now=NOW)
        assert found is not None
        return found

    again = decide(
        end(1), policy=POLICY, restarts=Restarts(), attempts=[attempt(), attempt()], before=end(0).to_status()
    )
    assert (again.reason is Reason.REPEATED_ERROR) is repeated


HOUR = 3600
FULL, USED = Spent(), Spent(restarts=3, disruptions=5)
REFILLS = [
    pytest.param(LOST, [attempt(ran=HOUR, step=9)], Spent(disruptions=1), id="an hour of progress"),
    pytest.param(USER, [attempt(ran=HOUR, step=9)], Spent(restarts=1), id="fills both"),
    pytest.param(LOST, [attempt(ran=HOUR - 1, step=9)], None, id="less than an hour"),
    pytest.param(LOST, [attempt(step=9), attempt(ran=HOUR, step=9)], None, id="an hour without a new step"),
    pytest.param(LOST, [attempt(ran=HOUR, step=9, resumed=9)], None, id="no further than its checkpoint"),
    pytest.param(LOST, [attempt(ran=HOUR)], Spent(restarts=3, disruptions=1), id="code that reports no steps"),
    pytest.param(USER, [attempt(ran=HOUR)], None, id="whose own errors stay counted"),
    pytest.param(LOST, [attempt(ran=None)], None, id="never ran"),
]


@pytest.mark.parametrize(("reason", "attempts", "spent"), REFILLS)
def test_an_hour_of_progress_fills_the_budgets(reason: Reason, attempts: list[Attempt], spent: Spent | None) -> None:
    restarts = Restarts(user=9, infrastructure=99)
    left = refilled(TrainingJobStatus(restarts=restarts, spent=USED, attempts=attempts))
    decision = decide(failing(reason), policy=POLICY, restarts=restarts, spent=left, attempts=attempts, before=None)
    assert (decision.delay is None) == (spent is None)
    assert decision.spent == spent if spent else decision.spent.restarts == USED.restarts
    assert decision.restarts.total == 108 + (spent is not None), "the run's total goes on"


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"runPolicy": {"suspend": True}}, id="suspended"),
        pytest.param({"nodes": 2}, id="resized"),
    ],
)
def test_it_fills_them_however_the_attempt_ended(edit: JSON) -> None:
    spec = {"nodes": 3, "elastic": {"minNodes": 1, "maxNodes": 3}}
    ran = [{"attempt": 3, "startTime": at(-36600), "runningTime": at(-36500), "nodes": 3, "resumedFromStep": 5}]
    plan = look(
        job(merged(spec, edit)),
        *(pod(rank, attempt=3) for rank in range(3)),
        attempts=ran,
        spent={"restarts": 3, "disruptions": 1},
        restarts={"user": 3, "infrastructure": 1},
        progress=Progress(uid=UID, run=1, attempt=3, progress=ProgressStatus(step=100_000, update_time=NOW)),
    )
    assert plan.status is not None
    assert plan.status["attempts"][-1]["lastStep"] == 100_000
    assert plan.status["spent"] == {"restarts": 0, "disruptions": 0}
    assert plan.status["restarts"]["user"] == 3, "the run's total goes on"


def run_gang(cluster: FakeCluster) -> None:
    """Old pods go, new ones get their nodes and run."""
    for each in cluster.live_pods():
        if each.terminating:
            cluster.vanish(each)
    cluster.settle()
    for each in cluster.live_pods():
        cluster.schedule(each, "node-0")
        cluster.start(each)
    cluster.settle()


def report(cluster: FakeCluster, step: int) -> None:
    status = cluster.status
    cluster.progress = Progress(
        uid=cluster.job["metadata"]["uid"],
        run=status["run"],
        attempt=status["attempt"],
        progress=ProgressStatus(step=step, update_time=cluster.now),
        checkpoint=CheckpointStatus(uri="s3://c/", step=step, time=cluster.now),
    )
    cluster.settle()


@pytest.mark.parametrize("reports", [True, False], ids=["reports its steps", "says nothing"])
def test_a_month_of_preemptions_ends_no_job(reports: bool) -> None:
    cluster = FakeCluster(job({"runPolicy": {"maxDisruptions": 5}}))
    cluster.settle()
    run_gang(cluster)
    for day in range(1, 12):
        cluster.tick(43_200)
        if reports:
            report(cluster, 1000 * day)
        cluster.disrupt(cluster.live_pods()[0])
        cluster.settle()
        run_gang(cluster)
        assert cluster.phase == "Running", cluster.status["message"]
    assert cluster.status["restarts"]["infrastructure"] == 11
    assert cluster.status["spent"] == {"restarts": 0, "disruptions": 1}


def test_a_healthy_job_never_waits_however_often_it_is_taken_away() -> None:
    cluster = FakeCluster(job({"nodes": 3, "runPolicy": {"maxDisruptions": 99}}))
    cluster.settle()
    run_gang(cluster)
    for turn, how in enumerate(["vanish", "disrupt", "delete"] * 4, start=1):
        cluster.tick(20)
        report(cluster, 10 * turn)
        victim = cluster.live_pods()[0]
        cluster.delete(victim.target) if how == "delete" else getattr(cluster, how)(victim)
        cluster.settle()
        run_gang(cluster)
        assert (cluster.phase, cluster.status["attempt"]) == ("Running", turn), cluster.status["message"]


@pytest.mark.parametrize(("most", "ended"), [(3, True), (4, False)])
def test_a_raised_budget_applies_at_once(most: int, ended: bool) -> None:
    """The spec is the job's as it is now, and nothing of the limit is in the status."""
    policy, restarts = RunPolicy(max_disruptions=most), Restarts(infrastructure=3)
    decision = decide(failing(LOST), policy=policy, restarts=restarts, attempts=[attempt()], before=None)
    assert (decision.delay is None) == ended
