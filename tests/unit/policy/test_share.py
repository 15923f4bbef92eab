"""How a job takes its place in the line, begins, gives back, and goes on: one job under a line that the test plays."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from footplate.gangs.kinds import GangKind
from footplate.gangs.state import GangState
from footplate.policy.plan import Admission, Observed
from footplate.policy.quota import claim_of
from unit.policy.build import job
from unit.policy.fakecluster import FakeCluster

GPU = "nvidia.com/gpu"
LIMITED = frozenset([GPU])
WAITS = Admission(LIMITED, why="waits for quota: it asks for 4 nvidia.com/gpu (2 nodes with 2 each)")
JSON = dict[str, Any]


@dataclass
class Town(FakeCluster):
    """A job, and what the line says of it."""

    admission: Admission | None = WAITS
    policies: list[JSON] = field(default_factory=list)
    gangs: GangState = field(default_factory=GangState)

    def observe(self) -> Observed:
        return replace(super().observe(), admission=self.admission, policies=self.policies, gang_state=self.gangs)

    @property
    def place(self) -> JSON:
        return self.status.get("queue") or {}

    @property
    def said(self) -> tuple[str, str]:
        return self.phase, self.status["reason"]

    def is_told(self, **admission: Any) -> None:
        self.admission = Admission(LIMITED, **admission)
        self.settle()

    def run_gang(self) -> None:
        for pod in self.live_pods():
            self.schedule(pod, "node-0")
            self.start(pod)
        self.settle()

    def stop_all(self, code: int = 75) -> None:
        for pod in self.live_pods():
            self.end(pod, code)
        self.settle()


def policy(spec: JSON) -> JSON:
    return {"kind": "TrainingPolicy", "metadata": {"name": "all"}, "spec": {"namespaceSelector": {}, **spec}}


def town(spec: JSON | None = None, **more: Any) -> Town:
    base: JSON = {"resources": {"limits": {GPU: 2}}, "checkpoint": {"uri": "s3://bucket/checkpoints/"}}
    found = Town(job({**base, **(spec or {})}), **more)
    found.settle()
    return found


def test_a_job_waits_for_its_turn_without_a_pod() -> None:
    waits = town()
    assert waits.said == ("Queued", "WaitingForQuota")
    assert waits.status["message"] == WAITS.why
    assert not waits.pods()
    asks = {"accelerators": {GPU: 2}, "wanted": 2, "least": 2, "nodes": 0, "saves": True}
    assert {name: waits.place[name] for name in asks} == asks


def test_it_begins_when_it_is_told_to() -> None:
    waits = town()
    waits.is_told(nodes=2)
    assert (waits.place["nodes"], len(waits.pods())) == (2, 2)
    waits.is_told()
    waits.run_gang()
    assert waits.phase == "Running"


@pytest.mark.parametrize(
    ("spec", "admission"),
    [
        pytest.param({}, None, id="its namespace has no quota"),
        pytest.param({"resources": {"limits": {"cpu": "2"}}}, WAITS, id="it asks for no accelerators"),
        pytest.param({"resources": {"limits": {"amd.com/gpu": 2}}}, WAITS, id="of which the quota says nothing"),
        pytest.param({"resources": {"limits": {GPU: 0}}}, WAITS, id="it asks for none of them"),
    ],
)
def test_others_are_in_no_line(spec: JSON, admission: Admission | None) -> None:
    begins = town(spec, admission=admission)
    assert len(begins.pods()) == 2
    assert not begins.place


def test_the_queue_of_another_scheduler_is_enough() -> None:
    begins = town({"scheduling": {"gang": "kueue", "queueName": "team"}})
    assert not begins.place


@pytest.mark.parametrize("served", [{}, {GangKind.KUEUE: "kueue.x-k8s.io/v1beta2"}], ids=["not served", "served"])
def test_who_went_to_another_queue_holds_nothing_in_this_one(served: JSON) -> None:
    """It would never be asked to give back: a job without a pod kept another namespace from its quota."""
    evil = town(
        {"nodes": 1000, "resources": {"limits": {GPU: 1000}}, "scheduling": {"gang": "kueue", "queueName": "none"}},
        gangs=GangState(served),
    )
    assert (not evil.pods()) == (not served)
    assert claim_of(evil.job, None, rank=lambda name: 0) is None


def test_what_can_never_fit_is_said_at_once() -> None:
    never = town(admission=Admission(LIMITED, why="asks for too much", hopeless=True))
    assert never.said == ("Queued", "ExceedsQuota")
    assert [c["status"] for c in never.status["conditions"] if c["type"] == "Stalled"] == ["True"]
    never.is_told(nodes=2)
    assert len(never.pods()) == 2


def running(spec: JSON | None = None) -> Town:
    found = town(spec)
    found.is_told(nodes=2)
    found.is_told()
    found.run_gang()
    assert found.phase == "Running"
    return found


def test_a_borrower_saves_stops_and_waits_for_its_turn() -> None:
    lent = running()
    lent.is_told(keeps=0, why="4 nvidia.com/gpu are asked for")
    assert lent.said == ("Restarting", "Reclaimed")
    assert lent.place["leaves"] == 0
    assert lent.place["nodes"] == 2, "what its ranks still hold"
    assert all(pod.terminating for pod in lent.live_pods())
    lent.is_told()
    lent.stop_all()
    assert lent.said == ("Queued", "WaitingForQuota")
    assert (lent.place["nodes"], lent.place.get("leaves")) == (0, None)
    assert (lent.status["nodes"]["created"], lent.status["nodes"]["summary"]) == (0, "0/2"), "its pods are gone"
    lent.is_told(nodes=2)
    assert (lent.status["attempt"], len(lent.live_pods())) == (1, 2)


def test_a_borrower_who_takes_its_run_config_away_gives_back_too() -> None:
    lent = running()
    lent.lose_run_config()
    lent.is_told(keeps=0, why="4 nvidia.com/gpu are asked for")
    assert lent.said == ("Restarting", "Reclaimed")
    assert all(pod.terminating for pod in lent.live_pods())
    lent.is_told()
    lent.stop_all()
    assert lent.place["nodes"] == 0


def test_nobody_is_charged_and_nothing_waits_for_a_backoff() -> None:
    lent = running({"runPolicy": {"maxRestarts": 0, "maxDisruptions": 0}})
    for attempt in range(1, 5):
        lent.is_told(keeps=0, why="x")
        lent.is_told()
        lent.stop_all()
        lent.is_told(nodes=2)
        lent.is_told()
        lent.run_gang()
        assert (lent.phase, lent.status["attempt"]) == ("Running", attempt)
    assert lent.status["restarts"]["total"] == 0
    assert [each["reason"] for each in lent.status["attempts"][:-1]] == ["Reclaimed"] * 4


def test_a_reclaimed_job_keeps_its_place_in_the_line() -> None:
    lent = running()
    since = lent.place["since"]
    lent.tick(3600)
    lent.is_told(keeps=0, why="x")
    lent.is_told()
    lent.stop_all()
    assert lent.place["since"] == since
    assert lent.place["changedTime"] != since


def test_who_waits_for_a_scheduler_that_isn_t_there_gives_back_too() -> None:
    waits = town({"scheduling": {"gang": "coscheduling"}, "podTemplate": {"schedulerName": "gangs"}})
    waits.is_told(nodes=2)
    waits.is_told()
    assert waits.said == ("Pending", "WaitingForGang")
    assert waits.place["nodes"] == 2
    waits.is_told(keeps=0, why="4 are asked for")
    assert waits.said[0] == "Queued"
    assert waits.place["nodes"] == 0


def test_a_restart_keeps_its_share() -> None:
    lives = running()
    lives.end(lives.live_pods()[0], 1)
    lives.tick(5)
    lives.stop_all()
    lives.tick(60)
    lives.settle()
    assert lives.status["attempt"] == 1
    assert lives.place["nodes"] == 2


def crashes(found: Town) -> None:
    found.end(found.live_pods()[0], 1)
    found.tick(5)
    found.stop_all(1)


def in_backoff(spec: JSON | None = None, nodes: int = 2) -> Town:
    """A job that has crashed twice, at different steps, and waits a hundred seconds for its third attempt."""
    lives = town({"runPolicy": {"restartBackoffSeconds": 100}} | (spec or {}))
    lives.is_told(nodes=nodes)
    lives.is_told()
    for _ in range(2):
        lives.run_gang()
        crashes(lives)
    assert (lives.phase, lives.status["attempt"]) == ("Restarting", 1)
    return lives


def test_a_gang_in_its_backoff_keeps_its_share() -> None:
    lives = in_backoff()
    since = lives.place["since"]
    lives.tick(50)
    lives.settle()
    counted = claim_of(lives.job, None, rank=lambda name: 0)
    assert counted is not None
    assert (lives.phase, counted.holds, lives.live_pods()) == ("Restarting", 2, [])
    lives.tick(60)
    lives.settle()
    assert (lives.status["attempt"], lives.place["nodes"], lives.place["since"]) == (2, 2, since)


def test_what_is_asked_back_in_a_backoff_is_given_at_once() -> None:
    """An owner waited ten minutes for accelerators that nobody used, and after two of them took those of others."""
    lives = in_backoff()
    since = lives.place["since"]
    lives.is_told(keeps=0, why="4 are asked for")
    assert lives.said == ("Queued", "WaitingForQuota")
    assert (lives.place["nodes"], lives.place["since"]) == (0, since)
    lives.is_told(nodes=2)
    assert (lives.status["attempt"], len(lives.live_pods())) == (2, 2)


def test_an_elastic_gang_gives_in_its_backoff_what_it_is_asked_for_and_waits_on() -> None:
    lives = in_backoff(ELASTIC, nodes=3)
    held = lives.place["nodes"]
    lives.is_told(keeps=1, why="4 are asked for")
    assert (held, lives.phase, lives.place["nodes"]) == (3, "Restarting", 1)
    lives.is_told()
    assert lives.live_pods() == []
    lives.tick(110)
    lives.settle()
    assert (lives.status["attempt"], len(lives.live_pods())) == (2, 1)


def test_what_is_asked_back_while_ranks_still_stop_is_given_when_they_have() -> None:
    lives = running({"runPolicy": {"restartBackoffSeconds": 100}})
    crashes(lives)
    lives.run_gang()
    lives.end(lives.live_pods()[0], 1)
    lives.tick(5)
    lives.settle()
    assert lives.phase == "Restarting"
    lives.is_told(keeps=0, why="4 are asked for")
    assert lives.place["nodes"] == 2, "what the other rank still holds"
    lives.stop_all()
    assert (lives.phase, lives.place["nodes"]) == ("Queued", 0)


def test_a_suspended_job_holds_nothing_and_comes_back_behind_all_others() -> None:
    lives = running()
    since = lives.place["since"]
    lives.job["spec"]["runPolicy"] = {"suspend": True}
    lives.settle()
    assert lives.place["nodes"] == 2, "while its ranks save"
    lives.stop_all()
    assert (lives.phase, lives.place) == ("Suspended", {})
    lives.tick(100)
    lives.job["spec"]["runPolicy"] = {"suspend": False}
    lives.settle()
    assert lives.said == ("Queued", "WaitingForQuota")
    assert lives.place["since"] > since


def test_one_that_waits_can_be_suspended() -> None:
    waits = town()
    waits.job["spec"]["runPolicy"] = {"suspend": True}
    waits.settle()
    assert (waits.phase, waits.place) == ("Suspended", {})


def test_created_suspended_it_takes_its_place_once_it_is_resumed() -> None:
    sleeps = town({"runPolicy": {"suspend": True}})
    assert (sleeps.phase, sleeps.place) == ("Suspended", {})
    sleeps.job["spec"]["runPolicy"] = {"suspend": False}
    sleeps.settle()
    assert sleeps.said == ("Queued", "WaitingForQuota")


def test_who_runs_when_a_quota_comes_holds_what_it_has() -> None:
    lives = town(admission=None)
    lives.run_gang()
    lives.is_told()
    assert (lives.phase, lives.place["nodes"]) == ("Running", 2)
    assert len(lives.live_pods()) == 2


def test_an_elastic_gang_that_grows_when_a_quota_comes_holds_what_it_has() -> None:
    """The line and the job count the same nodes: those that it looks for, it asks for."""
    lives = town(ELASTIC, admission=None)
    lives.run_gang()
    lives.job["spec"]["nodes"] = 4
    lives.settle()
    assert len(lives.live_pods()) == 4, "three, and a scout"
    counted = claim_of(lives.job, None, rank=lambda name: 0)
    lives.is_told()
    assert counted is not None
    assert (counted.holds, lives.place["nodes"], lives.place["wanted"]) == (3, 3, 4)
    assert len([pod for pod in lives.live_pods() if not pod.terminating]) == 3
    lives.is_told(nodes=4)
    assert lives.place["nodes"] == 4


def test_what_an_old_operators_attempt_holds_its_runtime_says() -> None:
    status = {"phase": "Running", "attempts": [{"attempt": 0, "createdTime": "2026-01-01T00:00:00Z"}]}
    limits = {"resources": {"limits": {GPU: 1}}}
    raw = {"metadata": {"namespace": "ns", "name": "job"}, "spec": limits, "status": status}
    claim = claim_of(raw, {"spec": {"nodes": 3}}, rank=lambda name: 0)
    assert claim is not None
    assert claim.holds == 3


def test_where_the_quota_goes_whoever_waits_begins() -> None:
    waits = town()
    waits.admission = None
    waits.settle()
    assert len(waits.pods()) == 2
    assert not waits.place


def test_a_gang_that_finds_no_nodes_goes_to_the_end_of_the_line() -> None:
    found = town({"runPolicy": {"schedulingTimeoutSeconds": 60}})
    since = found.place["since"]
    found.is_told(nodes=2)
    found.is_told()
    found.schedule(found.live_pods()[0], "node-0")
    found.settle()
    found.tick(61)
    found.settle()
    assert found.said == ("Restarting", "SchedulingTimeout")
    assert found.place["nodes"] == 0
    assert found.place["since"] > since


def test_the_queue_deadline_counts_in_the_line() -> None:
    waits = town({"runPolicy": {"queueDeadlineSeconds": 300}})
    waits.tick(299)
    waits.settle()
    assert waits.phase == "Queued"
    waits.tick(2)
    waits.settle()
    assert waits.said == ("Failed", "QueueDeadlineExceeded")


def test_whom_a_policy_refuses_isn_t_in_the_line() -> None:
    """What it held is free, and it takes its place again once it is allowed."""
    lives = running({"runPolicy": {"restartBackoffSeconds": 0}})
    lives.policies = [policy({"maxNodes": 1})]
    lives.end(lives.live_pods()[0], 1)
    lives.tick(5)
    lives.stop_all()
    lives.tick(5)
    lives.settle()
    assert lives.said == ("Pending", "PolicyRefuses")
    assert lives.place["nodes"] == 0
    lives.policies = []
    lives.settle()
    assert lives.said == ("Queued", "WaitingForQuota")


ELASTIC: JSON = {"nodes": 3, "elastic": {"minNodes": 1, "maxNodes": 4}}


def test_an_elastic_gang_begins_with_what_it_is_given_and_looks_for_no_more() -> None:
    waits = town(ELASTIC)
    waits.is_told(nodes=2)
    assert len(waits.live_pods()) == 2
    waits.is_told()
    waits.run_gang()
    assert (waits.phase, len(waits.live_pods())) == ("Running", 2), "no scout beyond its share"
    waits.is_told(nodes=3)
    assert waits.place["nodes"] == 3
    assert len(waits.live_pods()) == 3, "a scout for the third"


def test_scaling_up_asks_the_line_first() -> None:
    lives = town(ELASTIC)
    lives.is_told(nodes=3)
    lives.is_told()
    lives.run_gang()
    lives.job["spec"]["nodes"] = 4
    lives.settle()
    assert (lives.place["wanted"], lives.place["nodes"], len(lives.live_pods())) == (4, 3, 3)


def test_an_elastic_gang_shrinks_for_others() -> None:
    lives = town(ELASTIC)
    lives.is_told(nodes=3)
    lives.is_told()
    lives.run_gang()
    lives.is_told(keeps=1, why="4 are asked for")
    assert lives.said == ("Restarting", "Reclaimed")
    lives.is_told()
    lives.stop_all()
    assert (lives.status["attempt"], len(lives.live_pods()), lives.place["nodes"]) == (1, 1, 1)
